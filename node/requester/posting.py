"""Putting a job on the chain: can this wallet do it, what exactly is posted, and which number it got."""

from collections.abc import Iterable
from dataclasses import replace

from node.chain.client import Chain
from node.chain.contracts import MarketContracts
from node.chain.events import JOB_ADDED, JobAdded, decode
from node.chain.resending import Transactions, send_while_wanted
from node.chain.txmanager import Mined, TxIntent
from node.errors import RefusedByPolicy, Retryable
from node.job.spec import JobSpec
from node.job.tunables import ALIASES
from node.requester.outcome import CannotPay, TransactionFailed
from node.requester.patience import Patience
from node.requester.runs import Run
from node.requester.steps import JobPosted, OnStep, printable
from node.types import Address


def inputs_to_post(spec: JobSpec, typed: Iterable[str]) -> tuple[str, ...]:
    """Return the inputs that were typed, under their documented names and as they were understood.

    Defaults that nobody typed are left out: they cost gas and mean the same.
    """
    given = {ALIASES.get(key, key) for key, _, value in (item.partition("=") for item in typed) if value}
    return tuple(f"{name}={value}" for name, value in spec.tunables().items() if name in given)


async def check_wallet(chain: Chain, contracts: MarketContracts, address: Address) -> None:
    """Raise CannotPay or RefusedByPolicy, saying what to do, if this account cannot post and pay a job."""
    if not await chain.balance(address):
        raise CannotPay(
            f"the account {address} holds no gas token on this chain: send it some, then run again"
        )
    symbol = printable(await contracts.token_symbol(), 16)
    if not await contracts.token_balance(address):
        raise CannotPay(
            f"the account {address} holds no {symbol} to pay with (token {contracts.addresses.token}): "
            "send it some, then run again"
        )
    if await contracts.required_deposit():
        raise RefusedByPolicy(
            f"the job manager {contracts.addresses.job_manager} asks for a standing allowance, so that its "
            "operator could take tokens: use a market whose required deposit is 0"
        )


async def post_job(
    run: Run,
    *,
    chain: Chain,
    contracts: MarketContracts,
    transactions: Transactions,
    patience: Patience,
    on_step: OnStep,
) -> Run:
    """Post the run's job, or find the number it already got. Returns the run with its job number.

    Raises TransactionFailed; the next call posts it anew, also after a transaction that was reverted.
    """

    async def unposted() -> bool:
        return True

    intent = TxIntent(run.intent("run_job"), contracts.run_job(run.module, run.inputs, run.requester))
    outcome = (await send_while_wanted(transactions, intent, unposted)).outcome
    if not isinstance(outcome, Mined):
        raise TransactionFailed(
            f"the job could not be posted: {printable(outcome.reason)}; "
            f"when that is mended: sdv-node run --resume {run.run_id}"
        )

    async def find() -> JobAdded:
        block = outcome.block_number
        logs = await chain.logs(block, block, [contracts.addresses.job_manager], [JOB_ADDED])
        for event in (decode(log) for log in logs if log.tx_hash == outcome.tx_hash):
            if isinstance(event, JobAdded) and event.payee == run.requester:
                return event
        raise Retryable(f"the RPC endpoint does not show the job of transaction {outcome.tx_hash} yet")

    posted = await patience.ask(find)
    on_step(JobPosted(posted.number, outcome.tx_hash))
    return replace(run, job_number=posted.number)

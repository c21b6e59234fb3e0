"""A requester in bulk: posts jobs, agrees to the first proposal for each, accepts every result.

Works from the chain alone, so that it never waits for the provider's HTTP port; what was delivered is judged
after the run, by the invariants.
"""

import asyncio
from collections.abc import Collection, Sequence

from node.chain.devnet import REQUESTER, dev_signer
from node.chain.events import MARKET_TOPICS, DealStateChange, JobAdded, Payment, decode
from node.job.deal import AgreementState, PaymentDirection, PaymentReason
from node.types import DealId, Wei
from tests.chaos.harness.arena import Arena, Provider
from tests.chaos.harness.standing import MODULE, standing_deal

FINAL = frozenset(AgreementState) - {
    AgreementState.DEAL_NEGOTIATING,
    AgreementState.DEAL_AGREED,
    AgreementState.RESULTS_SUBMITTED,
    AgreementState.RESULTS_CHECKED,
}


class Crowd:
    """Many jobs of one account.

    ``agrees`` and ``accepts`` may be switched off for all jobs, or for the prompts in ``silent`` and
    ``unjudged``. With ``hires`` it agrees first, to the provider's standing terms. With ``pulse`` a block is
    mined at each look, for confirmations.
    """

    def __init__(
        self,
        arena: Arena,
        *,
        agrees: bool = True,
        accepts: bool = True,
        silent: Collection[str] = (),
        unjudged: Collection[str] = (),
        hires: Provider | None = None,
        pulse: bool = False,
    ) -> None:
        self.address = dev_signer(REQUESTER).address
        self._agrees = agrees
        self._accepts = accepts
        self._silent = silent
        self._unjudged = unjudged
        self.states: dict[DealId, AgreementState] = {}
        self.prompts: dict[int, str] = {}
        self._arena = arena
        self._hires = hires
        self._pulse = pulse
        self._next_block = 0
        self._dealt: set[str] = set()

    async def open(self) -> None:
        """Let the market take money of this account."""
        market = self._arena.market
        self._next_block = (await market.chain.head()).number + 1
        allowance = market.contracts.approve(market.addresses.payments, Wei(10_000 * 10**18))
        await self._arena.send(self.address, allowance)

    async def post(self, prompts: Sequence[str]) -> None:
        """Post a job for each prompt."""
        contracts = self._arena.market.contracts
        for prompt in prompts:
            await self._arena.send(
                self.address, contracts.run_job(MODULE, (f"Prompt={prompt}",), self.address)
            )

    async def attend(self) -> None:
        """Answer proposals and results until cancelled."""
        while True:
            if self._pulse:
                await self._arena.mine()
            await self._look()
            await asyncio.sleep(0.03)

    async def ended(self, jobs: int) -> None:
        """Wait until that many deals are final on chain."""
        while sum(state in FINAL for state in self.states.values()) < jobs:
            await asyncio.sleep(0.02)

    async def _look(self) -> None:
        market = self._arena.market
        head = await market.chain.head()
        if head.number < self._next_block:
            return
        addresses = (market.addresses.payments, market.addresses.storage, market.addresses.job_manager)
        logs = await market.chain.logs(self._next_block, head.number, addresses, MARKET_TOPICS)
        self._next_block = head.number + 1
        for raw in logs:
            match decode(raw):
                case JobAdded() as job:
                    self.prompts[job.number] = job.inputs[0].partition("=")[2]
                    if self._hires is not None:
                        await self._hire(self._hires, job)
                case Payment(
                    deal_id=deal_id,
                    payee=payee,
                    reason=PaymentReason.TIMEOUT_COLLATERAL,
                    direction=PaymentDirection.PAID_IN,
                ) if payee != self.address and self._agrees and self._prompt(deal_id) not in self._silent:
                    await self._agree(deal_id)
                case DealStateChange() as moved:
                    self.states[moved.deal_id] = moved.state
                    if moved.state is AgreementState.RESULTS_SUBMITTED and self._judges(moved.deal_id):
                        await self._arena.send(self.address, market.contracts.accept_result(moved.deal_id))

    async def _hire(self, provider: Provider, job: JobAdded) -> None:
        """Agree first, to the deal that follows from the provider's settings, as its offer tells them."""
        contracts = self._arena.market.contracts
        deal = standing_deal(
            provider, contracts, number=job.number, requester=self.address, inputs=job.inputs
        )
        self._dealt.add(f"j{job.number}")
        await self._arena.send(self.address, contracts.agree(deal))

    def _judges(self, deal_id: DealId) -> bool:
        return self._accepts and self._prompt(deal_id) not in self._unjudged

    def _prompt(self, deal_id: DealId) -> str:
        return self.prompts[int(deal_id.partition("-")[0][1:])]

    async def _agree(self, deal_id: DealId) -> None:
        contracts = self._arena.market.contracts
        deal = await contracts.get_deal(deal_id)
        job = deal_id.partition("-")[0]
        if deal is not None and deal.members.job_creator == self.address and job not in self._dealt:
            self._dealt.add(job)
            await self._arena.send(self.address, contracts.agree(deal))

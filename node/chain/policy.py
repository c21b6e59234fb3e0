"""What the key may sign: which calls of which contracts, and how much they may take. Pure decisions.

Every transaction is read from its bytes and refused unless it is one this node has a reason to send; the caps
bound what a bug or an intruder could spend. What was spent before is handed in by ``policy_signer``. Facts:
the market's interface, and the escrow rules of its contracts (which call locks what).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError

from node.chain import interface
from node.chain.calls import MarketAddresses
from node.chain.interface import Function
from node.errors import Misconfigured, RefusedByPolicy
from node.job.amounts import gwei, tokens
from node.job.deal import Deal, DealMembers, DealPricing, DealTimeout, DealTimeouts
from node.types import Address, DealId, Wei

HOUR_S = 3600.0
MAX_GAS = 30_000_000
"""More gas than any call of ours needs, also on chains that count calldata as gas."""

_FIELDS = frozenset({
    "type", "chainId", "nonce", "to", "data", "value", "gas", "maxFeePerGas", "maxPriorityFeePerGas",
    "accessList",
})  # fmt: skip
_BEGINNINGS = (interface.AGREE, interface.RUN_JOB, interface.APPROVE)
_OF_A_DEAL = (
    interface.ADD_RESULT,
    interface.ACCEPT_RESULT,
    interface.CHECK_RESULT,
    interface.TIMEOUT_AGREE,
    interface.TIMEOUT_SUBMIT_RESULT,
    interface.TIMEOUT_JUDGE_RESULT,
    interface.TIMEOUT_MEDIATE_RESULT,
)
_RULINGS = (interface.MEDIATION_ACCEPT_RESULT, interface.MEDIATION_REJECT_RESULT)
_OF_THE_REGISTRY = (interface.UPDATE_USER, interface.ADD_USER_TO_LIST, interface.REMOVE_USER_FROM_LIST)


@dataclass(frozen=True, slots=True)
class Caps:
    """How much may be taken out of the wallet; payment tokens and gas token, both in wei."""

    per_deal_wei: Wei
    per_hour_wei: Wei
    per_counterparty_wei: Wei
    gas_per_hour_wei: Wei


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of one key on one market."""

    chain_id: int
    account: Address
    market: MarketAddresses
    payout: Address | None
    """Where the operator withdraws to; nothing else ever gets tokens or gas money."""
    max_fee_wei: Wei
    """Per gas."""
    caps: Caps
    mediates: bool = False
    """Whether the key rules on other people's deals too."""

    def __post_init__(self) -> None:
        contracts = {getattr(self.market, name) for name in self.market.__slots__}
        if self.payout is not None and self.payout in contracts | {self.account}:
            raise Misconfigured(
                f"wallet.payout_address {self.payout} is this wallet or a contract of the market: money sent "
                "there would be lost, name an account of yours"
            )


@dataclass(frozen=True, slots=True)
class Commitment:
    """What one transaction does, and what it can take out of the wallet at worst."""

    what: str
    begins: bool
    """Takes on something new; the other calls end what was begun and may use twice the gas cap."""
    gas_wei: Wei
    deal_id: DealId | None = None
    counterparty: Address | None = None
    tokens_wei: Wei = Wei(0)
    """All that the deal can lock or cost over its whole life, so that finishing it is never refused."""
    needs_terms: bool = False
    """The call takes tokens by the deal's terms, which its own arguments do not show."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What other transactions of the key took, in wei."""

    hour_wei: Wei = Wei(0)
    hour_gas_wei: Wei = Wei(0)
    counterparty_wei: Wei = Wei(0)
    """Of the deals with the same counterparty that are not known to be over."""


class Breach(RefusedByPolicy):
    """A transaction the policy does not allow; the text names rule, amount and cap."""

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(f"the signing policy does not allow it ({rule}): {text}")
        self.rule = rule


def read_transaction(policy: Policy, tx: Mapping[str, Any]) -> Commitment:
    """Return what a transaction would do. Raises Breach unless it is one of those this node sends."""
    if frozenset(tx) != _FIELDS or tx["type"] != 2 or list(tx["accessList"]):
        raise Breach("transaction", "only plain EIP-1559 transactions are signed")
    if tx["chainId"] != policy.chain_id:
        raise Breach("chain", f"it is for chain {tx['chainId']}, the market is on chain {policy.chain_id}")
    gas_wei = _gas_cost(policy, tx)
    to, data, value = Address("0x" + bytes(tx["to"]).hex()), bytes(tx["data"]), int(tx["value"])
    if value or not data:
        return _gas_transfer(policy, to, data, value, gas_wei)
    function = _allowed(policy, to, data)
    return _read_call(policy, function, _arguments(function, data), gas_wei)


def check_caps(policy: Policy, wanted: Commitment, spent: Spent) -> None:
    """Raise Breach if a transaction would go beyond a cap, counting what was spent before."""
    caps, taken = policy.caps, wanted.tokens_wei
    # A deal begun within the cap must be one that can be ended: what begins nothing may use the cap again.
    gas_cap = caps.gas_per_hour_wei if wanted.begins else 2 * caps.gas_per_hour_wei
    _within("max_gas_per_hour", wanted, wanted.gas_wei, spent.hour_gas_wei, gas_cap, "of the gas token")
    if not taken:
        return
    _within("max_per_deal", wanted, taken, 0, caps.per_deal_wei, "tokens")
    _within("max_per_hour", wanted, taken, spent.hour_wei, caps.per_hour_wei, "tokens")
    _within(
        "max_per_counterparty",
        wanted,
        taken,
        spent.counterparty_wei,
        caps.per_counterparty_wei,
        f"tokens with {wanted.counterparty}",
    )


def share_of(policy: Policy, deal: Deal) -> tuple[Address, Wei]:
    """Return the other party of a deal, and what it can take from our wallet over its whole life.

    A provider's timeout collateral and results collateral are locked together for a moment; a job creator
    locks payment and timeout collateral, and pays the mediation fee if it disputes. Raises Breach if the deal
    is not ours.
    """
    creator, provider = deal.members.job_creator, deal.members.resource_provider
    if policy.account not in {creator, provider} or creator == provider:
        raise Breach(
            "parties", f"deal {deal.deal_id:.64} is between {creator} and {provider}, not one of ours"
        )
    pricing, timeouts = deal.pricing, deal.timeouts
    if provider == policy.account:
        results = pricing.results_collateral_multiple * pricing.instruction_price_wei
        return creator, Wei(timeouts.submit_results.collateral_wei + results)
    locked = pricing.payment_collateral_wei + timeouts.judge_results.collateral_wei
    return provider, Wei(locked + pricing.mediation_fee_wei)


def _within(rule: str, wanted: Commitment, amount: int, before: int, cap: int, unit: str) -> None:
    if before + amount <= cap:
        return
    already = f" after {tokens(before)} before it" if before else ""
    raise Breach(rule, f"{wanted.what} can take {tokens(amount)} {unit}{already}, the cap is {tokens(cap)}")


def _gas_cost(policy: Policy, tx: Mapping[str, Any]) -> Wei:
    gas, max_fee, tip = int(tx["gas"]), int(tx["maxFeePerGas"]), int(tx["maxPriorityFeePerGas"])
    if not 0 < gas <= MAX_GAS:
        raise Breach("gas", f"a gas limit of {gas}, at most {MAX_GAS} is allowed")
    if not 0 <= tip <= max_fee <= policy.max_fee_wei:
        raise Breach(
            "fee",
            f"{gwei(max_fee)} gwei per gas (tip {gwei(tip)}), at most {gwei(policy.max_fee_wei)} is allowed: "
            "chain.max_fee_gwei",
        )
    return Wei(gas * max_fee)


def _gas_transfer(policy: Policy, to: Address, data: bytes, value: int, gas_wei: Wei) -> Commitment:
    if data:
        raise Breach("value", f"a call that carries {tokens(value)} of the gas token, calls carry none")
    if to == policy.account and value == 0:
        return Commitment("the filling of an unused nonce", begins=False, gas_wei=gas_wei)
    if policy.payout is None or to != policy.payout or value <= 0:
        raise _no_payout(f"{tokens(value)} of the gas token", to)
    return Commitment(f"the transfer to {to}", begins=False, gas_wei=gas_wei)


def _allowed(policy: Policy, to: Address, data: bytes) -> Function:
    """Return the function that is called, one of this market's that this node has a use for."""
    market = policy.market
    by_contract: dict[Address, tuple[Function, ...]] = {}
    for contract, functions in (
        (market.controller, (interface.AGREE, *_OF_A_DEAL)),
        (market.job_manager, (interface.RUN_JOB,)),
        (market.users, _OF_THE_REGISTRY),
        (market.payments, (interface.WITHDRAW,)),
        (market.token, (interface.APPROVE, interface.TRANSFER)),
        *([(market.mediation, _RULINGS)] if policy.mediates else []),
    ):
        by_contract[contract] = (*by_contract.get(contract, ()), *functions)
    if to not in by_contract:
        raise Breach("contract", f"a call of {to}, which is no contract of this market that the node calls")
    selector = data[:4]
    for function in by_contract[to]:
        if function.selector == selector:
            return function
    raise Breach("selector", f"function 0x{selector.hex()} of {to}, allowed are {_names(by_contract[to])}")


def _names(functions: Iterable[Function]) -> str:
    return ", ".join(function.name for function in functions)


def _arguments(function: Function, data: bytes) -> tuple[Any, ...]:
    try:
        arguments = decode(function.types, data[4:])
    except (DecodingError, ValueError, OverflowError):
        raise Breach("arguments", f"{function.name} with arguments that cannot be read") from None
    if encode(function.types, arguments) != data[4:]:
        # Two readings of the same bytes would let something be signed that was not looked at.
        raise Breach("arguments", f"{function.name} with arguments in an unusual encoding")
    return arguments


def _read_call(policy: Policy, function: Function, arguments: tuple[Any, ...], gas_wei: Wei) -> Commitment:
    begins = function in _BEGINNINGS
    plain = Commitment(function.name, begins=begins, gas_wei=gas_wei)
    match function.name:
        case "agree":
            return _read_agree(policy, arguments, gas_wei)
        case "addResult" | "checkResult":
            if function is interface.ADD_RESULT and arguments[3] > 1:
                raise Breach("count", f"a result of {arguments[3]} instructions, this node counts a job as 1")
            takes = function is interface.CHECK_RESULT or arguments[3] > 0
            return Commitment(
                f"{function.name} {arguments[0]:.64}",
                begins=False,
                gas_wei=gas_wei,
                deal_id=DealId(arguments[0]),
                needs_terms=takes,
            )
        case "approve":
            _same_account("spender", "approve names", arguments[0], policy.market.payments)
            _within("max_per_hour", plain, arguments[1], 0, policy.caps.per_hour_wei, "tokens at once")
        case "transfer":
            if policy.payout is None or arguments[0] != policy.payout:
                raise _no_payout(f"{tokens(arguments[1])} tokens", arguments[0])
        case "runJob":
            _same_account("payee", "runJob names", arguments[2], policy.account)
        case "withdraw":
            _same_account("payee", "withdraw names", arguments[0], policy.account)
    return plain


def _read_agree(policy: Policy, arguments: tuple[Any, ...], gas_wei: Wei) -> Commitment:
    deal_id, (solver, creator, provider, mediators), deadlines, prices = arguments
    price, payment, multiple, fee = prices
    deal = Deal(
        DealId(deal_id),
        DealMembers(solver, creator, provider, mediators),
        DealTimeouts(*(DealTimeout(timeout, Wei(collateral)) for timeout, collateral in deadlines)),
        DealPricing(Wei(price), Wei(payment), multiple, Wei(fee)),
    )
    counterparty, takes = share_of(policy, deal)
    return Commitment(
        f"agree {deal_id:.64}",
        begins=True,
        gas_wei=gas_wei,
        deal_id=deal.deal_id,
        counterparty=counterparty,
        tokens_wei=takes,
    )


def _same_account(rule: str, what: str, found: str, allowed: Address) -> None:
    if found != allowed:
        raise Breach(rule, f"{what} {found}, only {allowed} is allowed")


def _no_payout(amount: str, to: str) -> Breach:
    return Breach("payout", f"{amount} to {to}, only wallet.payout_address may get any")

"""Which rules a deployed market follows, found by simulated calls and never by its address or name.

Two sets of rules are known: those of our contracts (``contracts_abi/market``) and those of Lilypad's
deployment (pooled escrow, ``tx.origin``, two timeouts that always revert). Each probe looks at something else
that tells them apart, and all must say the same: what cannot be told without an open deal, such as whether
deadlines bind, follows from the set, and a market that fits neither is refused in words.
"""

import secrets
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from node.chain import interface
from node.chain.calls import MarketAddresses
from node.chain.client import Call, Chain
from node.chain.interface import Function
from node.chain.reverts import Meaning, Reverted
from node.errors import Misconfigured
from node.types import Address

_PROBE_ACCOUNT = Address("0x" + "5d" * 20)
_PROBE_PARTNER = Address("0x" + "5e" * 20)


class Escrow(StrEnum):
    """What locked tokens are accounted to."""

    PER_DEAL = "per_deal"
    POOLED = "pooled"


class Funding(StrEnum):
    """How the market takes what a party locks."""

    ALLOWANCE = "allowance"
    BALANCE = "balance"
    """Straight from the wallet of whoever sent the transaction; no allowance is asked for."""


class MediationClock(StrEnum):
    """From when on a silent mediator can be timed out."""

    DRAWN = "drawn"
    SUBMITTED = "submitted"
    """From the result on, and by the judge's deadline instead of the mediator's."""


@dataclass(frozen=True, slots=True)
class DeploymentRules:
    """What a party can rely on at one market."""

    escrow: Escrow
    funding: Funding
    deadlines_bind: bool
    """Whether a step after its deadline reverts; where not, a deadline only permits the timeout."""
    silence_has_remedy: bool
    """Whether ``timeoutSubmitResult`` and ``timeoutJudgeResult`` work. Where not, they are never sent."""
    mediation_timeout_from: MediationClock
    terms_are_checked: bool
    """Whether the contract refuses a mediator that is zero, twice or a party, and amounts that overflow."""

    @property
    def needs_allowance(self) -> bool:
        """Whether locking tokens takes an ERC-20 allowance to the Payments contract."""
        return self.funding is Funding.ALLOWANCE

    @property
    def escrow_can_drain(self) -> bool:
        """Whether a party can take out what its open deals have locked."""
        return self.escrow is Escrow.POOLED

    def to_json(self) -> dict[str, Any]:
        """Return the rules for the status and for programs."""
        return asdict(self)

    def __str__(self) -> str:
        """Read as one line for people."""
        escrow = "escrow per deal" if self.escrow is Escrow.PER_DEAL else "pooled escrow"
        deadlines = "deadlines bind" if self.deadlines_bind else "deadlines do not bind"
        remedy = "silence has a remedy" if self.silence_has_remedy else "no remedy against silence"
        return f"{escrow}, funded by {self.funding}, {deadlines}, {remedy}"


SOUND_RULES = DeploymentRules(
    escrow=Escrow.PER_DEAL,
    funding=Funding.ALLOWANCE,
    deadlines_bind=True,
    silence_has_remedy=True,
    mediation_timeout_from=MediationClock.DRAWN,
    terms_are_checked=True,
)
"""Our contracts."""

POOLED_RULES = DeploymentRules(
    escrow=Escrow.POOLED,
    funding=Funding.BALANCE,
    deadlines_bind=False,
    silence_has_remedy=False,
    mediation_timeout_from=MediationClock.SUBMITTED,
    terms_are_checked=False,
)
"""Lilypad's deployed contracts."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What the probes saw."""

    token_has_escrow: bool
    payments_account_per_deal: bool
    payments_settle_silence: bool
    draws_are_timed: bool
    party_may_mediate: bool | None
    """None: neither taken nor refused for that."""


_SOUND = _Found(
    token_has_escrow=False,
    payments_account_per_deal=True,
    payments_settle_silence=True,
    draws_are_timed=True,
    party_may_mediate=False,
)
_POOLED = _Found(
    token_has_escrow=True,
    payments_account_per_deal=False,
    payments_settle_silence=False,
    draws_are_timed=False,
    party_may_mediate=True,
)


_WORDS = {True: "yes", False: "no", None: "cannot be told"}


async def detect_rules(chain: Chain, addresses: MarketAddresses) -> DeploymentRules:
    """Return the rules of a deployed market; sends nothing, costs seven simulated calls.

    Raises Misconfigured for a market whose rules this node does not know; Unreachable.
    """
    found = _Found(
        token_has_escrow=await _has_view(
            chain, addresses.token, interface.ESCROW_BALANCE_OF, addresses.controller
        ),
        payments_account_per_deal=await _has_view(chain, addresses.payments, interface.GET_ESCROW, "probe"),
        payments_settle_silence=await _settles_silence(chain, addresses),
        draws_are_timed=await _has_view(chain, addresses.mediation, interface.GET_DRAWN_AT, "probe"),
        party_may_mediate=await _party_may_mediate(chain, addresses),
    )
    if found == _SOUND:
        return SOUND_RULES
    if found == _POOLED:
        return POOLED_RULES
    listed = ", ".join(f"{name.replace('_', ' ')}: {_WORDS[seen]}" for name, seen in asdict(found).items())
    raise Misconfigured(
        f"the market at {addresses.controller} follows rules that this node does not know ({listed}): "
        "check the controller address; no money is put at risk there"
    )


async def _has_view(chain: Chain, contract: Address, function: Function, argument: Any) -> bool:
    """Tell whether a view exists: a missing one reverts, or falls into a fallback that answers no word."""
    try:
        output = await chain.call(Call(contract, function.encode(argument), function.name))
    except Reverted:
        return False
    return len(output) == 32


async def _settles_silence(chain: Chain, addresses: MarketAddresses) -> bool:
    """Tell whether Payments has the two functions by which the Controller settles a silent party.

    They refuse anybody but the Controller in words; a function that does not exist reverts without any.
    """
    amounts = (0, 0, 0)
    submit = interface.PAYMENTS_TIMEOUT_SUBMIT_RESULT
    judge = interface.PAYMENTS_TIMEOUT_JUDGE_RESULT
    parties = (_PROBE_PARTNER, _PROBE_ACCOUNT)
    return await _is_guarded(
        chain, Call(addresses.payments, submit.encode("probe", *parties, *amounts), submit.name)
    ) and await _is_guarded(
        chain, Call(addresses.payments, judge.encode("probe", *parties, *amounts, 0), judge.name)
    )


async def _is_guarded(chain: Chain, call: Call) -> bool:
    try:
        await chain.call(call, _PROBE_ACCOUNT)
    except Reverted as refusal:
        return refusal.meaning is Meaning.MISWIRED
    return False


async def _party_may_mediate(chain: Chain, addresses: MarketAddresses) -> bool | None:
    """Simulate agreeing to a worthless deal whose job creator is its own mediator."""
    hour, nothing = (3600, 0), (0, 0, 0, 0)
    # A random id: a known one could be taken by somebody to make this node blind.
    deal_id = f"probe-{secrets.token_hex(12)}"
    members = (_PROBE_PARTNER, _PROBE_ACCOUNT, _PROBE_PARTNER, [_PROBE_ACCOUNT])
    data = interface.AGREE.encode(deal_id, members, (hour,) * 4, nothing)
    try:
        await chain.call(Call(addresses.controller, data, "agree"), _PROBE_ACCOUNT)
    except Reverted as refusal:
        # A paused token stops the movement of nothing too, but only after the terms were taken.
        return {Meaning.PAUSED: True, Meaning.BAD_TERMS: False}.get(refusal.meaning)
    return True

"""Admission as a list of small rules. Pure: facts in, verdict with a reason out.

A refusal says whether it is final; the others are asked again while the offer is young.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from node.admission.bids import GAS_PER_BID
from node.admission.disk import DiskRoom, shortage
from node.admission.estimate import Estimate, free_in_s
from node.config import AdmissionSection
from node.job.amounts import tokens
from node.job.terms import MAX_LOCKED_WEI, neutral
from node.types import Address, Wei

GAS_PER_DEAL = 1_300_000


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything the rules look at, gathered at one moment. Amounts in wei, times in seconds."""

    chain_time: int
    posted_at: int
    sender: Address | None
    requester: Address
    provider: Address
    price_wei: Wei
    timeout_collateral_wei: Wei
    results_collateral_wei: Wei
    requester_tokens_wei: Wei
    our_tokens_wei: Wei
    our_allowance_wei: Wei | None
    """None where the market takes collateral from the balance, without an allowance."""
    our_gas_wei: Wei
    gas_price_wei: Wei
    committed_wei: Wei
    """What open deals may still lock at one time."""
    pulls_wei: Wei
    """What the market will still pull for open deals, all in all."""
    open_deals: int
    open_proposals_of_requester: int
    mediators: tuple[Address, ...]
    worker_problem: str | None
    paused: bool
    jobs_ahead: int
    estimate: Estimate
    """How long the job takes here."""
    submit_timeout_s: int
    disk: DiskRoom
    ahead_s: tuple[float, ...] = ()
    """What is left of each job that is to be rendered before, as expected."""
    slots: int = 1
    """How many jobs are rendered side by side."""
    job_bytes: int = 0
    """What the job may take of the disk."""
    store_problem: str | None = None
    """Why the results that must be kept leave no room within the operator's quota, if so."""
    token_paused: bool = False
    open_proposals: int = 0
    bid_gas: int = 0
    """Gas that proposals nobody answered have burnt in the last hour."""
    unserved: str | None = None
    """Why the models of this node are not the ones the job asks for, if so."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not, and whether waiting could change it."""

    rule: str
    reason: str
    final: bool = True


def forged(sender: Address, requester: Address, provider: Address) -> str | None:
    """Return why an offer sent by this account cannot oblige the requester it names, or None."""
    if sender != requester:
        return "posted by somebody else than the account that would pay"
    if requester == provider:
        return "posted by this node's own account"
    return None


def insolvent(owned_wei: Wei, needed_wei: Wei) -> str | None:
    """Return why a requester cannot pay, or None."""
    if owned_wei < needed_wei:
        return f"the requester owns {tokens(owned_wei)} tokens, needs {tokens(needed_wei)}"
    return None


Rule = Callable[[Facts, AdmissionSection], Refusal | None]


def fresh(facts: Facts, limits: AdmissionSection) -> Refusal | None:
    """Old offers have usually found their provider."""
    age = facts.chain_time - facts.posted_at
    if age > limits.max_offer_age_s:
        return Refusal("fresh", f"posted {age} s ago, older than {limits.max_offer_age_s} s")
    return None


def authentic(facts: Facts, _: AdmissionSection) -> Refusal | None:
    """Only the payee itself can oblige the payee: anybody may name anybody in ``runJob``."""
    if facts.sender is None:
        return Refusal(
            "authentic", "the endpoint does not know the transaction that posted it yet", final=False
        )
    problem = forged(facts.sender, facts.requester, facts.provider)
    return None if problem is None else Refusal("authentic", problem)


def served(facts: Facts, _: AdmissionSection) -> Refusal | None:
    """A module is computed with the models it names, never with others."""
    return None if facts.unserved is None else Refusal("served", facts.unserved)


def judged(facts: Facts, _: AdmissionSection) -> Refusal | None:
    """A deal needs at least one mediator that is neither party."""
    if not neutral(facts.mediators, facts.requester, facts.provider):
        return Refusal("judged", "no mediator to name: set market.mediators")
    return None


def solvent_requester(facts: Facts, _: AdmissionSection) -> Refusal | None:
    """The requester must own what it would lock."""
    problem = insolvent(facts.requester_tokens_wei, Wei(facts.price_wei + facts.timeout_collateral_wei))
    return None if problem is None else Refusal("solvent_requester", problem)


def solvent_provider(facts: Facts, _: AdmissionSection) -> Refusal | None:
    """We must be able to lock our collateral in every open deal and in this one."""
    needed = facts.committed_wei + max(facts.timeout_collateral_wei, facts.results_collateral_wei)
    if facts.our_tokens_wei < needed:
        return Refusal(
            "solvent_provider",
            f"this node owns {tokens(facts.our_tokens_wei)} tokens and needs {tokens(needed)}: "
            "fund the wallet",
            final=False,
        )
    # An allowance is used up by every pull, also by those of collateral that came back since.
    to_pull = facts.pulls_wei + facts.timeout_collateral_wei + facts.results_collateral_wei
    if facts.our_allowance_wei is not None and facts.our_allowance_wei < to_pull:
        return Refusal(
            "solvent_provider",
            f"the market may take {tokens(facts.our_allowance_wei)} tokens and needs {tokens(to_pull)}: "
            "sdv-node wallet approve",
            final=False,
        )
    return None


def bounded(facts: Facts, _: AdmissionSection) -> Refusal | None:
    """No product on chain may overflow, whatever the contracts check."""
    if max(facts.price_wei, facts.results_collateral_wei) >= MAX_LOCKED_WEI:
        return Refusal("bounded", "the price is beyond what a contract can compute with: lower pricing")
    return None


def movable(facts: Facts, _: AdmissionSection) -> Refusal | None:
    """With a paused token nothing can be locked, returned or paid."""
    if facts.token_paused:
        return Refusal("movable", "the payment token is paused by its owner", final=False)
    return None


def gas(facts: Facts, limits: AdmissionSection) -> Refusal | None:
    """A deal begun must be a deal that can be finished."""
    needed = limits.min_gas_deals * GAS_PER_DEAL * facts.gas_price_wei
    if facts.our_gas_wei < needed:
        return Refusal(
            "gas",
            f"{tokens(facts.our_gas_wei)} of the gas token left and {tokens(needed)} needed for "
            f"{limits.min_gas_deals} deals (admission.min_gas_deals): fund the wallet",
            final=False,
        )
    return None


def capacity(facts: Facts, limits: AdmissionSection) -> Refusal | None:
    """A worker that is up, and not more deals than allowed."""
    if facts.paused:
        return Refusal("capacity", "the node is draining (sdv-node drain): it takes no new jobs", final=False)
    if facts.worker_problem is not None:
        return Refusal("capacity", facts.worker_problem, final=False)
    if facts.open_deals >= limits.max_open_deals:
        return Refusal("capacity", f"{facts.open_deals} deals are open, the limit", final=False)
    if facts.open_proposals_of_requester >= limits.max_open_proposals_per_requester:
        return Refusal(
            "capacity",
            f"this requester has {facts.open_proposals_of_requester} unanswered proposals of ours, the limit",
            final=False,
        )
    return None


def bids(facts: Facts, limits: AdmissionSection) -> Refusal | None:
    """Anybody can ask for bids for nothing, so bids nobody answers are capped in number and in gas."""
    if facts.open_proposals >= limits.max_open_proposals:
        told = f"{facts.open_proposals} proposals wait for an answer, admission.max_open_proposals"
        return Refusal("bids", told, final=False)
    # Those that wait may be lost as well.
    at_worst = facts.bid_gas + (facts.open_proposals + 1) * GAS_PER_BID
    if 0 < limits.max_bid_gas_per_hour < at_worst:
        told = (
            f"proposals nobody answered burnt {facts.bid_gas} gas in the last hour, "
            f"admission.max_bid_gas_per_hour is {limits.max_bid_gas_per_hour}"
        )
        return Refusal("bids", told, final=False)
    return None


def disk(facts: Facts, limits: AdmissionSection) -> Refusal | None:
    """Results must fit, beside those of the jobs that are agreed."""
    problem = facts.store_problem or shortage(
        facts.disk,
        floor_bytes=int(limits.min_free_disk_gb * 10**9),
        job_bytes=facts.job_bytes,
        jobs_ahead=facts.jobs_ahead,
    )
    return None if problem is None else Refusal("disk", problem, final=False)


def deadline(facts: Facts, limits: AdmissionSection) -> Refusal | None:
    """Decline what cannot end in time, for good if it could not even alone."""
    job = facts.estimate
    allowed = facts.submit_timeout_s * limits.deadline_share
    told = (
        f"{allowed:.0f} s are allowed, {limits.deadline_share:g} of the deadline of "
        f"{facts.submit_timeout_s} s (admission.deadline_share)"
    )
    if job.upper_s > allowed:
        known = "measured here" if job.measured else "admission.initial_job_s, nothing is measured yet"
        return Refusal(
            "deadline",
            f"the job may take {job.upper_s:.0f} s, expected are {job.expected_s:.0f} s ({known}); {told}",
            final=job.measured,
        )
    waiting_s = free_in_s(facts.ahead_s, facts.slots)
    if waiting_s + job.upper_s > allowed:
        return Refusal(
            "deadline",
            f"{len(facts.ahead_s)} jobs on {facts.slots} workers come before it, {waiting_s:.0f} s of work, "
            f"and the job may take {job.upper_s:.0f} s; {told}",
            final=False,
        )
    return None


RULES: tuple[Rule, ...] = (
    fresh,
    authentic,
    served,
    judged,
    bounded,
    solvent_requester,
    movable,
    capacity,
    solvent_provider,
    gas,
    bids,
    disk,
    deadline,
)


def verdict(facts: Facts, limits: AdmissionSection) -> Refusal | None:
    """Return the refusal to tell of an offer, or None for a yes."""
    return foremost(broken(RULES, facts, limits))


def broken(rules: Iterable[Rule], facts: Facts, limits: AdmissionSection) -> list[Refusal]:
    """Return what each rule has against the deal, in the order of the rules."""
    return [refusal for rule in rules if (refusal := rule(facts, limits)) is not None]


def foremost(refusals: Sequence[Refusal]) -> Refusal | None:
    """Return the first refusal, final ones before those that may pass; None of none."""
    final = [refusal for refusal in refusals if refusal.final]
    return next(iter(final or refusals), None)

"""Admission as a list of small rules. Pure: facts in, verdict with a reason out.

A refusal says whether it is final; the others are asked again while the offer is young.
"""

from collections.abc import Callable
from dataclasses import dataclass

from node.config import AdmissionSection
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
    our_allowance_wei: Wei
    our_gas_wei: Wei
    gas_price_wei: Wei
    committed_wei: Wei
    open_deals: int
    open_proposals_of_requester: int
    mediators: tuple[Address, ...]
    worker_problem: str | None
    paused: bool
    jobs_ahead: int
    job_estimate_s: float
    submit_timeout_s: int
    free_disk_bytes: int
    unserved: str | None = None
    """Why the models of this node are not the ones the job asks for, if so."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why not, and whether waiting could change it."""

    rule: str
    reason: str
    final: bool = True


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
    if facts.sender != facts.requester:
        return Refusal("authentic", "posted by somebody else than the account that would pay")
    if facts.requester == facts.provider:
        return Refusal("authentic", "posted by this node's own account")
    return None


def served(facts: Facts, _: AdmissionSection) -> Refusal | None:
    """A module is computed with the models it names, never with others."""
    return None if facts.unserved is None else Refusal("served", facts.unserved)


def judged(facts: Facts, _: AdmissionSection) -> Refusal | None:
    """A deal needs at least one mediator that is neither party."""
    usable = [m for m in facts.mediators if m not in {facts.requester, facts.provider}]
    if not usable:
        return Refusal("judged", "no mediator to name: set market.mediators")
    return None


def solvent_requester(facts: Facts, _: AdmissionSection) -> Refusal | None:
    """The requester must own what it would lock."""
    needed = facts.price_wei + facts.timeout_collateral_wei
    if facts.requester_tokens_wei < needed:
        return Refusal(
            "solvent_requester",
            f"the requester owns {facts.requester_tokens_wei} wei, needs {needed}",
        )
    return None


def solvent_provider(facts: Facts, _: AdmissionSection) -> Refusal | None:
    """We must be able to lock our collateral in every open deal and in this one."""
    needed = facts.committed_wei + max(facts.timeout_collateral_wei, facts.results_collateral_wei)
    if facts.our_tokens_wei < needed:
        return Refusal(
            "solvent_provider",
            f"this node owns {facts.our_tokens_wei} wei of the token and needs {needed}: fund the wallet",
            final=False,
        )
    if facts.our_allowance_wei < needed:
        return Refusal(
            "solvent_provider",
            f"the market may take {facts.our_allowance_wei} wei, needs {needed}: run sdv-node wallet approve",
            final=False,
        )
    return None


def gas(facts: Facts, limits: AdmissionSection) -> Refusal | None:
    """A deal begun must be a deal that can be finished."""
    needed = limits.min_gas_deals * GAS_PER_DEAL * facts.gas_price_wei
    if facts.our_gas_wei < needed:
        return Refusal(
            "gas", f"{facts.our_gas_wei} wei left for gas and {needed} needed: fund the wallet", final=False
        )
    return None


def capacity(facts: Facts, limits: AdmissionSection) -> Refusal | None:
    """A worker that is up, and not more deals than allowed."""
    if facts.paused:
        return Refusal("capacity", "the node is draining", final=False)
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


def disk(facts: Facts, limits: AdmissionSection) -> Refusal | None:
    """Results must fit."""
    needed = int(limits.min_free_disk_gb * 10**9)
    if facts.free_disk_bytes < needed:
        return Refusal(
            "disk", f"{facts.free_disk_bytes} bytes free and {needed} needed: free disk space", final=False
        )
    return None


def deadline(facts: Facts, limits: AdmissionSection) -> Refusal | None:
    """Decline what is not expected to end in time, counting the jobs before it."""
    expected = facts.job_estimate_s * (facts.jobs_ahead + 1)
    allowed = facts.submit_timeout_s * limits.deadline_share
    if expected > allowed:
        return Refusal(
            "deadline",
            f"expected to end in {expected:.0f} s behind {facts.jobs_ahead} jobs, {allowed:.0f} s allowed",
            final=False,
        )
    return None


RULES: tuple[Rule, ...] = (
    fresh,
    authentic,
    served,
    judged,
    solvent_requester,
    capacity,
    solvent_provider,
    gas,
    disk,
    deadline,
)


def verdict(facts: Facts, limits: AdmissionSection) -> Refusal | None:
    """Return the first refusal, final ones before those that may pass, or None for a yes."""
    refusals = [refusal for rule in RULES if (refusal := rule(facts, limits)) is not None]
    final = [refusal for refusal in refusals if refusal.final]
    return next(iter(final or refusals), None)

"""Admission of a deal that the job creator agreed to first: exact terms, money in escrow, time left. Pure.

What holds for every deal (capacity, solvency, gas, disk) is in ``rules``. Threats: lilypad.md 4.7.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from node.admission.rules import (
    RULES,
    Facts,
    Refusal,
    Rule,
    authentic,
    bids,
    broken,
    foremost,
    fresh,
    solvent_requester,
)
from node.config import AdmissionSection
from node.job.amounts import tokens
from node.job.deal import Deal
from node.job.terms import MAX_LOCKED_WEI, mediators_problem
from node.types import Address, Wei

REPLACED = frozenset({fresh, authentic, solvent_requester, bids})
"""A hire proves by its escrow what these rules ask of a requester; its age counts from its own agreement.

The bids that its requester left unanswered do not count against it either.
"""
SHARED_RULES: tuple[Rule, ...] = tuple(rule for rule in RULES if rule not in REPLACED)


@dataclass(frozen=True, slots=True)
class HireFacts:
    """What is looked at in a hire beside the common facts. Amounts in wei, times in block seconds.

    ``expected`` is the deal on our own terms.
    """

    deal: Deal
    expected: Deal
    mediators: tuple[Address, ...]
    escrow_wei: Wei
    chain_time: int
    closes_at: int
    takes_hires: bool
    withdrawn: str | None = None


def hire_verdict(hire: HireFacts, facts: Facts, limits: AdmissionSection) -> Refusal | None:
    """Return the refusal to tell of a hire, or None for a yes."""
    facts = replace(facts, open_proposals_of_requester=0)
    return foremost([*_objections(hire, facts), *broken(SHARED_RULES, facts, limits)])


def _objections(hire: HireFacts, facts: Facts) -> Iterable[Refusal]:
    if not hire.takes_hires:
        yield Refusal("matching", "this node takes no direct hires (market.matching)")
    if hire.withdrawn is not None:
        yield Refusal("matching", f"this node's offer is withdrawn: {hire.withdrawn}")
    if facts.paused:
        # For good, though an operator may resume: waiting would hold the requester's money meanwhile.
        yield Refusal("capacity", "the node is draining")
    if hire.chain_time > hire.closes_at:
        yield Refusal("window", f"the time to agree ended {hire.chain_time - hire.closes_at} s ago")
    yield from _terms(hire)
    needed = hire.deal.pricing.payment_collateral_wei + hire.deal.timeouts.judge_results.collateral_wei
    if hire.escrow_wei < needed:
        # An endpoint can be behind the one that gave the log: asked again until the window closes.
        told = f"{tokens(hire.escrow_wei)} tokens are in escrow, the deal needs {tokens(needed)}"
        yield Refusal("escrow", told, final=False)


def _terms(hire: HireFacts) -> Iterable[Refusal]:
    members, ours = hire.deal.members, hire.expected
    partial = mediators_problem(members, hire.mediators)
    if partial is not None:
        yield Refusal("mediators", partial)
    if members.solver != ours.members.solver:
        yield Refusal("terms", "its solver is not the job manager, which marks a deal without a solver")
    for name, theirs, published in _compared(hire.deal, ours):
        if theirs != published:
            yield Refusal("terms", f"its {name} is {theirs}, published is {published}")
    pricing = hire.deal.pricing
    if pricing.instruction_price_wei * max(1, pricing.results_collateral_multiple) >= MAX_LOCKED_WEI:
        yield Refusal("terms", "its results collateral is beyond what could ever be locked")


def _compared(deal: Deal, ours: Deal) -> Iterable[tuple[str, str, str]]:
    theirs, published = deal.pricing, ours.pricing
    for name, one, other in (
        ("price", theirs.instruction_price_wei, published.instruction_price_wei),
        ("payment collateral", theirs.payment_collateral_wei, published.payment_collateral_wei),
        ("mediation fee", theirs.mediation_fee_wei, published.mediation_fee_wei),
    ):
        yield name, f"{tokens(one)} tokens", f"{tokens(other)} tokens"
    multiples = (theirs.results_collateral_multiple, published.results_collateral_multiple)
    yield "results collateral multiple", str(multiples[0]), str(multiples[1])
    for name, timeout, agreed in (
        ("agree", deal.timeouts.agree, ours.timeouts.agree),
        ("submitResults", deal.timeouts.submit_results, ours.timeouts.submit_results),
        ("judgeResults", deal.timeouts.judge_results, ours.timeouts.judge_results),
        ("mediateResults", deal.timeouts.mediate_results, ours.timeouts.mediate_results),
    ):
        yield f"{name} timeout", f"{timeout.timeout_s} s", f"{agreed.timeout_s} s"
        held, due = timeout.collateral_wei, agreed.collateral_wei
        yield f"{name} collateral", f"{tokens(held)} tokens", f"{tokens(due)} tokens"

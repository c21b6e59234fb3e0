"""Does a deal bind to our job, are its terms within our limits, and which one is best? Pure.

A deal is a stranger's proposal until its id is recomputed from its terms and every term is checked: whoever
agrees to a deal pays by it, so nothing is taken that was not looked at.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from node.job.amounts import tokens
from node.job.deal import ZERO_ADDRESS, Agreement, AgreementState, Deal, MarketPlace
from node.job.terms import MAX_LOCKED_WEI, binds, mediators_problem
from node.types import Address, DealId, Wei


@dataclass(frozen=True, slots=True)
class Bounds:
    """An inclusive range of seconds."""

    low_s: int
    high_s: int

    def __contains__(self, seconds: object) -> bool:
        return isinstance(seconds, int) and self.low_s <= seconds <= self.high_s


@dataclass(frozen=True, slots=True)
class Limits:
    """The terms a requester agrees to. ``mediators`` None means that any neutral address may judge."""

    max_price_wei: Wei
    max_collateral_wei: Wei = Wei(10 * 10**18)
    """What we may lock beyond the price; it comes back when we judge the result in time."""
    mediators: frozenset[Address] | None = None
    agree: Bounds = Bounds(5, 86_400)
    submit_results: Bounds = Bounds(30, 2 * 86_400)
    judge_results: Bounds = Bounds(300, 30 * 86_400)
    mediate_results: Bounds = Bounds(60, 30 * 86_400)


@dataclass(frozen=True, slots=True)
class Request:
    """Our job, as a deal for it must name it."""

    market: MarketPlace
    job_number: int
    job_creator: Address


@dataclass(frozen=True, slots=True)
class Proposal:
    """A deal that was checked. ``order`` is its place on the chain: block, then log."""

    deal: Deal
    order: tuple[int, int]

    @property
    def price_wei(self) -> Wei:
        """What the provider gets for the whole job."""
        return self.deal.pricing.instruction_price_wei

    @property
    def locked_wei(self) -> Wei:
        """What agreeing takes from our wallet: payment and timeout collateral."""
        return locked_wei(self.deal)


def locked_wei(deal: Deal) -> Wei:
    """Return what a job creator locks by agreeing to this deal."""
    return Wei(deal.pricing.payment_collateral_wei + deal.timeouts.judge_results.collateral_wei)


def names_job(deal_id: DealId, job_number: int) -> bool:
    """Whether an id claims to be for this job; cheap, so that other jobs' deals need not be read at all."""
    return deal_id.startswith(f"j{job_number}-")


def objections(deal: Deal, agreement: Agreement, request: Request, limits: Limits, now: int) -> list[str]:
    """Return everything that keeps us from agreeing to this deal; none means that it may be taken.

    ``now`` is the time of the newest block in seconds.
    """
    return [
        *_binding(deal, request),
        *_standing(deal, agreement, now),
        *term_objections(deal, request, limits),
    ]


def term_objections(deal: Deal, request: Request, limits: Limits) -> Iterable[str]:
    """Return what in a deal's own terms keeps us from agreeing, whoever agrees first."""
    return chain(_members(deal, request, limits), _timeouts(deal, limits), _pricing(deal, limits))


def cheapest(proposals: Iterable[Proposal]) -> Proposal | None:
    """Return the proposal with the lowest price; among equals the least to lock, then the earliest."""
    return min(
        proposals,
        key=lambda proposal: (proposal.price_wei, proposal.locked_wei, proposal.order),
        default=None,
    )


def _binding(deal: Deal, request: Request) -> Iterable[str]:
    if not binds(deal, request.market, request.job_number):
        yield "its id does not follow from our job and its terms (forged, or written by another rule)"


def _standing(deal: Deal, agreement: Agreement, now: int) -> Iterable[str]:
    if agreement.state is not AgreementState.DEAL_NEGOTIATING:
        yield f"it is no longer open ({agreement.state.name.lower()})"
    if not agreement.resource_provider_agreed_at:
        yield "its provider has not agreed to it"
    if agreement.job_creator_agreed_at:
        yield "it is already agreed from our side"
    closes_at = agreement.deal_created_at + deal.timeouts.agree.timeout_s
    if now >= closes_at:
        yield f"its window to agree closed {now - closes_at} s ago"


def _members(deal: Deal, request: Request, limits: Limits) -> Iterable[str]:
    members = deal.members
    if members.job_creator != request.job_creator:
        yield "it names another job creator"
    if members.solver != request.market.job_manager:
        yield "its solver is not the job manager"
    if members.resource_provider in {request.job_creator, ZERO_ADDRESS}:
        yield "its provider is nobody, or we ourselves"
    partial = mediators_problem(members, limits.mediators)
    if partial is not None:
        yield partial


def _timeouts(deal: Deal, limits: Limits) -> Iterable[str]:
    timeouts = deal.timeouts
    for name, timeout, bounds in (
        ("agree", timeouts.agree, limits.agree),
        ("submitResults", timeouts.submit_results, limits.submit_results),
        ("judgeResults", timeouts.judge_results, limits.judge_results),
        ("mediateResults", timeouts.mediate_results, limits.mediate_results),
    ):
        if timeout.timeout_s not in bounds:
            allowed = f"{bounds.low_s} to {bounds.high_s} s"
            yield f"its {name} timeout of {timeout.timeout_s} s is not within {allowed}"
    if timeouts.agree.collateral_wei or timeouts.mediate_results.collateral_wei:
        yield "its agree and mediateResults collaterals are not 0"
    if timeouts.submit_results.collateral_wei != timeouts.judge_results.collateral_wei:
        yield "its timeout collaterals differ between the two sides"


def _pricing(deal: Deal, limits: Limits) -> Iterable[str]:
    pricing, most = deal.pricing, f"{tokens(limits.max_price_wei)} tokens"
    if pricing.instruction_price_wei > limits.max_price_wei:
        yield f"its price of {tokens(pricing.instruction_price_wei)} is above our {most}"
    if pricing.payment_collateral_wei < pricing.instruction_price_wei:
        yield "its payment collateral does not cover its price"
    if pricing.payment_collateral_wei > limits.max_price_wei:
        yield f"its payment collateral of {tokens(pricing.payment_collateral_wei)} is above our {most}"
    collateral_wei = deal.timeouts.judge_results.collateral_wei
    if collateral_wei > limits.max_collateral_wei:
        yield (
            f"its collateral of {tokens(collateral_wei)} is above our "
            f"{tokens(limits.max_collateral_wei)} tokens"
        )
    if pricing.mediation_fee_wei > limits.max_price_wei:
        yield f"its mediation fee of {tokens(pricing.mediation_fee_wei)} is above our {most}"
    if pricing.instruction_price_wei * pricing.results_collateral_multiple >= MAX_LOCKED_WEI:
        yield "its results collateral is beyond what the provider could ever lock"

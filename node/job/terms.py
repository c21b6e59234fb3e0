"""A provider's standing terms, and the deal that follows from them for any job. Pure.

Both sides compute with these functions: the provider from its settings, a requester from the published offer
document. The same terms therefore give the same deal with the same id, whoever agrees first.
"""

from collections.abc import Collection
from dataclasses import dataclass

from node.job.deal import (
    ZERO_ADDRESS,
    Deal,
    DealMembers,
    DealPricing,
    DealTimeout,
    DealTimeouts,
    MarketPlace,
    deal_id_for,
)
from node.job.evaluations import evaluations
from node.job.spec import JobSpec
from node.types import Address, Wei

SALTS = tuple(f"{number:08d}" for number in range(1, 17))
"""The salt is counted up when somebody else took a deal's id first."""
MAX_LOCKED_WEI = 2**128
"""What a party would have to lock stays below this, so that no product on chain overflows."""
NOTHING = Wei(0)


@dataclass(frozen=True, slots=True)
class PriceList:
    """What jobs cost, in wei of the payment token. A video step costs as much as ``weight`` still steps.

    A step counts once for each time its sampler evaluates the network.
    """

    floor_wei: Wei
    per_job_wei: Wei
    per_step_wei: Wei
    video_step_weight: int
    mediation_fee_wei: Wei


@dataclass(frozen=True, slots=True)
class StandingTerms:
    """What a provider agrees to for every job: prices, deadlines in seconds, collateral of both parties."""

    prices: PriceList
    agree_timeout_s: int
    submit_timeout_s: int
    judge_timeout_s: int
    mediate_timeout_s: int
    timeout_collateral_wei: Wei
    results_collateral_multiple: int


def price_wei(spec: JobSpec, prices: PriceList) -> Wei:
    """Return the price of the whole job in wei of the payment token."""
    still = evaluations(spec.scheduler, spec.sampler, spec.steps)
    clip = evaluations(spec.video_scheduler, spec.video_sampler, spec.video_steps)
    steps = still + prices.video_step_weight * clip
    asked = (prices.per_job_wei + prices.per_step_wei * steps) * spec.batching
    return Wei(max(asked, prices.floor_wei))


def deal_timeouts(terms: StandingTerms) -> DealTimeouts:
    """Return the deadlines of every deal on these terms; both parties lock the same collateral."""
    return DealTimeouts(
        agree=DealTimeout(terms.agree_timeout_s, NOTHING),
        submit_results=DealTimeout(terms.submit_timeout_s, terms.timeout_collateral_wei),
        judge_results=DealTimeout(terms.judge_timeout_s, terms.timeout_collateral_wei),
        mediate_results=DealTimeout(terms.mediate_timeout_s, NOTHING),
    )


def deal_pricing(terms: StandingTerms, price: Wei) -> DealPricing:
    """Return the pricing of a job at this price; the payment collateral is exactly the price."""
    return DealPricing(price, price, terms.results_collateral_multiple, terms.prices.mediation_fee_wei)


def neutral(mediators: tuple[Address, ...], *parties: Address) -> tuple[Address, ...]:
    """Return the mediators that are no party of the deal, in their order."""
    return tuple(mediator for mediator in mediators if mediator not in parties)


def mediators_problem(members: DealMembers, accepted: Collection[Address] | None) -> str | None:
    """Return why a deal's mediators are no judges between its parties, or None.

    ``accepted`` holds those we let judge, None any.
    """
    judges = members.mediators
    if not judges:
        return "it names no mediator"
    if len(set(judges)) != len(judges):
        return "it names a mediator twice"
    if neutral(judges, ZERO_ADDRESS, members.job_creator, members.resource_provider) != judges:
        return "one of its mediators is nobody, or a party of the deal"
    if accepted is not None and not set(judges) <= set(accepted):
        return "it names a mediator that market.mediators does not name"
    return None


def deal_for(
    spec: JobSpec,
    terms: StandingTerms,
    *,
    market: MarketPlace,
    job_number: int,
    requester: Address,
    provider: Address,
    mediators: tuple[Address, ...],
    salt: str = SALTS[0],
) -> Deal:
    """Return the deal for a job; the job manager's address as solver marks direct matching."""
    members = DealMembers(market.job_manager, requester, provider, neutral(mediators, requester, provider))
    timeouts = deal_timeouts(terms)
    pricing = deal_pricing(terms, price_wei(spec, terms.prices))
    deal_id = deal_id_for(market, job_number, members, timeouts, pricing, salt)
    return Deal(deal_id, members, timeouts, pricing)


def binds(deal: Deal, market: MarketPlace, job_number: int) -> bool:
    """Whether a deal's id follows from this job and the deal's own terms; if not it is forged or squatted."""
    return any(
        deal.deal_id == deal_id_for(market, job_number, deal.members, deal.timeouts, deal.pricing, salt)
        for salt in SALTS
    )

"""What a job costs. Pure."""

from node.config import DealSection, PricingSection
from node.job.deal import DealMembers, DealPricing, DealTimeout, DealTimeouts
from node.job.spec import JobSpec
from node.types import Address, Wei

NOTHING = Wei(0)


def price_wei(spec: JobSpec, pricing: PricingSection) -> Wei:
    """Return the price of the whole job in wei of the payment token."""
    steps = spec.steps + pricing.video_step_weight * spec.video_steps
    asked = (pricing.per_job + pricing.per_step * steps) * spec.batching
    return Wei(max(asked, pricing.floor))


def terms(
    price: Wei,
    *,
    pricing: PricingSection,
    deal: DealSection,
    job_manager: Address,
    requester: Address,
    provider: Address,
    mediators: tuple[Address, ...],
) -> tuple[DealMembers, DealTimeouts, DealPricing]:
    """Return the terms we propose: payment collateral is exactly the price, both parties lock the same."""
    collateral = deal.timeout_collateral
    return (
        DealMembers(job_manager, requester, provider, mediators),
        DealTimeouts(
            agree=DealTimeout(deal.agree_timeout_s, NOTHING),
            submit_results=DealTimeout(deal.submit_timeout_s, collateral),
            judge_results=DealTimeout(deal.judge_timeout_s, collateral),
            mediate_results=DealTimeout(deal.mediate_timeout_s, NOTHING),
        ),
        DealPricing(price, price, deal.results_collateral_multiple, pricing.mediation_fee),
    )

"""The deal that a provider's settings promise to whoever hires it, as both sides work it out."""

from node.admission.pricing import standing_terms
from node.chain.contracts import MarketContracts
from node.config import load
from node.job.deal import Deal
from node.job.spec import parse_inputs
from node.job.terms import deal_for
from node.types import Address
from tests.chaos.harness.arena import Provider

MODULE = "sdv-pipeline:v1.1-lilypad2"


def standing_deal(
    provider: Provider,
    contracts: MarketContracts,
    *,
    number: int,
    requester: Address,
    inputs: tuple[str, ...],
) -> Deal:
    """Return the deal for job ``number`` of a requester, on the provider's standing terms."""
    config = load(provider.config, environment={})
    return deal_for(
        parse_inputs(MODULE, inputs),
        standing_terms(config.pricing, config.deal, silence_has_remedy=contracts.rules.silence_has_remedy),
        market=contracts.place,
        job_number=number,
        requester=requester,
        provider=provider.address,
        mediators=config.market.mediators,
    )

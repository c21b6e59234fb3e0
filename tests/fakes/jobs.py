"""Offers, deals and jobs as tests need them: valid, small and all alike unless told otherwise."""

from node.admission.pricing import standing_terms
from node.config import Config, load
from node.job.deal import Deal, DealMembers, MarketPlace, deal_id_for
from node.job.events import Offer
from node.job.job import Job
from node.job.phase import Phase
from node.job.spec import JobSpec, parse_inputs
from node.job.terms import deal_pricing, deal_timeouts
from node.types import Address, BlockNumber, TxHash, Wei

PROVIDER = Address("0x" + "a1" * 20)
REQUESTER = Address("0x" + "b2" * 20)
MEDIATOR = Address("0x" + "c3" * 20)
JOB_MANAGER = Address("0x" + "d4" * 20)
CONTROLLER = Address("0x" + "e5" * 20)
MARKET = MarketPlace(31337, CONTROLLER, JOB_MANAGER)
TOKEN = 10**18
POSTED_AT = 1_700_000_000


def make_config(**overrides) -> Config:
    return load(environment={}, overrides=overrides)


def make_spec(*inputs: str) -> JobSpec:
    return parse_inputs("sdv-pipeline:v1.1-lilypad2", inputs or ("Prompt=a red fox",))


def make_offer(number: int = 1, requester: Address = REQUESTER) -> Offer:
    return Offer(
        number=number,
        requester=requester,
        calling_contract=requester,
        tx_hash=TxHash("0x" + f"{number:064x}"),
        block_number=BlockNumber(10),
        posted_at=POSTED_AT,
        spec=make_spec(),
    )


def make_deal(number: int = 1, price_wei: int = TOKEN, requester: Address = REQUESTER) -> Deal:
    config = make_config()
    terms = standing_terms(config.pricing, config.deal)
    members = DealMembers(JOB_MANAGER, requester, PROVIDER, (MEDIATOR,))
    timeouts, pricing = deal_timeouts(terms), deal_pricing(terms, Wei(price_wei))
    deal_id = deal_id_for(MARKET, number, members, timeouts, pricing, "00000001")
    return Deal(deal_id, members, timeouts, pricing)


def make_job(phase: Phase = Phase.SEEN, number: int = 1, **changes) -> Job:
    job = Job(job_id=f"j{number}", offer=make_offer(number), phase=Phase.SEEN)
    if phase not in {Phase.SEEN, Phase.REFUSED}:
        changes.setdefault("deal", make_deal(number))
    return job.to(phase, **changes)

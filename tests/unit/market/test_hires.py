"""Which deals count as a hire of this node, and how it agrees to one."""

from dataclasses import replace

import pytest

from node.chain.contracts import Unreadable
from node.chain.events import LogRef, Payment
from node.errors import Retryable
from node.job.deal import Agreement, AgreementState, PaymentDirection, PaymentReason
from node.job.events import HireSeen
from node.market.hires import DirectHires
from tests.fakes.deals import Deals
from tests.fakes.jobs import (
    MARKET,
    MEDIATOR,
    POSTED_AT,
    PROVIDER,
    REQUESTER,
    TOKEN,
    make_deal,
    make_offer,
)

DEAL = make_deal()
OPEN = Agreement(AgreementState.DEAL_NEGOTIATING, job_creator_agreed_at=POSTED_AT, deal_created_at=POSTED_AT)


class Posted:
    """The jobs that were seen: job 1, unless a test says otherwise."""

    def __init__(self, offer=None, earlier=None):
        self.found = make_offer() if offer is None else offer
        self.earlier = earlier

    async def offer(self, number):
        return self.found

    async def hired_in(self, number):
        return self.earlier


def paid_in(deal=DEAL, payee=REQUESTER):
    ref = LogRef(5, "0x05", "0xaa", 1)
    return Payment(
        ref, deal.deal_id, payee, TOKEN, PaymentReason.PAYMENT_COLLATERAL, PaymentDirection.PAID_IN
    )


async def read(log=None, *, deal=DEAL, agreement=OPEN, posted=None, age_s=5, just_seen=None):
    hires = DirectHires(
        Deals(deal=deal, agreement=agreement),
        posted or Posted(),
        provider=PROVIDER,
        market=MARKET,
        max_age_s=600,
    )
    return await hires.read(log or paid_in(), POSTED_AT + 3, age_s=age_s, just_seen=just_seen or {})


async def test_a_deal_of_a_job_we_saw_that_names_us_is_a_hire():
    assert await read() == HireSeen(make_offer(), DEAL, POSTED_AT + 3, 5)


async def test_the_job_can_be_of_the_same_blocks_as_the_hire():
    seen = replace(make_offer(), posted_at=POSTED_AT + 2)
    hire = await read(posted=Posted("was never seen here"), just_seen={1: seen})
    assert hire.offer == seen


async def test_a_deal_of_others_is_nothing_of_ours():
    foreign = replace(DEAL, members=replace(DEAL.members, resource_provider=MEDIATOR))
    assert await read(deal=foreign) is None


@pytest.mark.parametrize(
    "deal_id", ["j1", "x1-abc", "j-abc", "j1-abc def", "j01-abc", "", "j" + "9" * 30 + "-a"]
)
async def test_a_deal_under_an_id_that_is_none_of_ours_is_not_even_asked_for(deal_id):
    assert await read(paid_in(replace(DEAL, deal_id=deal_id)), deal=None) is None


async def test_a_hire_that_is_past_its_time_to_be_agreed_to_is_not_asked_for():
    assert await read(deal=None, age_s=601) is None


async def test_a_deal_the_endpoint_does_not_have_yet_is_asked_for_again():
    with pytest.raises(Retryable, match="behind its own logs"):
        await read(deal=None)


async def test_a_deal_that_cannot_be_read_can_never_be_agreed_to():
    class Hostile(Deals):
        async def get_deal(self, deal_id, at=None):
            raise Unreadable("its id is not text")

    hires = DirectHires(Hostile(), Posted(), provider=PROVIDER, market=MARKET, max_age_s=600)
    assert await hires.read(paid_in(), POSTED_AT, age_s=1, just_seen={}) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"deal": replace(DEAL, pricing=replace(DEAL.pricing, mediation_fee_wei=1))}, "does not follow from"),
        ({"log": paid_in(payee=MEDIATOR)}, "somebody else than its job creator"),
        ({"posted": Posted(make_offer(requester=MEDIATOR))}, "somebody else's job"),
        ({"posted": Posted("was not taken up: Steps=4")}, "job j1 was not taken up: Steps=4"),
        ({"posted": Posted(earlier="j1-before")}, "which deal j1-before did before"),
        ({"agreement": Agreement(AgreementState.TIMEOUT_AGREE)}, "was taken back"),
        (
            {"agreement": replace(OPEN, resource_provider_agreed_at=POSTED_AT)},
            "not out of this data directory",
        ),
    ],
)
async def test_a_hire_that_cannot_be_looked_at_has_its_reason(change, told):
    assert told in await read(**change)

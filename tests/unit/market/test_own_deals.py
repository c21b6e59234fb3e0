"""A deal id is not proof: until our collateral is in it, only our own terms make a deal ours."""

import pytest

from node.chain.contracts import Unreadable
from node.engine.book import Book
from node.job.phase import Phase
from node.market.own_deals import OwnDeals
from tests.fakes.deals import Deals
from tests.fakes.jobs import make_deal, make_job

DEAL = make_deal()


def of(phase, stored):
    book = Book()
    book.put(make_job(phase), now=1.0)
    return OwnDeals(book.known_deal, book.get, Deals(deal=stored)).job_of(DEAL.deal_id)


async def test_a_deal_with_the_terms_we_sign_is_ours_before_our_agreement_is_mined():
    assert await of(Phase.PROPOSING, DEAL) == "j1"


@pytest.mark.parametrize("stored", [make_deal(price_wei=1), None])
async def test_a_deal_that_somebody_made_under_the_id_we_are_proposing_is_none_of_ours(stored):
    assert await of(Phase.PROPOSING, stored) is None


async def test_a_deal_that_cannot_be_read_is_none_of_ours():
    class Hostile(Deals):
        async def get_deal(self, deal_id, at=None):
            raise Unreadable("its terms are not text")

    book = Book()
    book.put(make_job(Phase.PROPOSING), now=1.0)
    assert await OwnDeals(book.known_deal, book.get, Hostile()).job_of(DEAL.deal_id) is None


@pytest.mark.parametrize("phase", [Phase.PROPOSED, Phase.AGREED, Phase.PAID])
async def test_a_deal_that_holds_our_collateral_needs_no_second_look(phase):
    assert await of(phase, None) == "j1"

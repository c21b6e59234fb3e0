"""A hire is found among the logs of a batch, with its payments, and nothing that names us is lost."""

from node.job.deal import AgreementState, PaymentDirection, PaymentReason
from node.job.events import DealMoved, HireSeen, ProposalMined
from node.market.feed import MarketFeed, OfferPolicy
from node.market.own_deals import OwnDeals
from tests.fakes.jobs import MEDIATOR, POSTED_AT, PROVIDER, REQUESTER, TOKEN, make_deal, make_offer
from tests.unit.market.test_feed import DEAL, MODULE, Chain, Gate, moved, offer, payment

LOCKED = (PaymentReason.PAYMENT_COLLATERAL, PaymentDirection.PAID_IN)
COLLATERAL = (PaymentReason.TIMEOUT_COLLATERAL, PaymentDirection.PAID_IN)


class Hires:
    """Says of every deal what a test wants, and keeps what it was asked."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    async def read(self, log, at, *, age_s, just_seen):
        self.asked.append((log.deal_id, age_s, sorted(just_seen)))
        return self.answer


def hire(number=1):
    return HireSeen(make_offer(number), make_deal(number), POSTED_AT, 5)


async def read(*logs, answer, known=None, let_go=(), orphaned=(), **chain):
    source = Chain(logs, **chain)
    hires = Hires(answer)
    feed = MarketFeed(
        source,
        source,
        provider=PROVIDER,
        policy=OfferPolicy(frozenset({MODULE}), 600),
        gate=Gate(),
        own_deals=OwnDeals((known or {}).get, lambda _: None, None),
        hires=hires,
        let_go=lambda job_id: job_id in let_go,
        orphaned=lambda job_id: job_id in orphaned,
    )
    return await feed.next(), hires.asked


async def test_a_hire_begins_a_job_and_every_payment_of_its_deal_is_in_the_ledger():
    batch, asked = await read(
        payment(REQUESTER, TOKEN, *LOCKED, index=1),
        payment(REQUESTER, TOKEN, *COLLATERAL, index=2),
        moved(AgreementState.DEAL_AGREED, index=3, tx="0x" + "bb" * 32),
        answer=hire(),
    )
    assert asked == [(DEAL, 10, [])]
    assert [(job_id, type(event)) for job_id, event in batch.events] == [("h1", HireSeen), ("h1", DealMoved)]
    assert [row.reason for row in batch.payments] == [LOCKED[0], COLLATERAL[0]]


async def test_a_job_that_was_posted_just_before_is_known_to_the_hire():
    _, asked = await read(offer(1), payment(REQUESTER, TOKEN, *LOCKED, index=1), answer=None)
    assert asked == [(DEAL, 10, [1])]


async def test_deals_of_others_leave_nothing():
    batch, _ = await read(payment(REQUESTER, TOKEN, *LOCKED), answer=None)
    assert batch.empty


async def test_what_others_lock_for_another_reason_or_we_ourselves_is_not_looked_at():
    _, asked = await read(
        payment(REQUESTER, TOKEN, *COLLATERAL), payment(PROVIDER, TOKEN, *LOCKED), answer=hire()
    )
    assert asked == []


async def test_a_hire_that_cannot_be_taken_up_is_kept_with_its_reason():
    batch, _ = await read(payment(REQUESTER, TOKEN, *LOCKED), answer="it is for somebody else's job")
    assert [skipped.reason for skipped in batch.skipped] == ["it is for somebody else's job"]
    assert batch.events == []


async def test_a_deal_of_ours_is_no_hire_whoever_pays_into_it():
    batch, asked = await read(payment(REQUESTER, TOKEN, *LOCKED), answer=hire(), known={DEAL: "j1"})
    assert asked == []
    assert len(batch.payments) == 1


async def test_the_deal_of_a_proposal_that_was_refused_can_come_back_as_a_hire():
    batch, asked = await read(
        payment(REQUESTER, TOKEN, *LOCKED), answer=hire(), known={DEAL: "j1"}, let_go={"j1"}
    )
    assert len(asked) == 1
    assert batch.events[0][0] == "h1"


async def test_of_two_hires_for_one_job_in_the_same_blocks_the_first_counts():
    second = payment(MEDIATOR, TOKEN, *LOCKED, deal_id="j1-another", index=2)
    batch, _ = await read(payment(REQUESTER, TOKEN, *LOCKED), second, answer=hire())
    assert [job_id for job_id, _ in batch.events] == ["h1"]
    assert "another deal hires this node" in batch.skipped[0].reason


async def test_a_hire_that_moved_to_another_block_is_told_to_its_job_again():
    locked = payment(REQUESTER, TOKEN, *LOCKED)
    batch, _ = await read(locked, answer=hire(), known={DEAL: "h1"}, orphaned=("h1",))
    assert [(job_id, type(event)) for job_id, event in batch.events] == [("h1", HireSeen)]
    batch, asked = await read(locked, answer=hire(), known={DEAL: "h1"})
    assert (batch.events, asked) == ([], [])


async def test_a_hire_whose_agreement_came_back_behind_ours_is_told_before_its_deal_is_agreed():
    logs = [
        payment(PROVIDER, TOKEN, *COLLATERAL, index=0),
        moved(AgreementState.DEAL_AGREED, index=1, tx="0x" + "bb" * 32),
        payment(REQUESTER, TOKEN, *LOCKED, index=2, tx="0x" + "bb" * 32),
    ]
    batch, asked = await read(*logs, answer=hire(), known={DEAL: "h1"}, orphaned=("h1",))
    told = [(job_id, type(event)) for job_id, event in batch.events]
    assert told == [("h1", ProposalMined), ("h1", HireSeen), ("h1", DealMoved)]
    assert (len(asked), batch.skipped) == (1, [])

import pytest
from eth_abi.abi import encode

from node.chain import events as chain_events
from node.chain.client import Block, RawLog
from node.chain.logs import LogBatch
from node.errors import Retryable, Unreachable
from node.job.deal import AgreementState, PaymentDirection, PaymentReason
from node.job.events import DealMoved, Declined, MediatorDrawn, OfferSeen, ProposalMined
from node.job.sifting import Left, Refused, Sifted
from node.journal.records import CursorRow
from node.market.feed import MarketFeed, OfferPolicy
from node.market.own_deals import OwnDeals
from tests.fakes.jobs import JOB_MANAGER, MEDIATOR, POSTED_AT, PROVIDER, REQUESTER, TOKEN, make_deal

MODULE = "sdv-pipeline:v1.1-lilypad2"
DEAL = make_deal().deal_id
HASHES = {number: f"0x{number:064x}" for number in range(20)}
TX = "0x" + "aa" * 32


def block(number, timestamp):
    return Block(number, HASHES[number], timestamp)


def log(topic, data, *, number=5, index=0, tx=TX):
    return RawLog(JOB_MANAGER, (topic,), data, number, HASHES[number], tx, index)


def offer(number=1, module=MODULE, inputs=("Prompt=a red fox",), **where):
    types = ["uint256", "address", "address", "string", "string[]"]
    data = encode(types, [number, REQUESTER, REQUESTER, module, list(inputs)])
    return log(chain_events.JOB_ADDED, data, **where)


def moved(state, deal_id=DEAL, **where):
    return log(chain_events.DEAL_STATE_CHANGE, encode(["string", "uint8"], [deal_id, state]), **where)


def payment(payee, amount, reason, direction, deal_id=DEAL, **where):
    types = ["string", "address", "uint256", "uint8", "uint8"]
    return log(chain_events.PAYMENT, encode(types, [deal_id, payee, amount, reason, direction]), **where)


class Chain:
    """Hands out one batch and the headers of its blocks."""

    def __init__(self, logs, last_at=POSTED_AT, head_at=POSTED_AT + 10, headers=None, caught_up=False):
        self.batch = LogBatch(tuple(logs), block(9, last_at), block(10, head_at), caught_up)
        self.headers = {5: POSTED_AT} if headers is None else headers

    async def next(self):
        batch, self.batch, self.handed = self.batch, None, self.batch
        return batch

    def again(self):
        self.batch = self.handed

    async def block(self, number):
        return block(number, self.headers[number]) if number in self.headers else None


class Gate:
    """Lets every offer in, unless told what to say."""

    def __init__(self, *answers):
        self.answers = list(answers)

    async def sift(self, offers):
        answer = self.answers.pop(0) if self.answers else Sifted()
        if isinstance(answer, Exception):
            raise answer
        return answer


def make_feed(source, gate, known=DEAL):
    return MarketFeed(
        source,
        source,
        provider=PROVIDER,
        policy=OfferPolicy(frozenset({MODULE}), 600),
        gate=gate,
        own_deals=OwnDeals({known: "j1"}.get, lambda _: None, None),
    )


async def read(*logs, known=DEAL, gate=None, **chain):
    return await make_feed(Chain(logs, **chain), gate or Gate(), known).next()


async def test_an_offer_becomes_a_job_with_the_time_of_its_block():
    batch = await read(offer(7))
    ((job_id, event),) = batch.events
    assert job_id == "j7"
    assert isinstance(event, OfferSeen)
    assert (event.offer.requester, event.offer.posted_at) == (REQUESTER, POSTED_AT)
    assert event.offer.spec.prompt == "a red fox"


@pytest.mark.parametrize(
    ("hostile", "told"),
    [
        (offer(2, inputs=("Steps=4",)), "Steps"),
        (offer(2, inputs=("Steps=5", "Steps=5")), "Steps"),
        (offer(2, module="cowsay:v0.0.1"), "cowsay"),
        (offer(2, module="sdv-pipeline:v1.0-lilypad2"), "not offered"),
        (offer(2**200), "larger than 63 bits"),
        (offer(2, inputs=("Prompt=\x1b[2J",)), "not readable"),
    ],
)
async def test_an_offer_not_worth_a_job_is_skipped_with_its_reason_and_the_cursor_moves_on(hostile, told):
    batch = await read(hostile, offer(3))
    assert [job_id for job_id, _ in batch.events] == ["j3"]
    (skipped,) = batch.skipped
    assert told in skipped.reason
    assert batch.cursor.block_number == 9


async def test_an_offer_that_the_gate_leaves_is_skipped_and_a_job_that_makes_room_is_declined():
    sifted = Sifted({0: Left(Refused.FORGED, "somebody else's")}, {"j1": "made room"})
    batch = await read(offer(2, index=4), offer(3), gate=Gate(sifted))
    assert [(job_id, type(event)) for job_id, event in batch.events] == [("j1", Declined), ("j3", OfferSeen)]
    (skipped,) = batch.skipped
    assert (skipped.job_number, skipped.log_index, skipped.kind) == (2, 4, Refused.FORGED)


async def test_a_range_that_could_not_be_understood_to_its_end_is_read_again():
    feed = make_feed(Chain([offer(7)]), Gate(Unreachable("no answer")))
    with pytest.raises(Unreachable):
        await feed.next()
    assert [job_id for job_id, _ in (await feed.next()).events] == ["j7"]
    assert await feed.next() is None


async def test_a_stale_offer_is_skipped_without_being_read():
    batch = await read(offer(2, inputs=("nonsense",)), last_at=POSTED_AT, head_at=POSTED_AT + 601, headers={})
    assert "posted 601 s ago" in batch.skipped[0].reason


async def test_the_payment_of_a_settled_deal_is_told_with_it_and_written_to_the_ledger():
    paid = (PaymentReason.JOB_PAYMENT, PaymentDirection.PAID_OUT)
    back = (PaymentReason.RESULTS_COLLATERAL, PaymentDirection.REFUNDED)
    batch = await read(
        moved(AgreementState.RESULTS_ACCEPTED, index=1),
        payment(PROVIDER, TOKEN, *paid, index=2),
        payment(PROVIDER, 5, *back, index=3),
        payment(PROVIDER, 99, *paid, index=4, tx="0x" + "bb" * 32),
    )
    (moving,) = [event for _, event in batch.events if isinstance(event, DealMoved)]
    assert (moving.state, moving.paid_wei, moving.at) == (AgreementState.RESULTS_ACCEPTED, TOKEN, POSTED_AT)
    assert [row.amount_wei for row in batch.payments] == [TOKEN, 5, 99]


async def test_a_payment_to_somebody_else_is_not_ours():
    paid = (PaymentReason.JOB_PAYMENT, PaymentDirection.PAID_OUT)
    batch = await read(moved(AgreementState.RESULTS_ACCEPTED), payment(MEDIATOR, TOKEN, *paid))
    assert batch.events[0][1].paid_wei == 0


async def test_our_locked_collateral_means_that_the_proposal_stands():
    locked = (PaymentReason.TIMEOUT_COLLATERAL, PaymentDirection.PAID_IN)
    batch = await read(payment(PROVIDER, TOKEN, *locked), payment(REQUESTER, TOKEN, *locked))
    assert [event for _, event in batch.events] == [ProposalMined(POSTED_AT, 5)]


async def test_deals_of_others_are_left_alone():
    batch = await read(
        moved(AgreementState.DEAL_AGREED, deal_id="j1-somebody"),
        payment(PROVIDER, 1, PaymentReason.JOB_PAYMENT, PaymentDirection.PAID_OUT, deal_id="j1-somebody"),
    )
    assert batch.empty


async def test_a_drawn_mediator_starts_its_clock_at_the_block():
    data = encode(["string", "address"], [DEAL, MEDIATOR])
    batch = await read(log(chain_events.MEDIATION_REQUESTED, data))
    assert batch.events == [("j1", MediatorDrawn(MEDIATOR, POSTED_AT, 5))]


async def test_a_log_whose_block_the_endpoint_lacks_is_asked_for_again():
    with pytest.raises(Retryable, match="behind its own logs"):
        await read(offer(1), headers={})


@pytest.mark.parametrize(("caught_up", "time"), [(True, POSTED_AT + 10), (False, POSTED_AT)])
async def test_deadlines_are_judged_by_the_newest_block_once_all_logs_are_read(caught_up, time):
    assert (await read(caught_up=caught_up)).chain_time == time


async def test_an_offer_that_moved_to_another_block_is_told_before_its_deal_whatever_the_gate_says():
    source = Chain(
        [offer(1), moved(AgreementState.DEAL_AGREED, index=1)],
        last_at=POSTED_AT + 601,
        head_at=POSTED_AT + 601,
    )
    feed = MarketFeed(
        source,
        source,
        provider=PROVIDER,
        policy=OfferPolicy(frozenset({MODULE}), 600),
        gate=Gate(Sifted(left={0: Left(Refused.INSOLVENT, "its money is in escrow")})),
        own_deals=OwnDeals({DEAL: "j1"}.get, lambda _: None, None),
        orphaned=lambda job_id: job_id == "j1",
    )
    assert [type(event) for _, event in (await feed.next()).events] == [OfferSeen, DealMoved]


async def test_a_batch_names_the_blocks_that_its_events_and_payments_were_read_in():
    reason, direction = PaymentReason.TIMEOUT_COLLATERAL, PaymentDirection.PAID_IN
    batch = await read(
        payment(PROVIDER, TOKEN, reason, direction, number=5),
        payment(REQUESTER, TOKEN, reason, direction, "another deal", number=6),
        moved(AgreementState.RESULTS_ACCEPTED, number=7),
        headers=dict.fromkeys((5, 6, 7), POSTED_AT),
    )
    assert batch.rests_on == (CursorRow(5, HASHES[5], 10), CursorRow(7, HASHES[7], 10))

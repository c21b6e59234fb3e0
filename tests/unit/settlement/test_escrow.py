"""A requester that takes its escrow out gets nothing: not the rendering, not the CID, not the result."""

import asyncio

import pytest

from node.errors import NotYet, Unreachable
from node.job.effects import Effect, EffectKind
from node.job.events import EscrowDrained, Published
from node.job.phase import Phase
from node.job.transactions import TxAttempt, TxRow, TxStatus
from node.settlement.escrow import EscrowWatch, owed_wei
from tests.fakes.clock import FakeClock
from tests.fakes.deals import Deals
from tests.fakes.jobs import MEDIATOR, REQUESTER, TOKEN, make_deal, make_job

RENDER = Effect("j1", EffectKind.RENDER)
SUBMIT = Effect("j1", EffectKind.SUBMIT_RESULT)
OWED = 2 * TOKEN
"""Payment collateral and timeout collateral of one deal."""


class Pool(Deals):
    """The escrow of every account, and what is published: a test drains it whenever it likes."""

    def __init__(self, held=OWED):
        super().__init__()
        self.held = held
        self.looks = 0
        self.failing = False
        self.signed = False
        self.reverted: frozenset[str] = frozenset()
        self.unsent: frozenset[str] = frozenset()
        self.kept = True

    async def pooled_escrow(self, address, at=None):
        self.looks += 1
        if self.failing:
            raise Unreachable("the endpoint is down")
        return self.held

    async def row(self, intent_id):
        if not self.signed or intent_id in self.unsent:
            return None
        attempt = TxAttempt("0x" + "aa" * 32, b"", 1, 1)
        status = TxStatus.REVERTED if intent_id in self.reverted else TxStatus.OPEN
        return TxRow(intent_id, "addResult", REQUESTER, b"", 0, 7, status, (attempt,))

    async def unpin(self, job_id):
        self.kept = False
        return True

    async def collect_garbage(self):
        assert not self.kept


def watch(pool, *jobs, clock=None):
    return EscrowWatch(
        pool,
        pool,
        open_jobs=lambda: list(jobs),
        intents=pool,
        shelf=pool,
        clock=clock or FakeClock(),
        every_s=15.0,
    )


class Work:
    """An order that a test finishes."""

    def __init__(self):
        self.begun = 0
        self.cancelled = False
        self.finish = asyncio.Event()

    async def carry_out(self, job, effect):
        self.begun += 1
        try:
            await self.finish.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return Published("bafyresult")


async def test_what_is_owed_is_summed_over_the_open_deals_of_one_requester():
    jobs = [
        make_job(Phase.RENDERING, 1),
        make_job(Phase.SUBMITTED, 2),
        make_job(Phase.DISPUTED, 3, draws=1),
        make_job(Phase.PROPOSED, 4),
        make_job(Phase.FAILING, 5),
        make_job(Phase.PAID, 6),
        make_job(Phase.AGREED, 7, deal=make_deal(7, requester=MEDIATOR)),
    ]
    assert owed_wei(jobs, REQUESTER) == 3 * OWED
    assert owed_wei(jobs, MEDIATOR) == OWED


async def test_nothing_is_begun_for_a_requester_whose_escrow_is_gone():
    work = Work()
    for guard in (watch(Pool(OWED - 1)).throughout, watch(Pool(OWED - 1)).before):
        event = await guard(work.carry_out)(make_job(Phase.AGREED), RENDER)
        assert isinstance(event, EscrowDrained)
        assert f"{OWED - 1} wei are left of {OWED}" in event.reason
    assert work.begun == 0


async def test_the_escrow_has_to_cover_every_open_deal_of_the_requester():
    other = make_job(Phase.SUBMITTED, 2)
    event = await watch(Pool(2 * OWED - 1), other).before(Work().carry_out)(make_job(Phase.AGREED), SUBMIT)
    assert isinstance(event, EscrowDrained)


async def test_a_job_under_way_is_stopped_when_the_escrow_goes():
    pool, work = Pool(), Work()

    class DrainingClock(FakeClock):
        async def sleep(self, seconds):
            await super().sleep(seconds)
            if len(self.slept) == 3:
                pool.held = 0

    event = await watch(pool, clock=DrainingClock()).throughout(work.carry_out)(
        make_job(Phase.AGREED), RENDER
    )
    assert isinstance(event, EscrowDrained)
    assert work.cancelled


async def test_an_endpoint_that_cannot_be_asked_stops_no_job_under_way():
    pool, work = Pool(), Work()

    class FailingClock(FakeClock):
        async def sleep(self, seconds):
            await super().sleep(seconds)
            pool.failing = True
            if len(self.slept) == 3:
                work.finish.set()

    event = await watch(pool, clock=FailingClock()).throughout(work.carry_out)(make_job(Phase.AGREED), RENDER)
    assert event == Published("bafyresult")
    assert pool.looks > 1


async def test_an_error_of_the_work_is_the_errors_of_the_whole():
    async def fail(job, effect):
        raise Unreachable("the store is down")

    with pytest.raises(Unreachable, match="store"):
        await watch(Pool()).throughout(fail)(make_job(Phase.AGREED), RENDER)


async def test_a_published_result_is_withheld_when_the_escrow_is_gone_before_its_submission():
    pool = Pool(0)
    event = await watch(pool).before(Work().carry_out)(make_job(Phase.SUBMITTING, cid="bafyresult"), SUBMIT)
    assert isinstance(event, EscrowDrained)
    assert not pool.kept


async def test_a_submission_that_is_signed_already_goes_on():
    pool, work = Pool(0), Work()
    pool.signed = True
    work.finish.set()
    event = await watch(pool).before(work.carry_out)(make_job(Phase.SUBMITTING, cid="bafyresult"), SUBMIT)
    assert event == Published("bafyresult")


async def test_after_a_reverted_submission_the_next_one_is_guarded_until_it_is_signed():
    pool, job = Pool(0), make_job(Phase.SUBMITTING, cid="bafyresult")
    pool.signed, pool.reverted = True, frozenset({SUBMIT.effect_id})
    work = Work()
    work.finish.set()
    assert await watch(pool).before(work.carry_out)(job, SUBMIT) == Published("bafyresult")
    pool.unsent = frozenset({f"{SUBMIT.effect_id}:2"})
    assert isinstance(await watch(pool).before(Work().carry_out)(job, SUBMIT), EscrowDrained)


async def test_an_endpoint_behind_the_agreement_is_not_believed():
    pool = Pool(0)
    with pytest.raises(NotYet, match="has not seen the block"):
        await watch(pool).before(Work().carry_out)(make_job(Phase.AGREED, chain_block=11), RENDER)

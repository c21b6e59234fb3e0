import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from node.engine.book import Book
from node.engine.engine import Engine, Facts
from node.errors import IllegalTransition, JobFailed, Retryable
from node.job.deal import Agreement, AgreementState
from node.job.effects import EffectKind
from node.job.events import (
    Admitted,
    BlocksDropped,
    DealMoved,
    OfferSeen,
    ProposalMined,
    ProposalRefused,
    Published,
    Rendered,
    RenderStarted,
    SubmissionRefused,
)
from node.job.phase import Phase
from node.journal.database import Database
from node.journal.journal import Journal
from node.journal.records import CursorRow
from tests.fakes.clock import FakeClock
from tests.fakes.jobs import POSTED_AT, TOKEN, make_deal, make_offer

TX = "0x" + "99" * 32


class Watcher:
    def __init__(self):
        self.phases = []
        self.skips = []
        self.waits = []
        self.changed = asyncio.Event()

    def job_changed(self, job, event):
        self.phases.append(job.phase)
        self.changed.set()

    def job_waits(self, job_id, reason):
        self.waits.append((job_id, reason))

    def log_skipped(self, skipped):
        self.skips.append(skipped)

    async def until(self, phase):
        while phase not in self.phases:
            self.changed.clear()
            changed = asyncio.create_task(self.changed.wait())
            await asyncio.wait({changed, self.engine_task}, return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
            if self.engine_task.done():
                self.engine_task.result()


class Node:
    """An engine on a real journal with handlers that a test can set."""

    def __init__(self, directory):
        self.database = Database(directory)
        self.clock = FakeClock()
        self.journal = Journal(self.database, self.clock)
        self.book = Book()
        self.watcher = Watcher()
        self.calls = []
        self.handlers = dict.fromkeys(EffectKind, self.wait_for_the_chain)
        self.engine = Engine(
            self.journal, self.handlers, book=self.book, observer=self.watcher, clock=self.clock
        )

    async def wait_for_the_chain(self, job, effect):
        self.calls.append(effect.effect_id)
        return

    def on(self, kind, *answers):
        script = iter(answers)

        async def handler(job, effect):
            self.calls.append(effect.effect_id)
            answer = next(script)
            if isinstance(answer, Exception):
                raise answer
            return answer

        self.handlers[kind] = handler

    async def post(self, *events):
        await self.engine.post(Facts(events=tuple(("j1", event) for event in events)))


@asynccontextmanager
async def running(directory, prepare=lambda node: None):
    node = Node(directory)
    prepare(node)
    await node.engine.recover()
    task = node.watcher.engine_task = asyncio.create_task(node.engine.run())
    try:
        yield node
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        node.database.close()


OFFER = OfferSeen(make_offer())
ADMITTED = Admitted(make_deal(), POSTED_AT + 600)
AGREED = DealMoved(AgreementState.DEAL_AGREED, POSTED_AT + 4, TX)
SUBMITTED = DealMoved(AgreementState.RESULTS_SUBMITTED, POSTED_AT + 60, TX)
ACCEPTED = DealMoved(AgreementState.RESULTS_ACCEPTED, POSTED_AT + 70, TX, TOKEN)


async def test_a_job_runs_from_offer_to_paid(tmp_path):
    async with running(tmp_path) as node:
        node.on(EffectKind.EVALUATE, ADMITTED)
        node.on(EffectKind.RENDER, Rendered(("outputs/a",), "class"))
        node.on(EffectKind.PUBLISH, Published("bafy"))
        await node.post(OFFER)
        await node.watcher.until(Phase.PROPOSING)
        await node.post(ProposalMined(POSTED_AT + 2), AGREED, RenderStarted())
        await node.watcher.until(Phase.SUBMITTING)
        await node.post(SUBMITTED, ACCEPTED)
        assert node.book.get("j1").phase is Phase.PAID
        assert await node.journal.replayed("j1") == node.book.get("j1")
        assert node.calls == [
            "j1:evaluate:1",
            "j1:propose:1",
            "j1:render:1",
            "j1:publish:1",
            "j1:submit_result:1",
        ]


async def test_an_order_not_carried_out_before_a_stop_is_carried_out_after_the_start(tmp_path):
    async def never(job, effect):
        await asyncio.Event().wait()

    def hang(node):
        node.handlers[EffectKind.EVALUATE] = never

    async with running(tmp_path, hang) as node:
        await node.post(OFFER)
    async with running(tmp_path, lambda node: node.on(EffectKind.EVALUATE, ADMITTED)) as node:
        await node.watcher.until(Phase.PROPOSING)
        assert "j1:evaluate:1" in node.calls


async def test_an_order_carried_out_before_a_stop_is_not_repeated(tmp_path):
    async with running(tmp_path, lambda node: node.on(EffectKind.EVALUATE, ADMITTED)) as node:
        await node.post(OFFER)
        await node.watcher.until(Phase.PROPOSING)
        while "j1:propose:1" not in node.calls:
            await asyncio.sleep(0)
        await node.post()
    async with running(tmp_path) as node:
        await node.post()
        assert node.calls == []


async def test_a_handler_that_must_wait_is_asked_again_with_growing_pauses(tmp_path):
    async with running(tmp_path) as node:
        node.on(EffectKind.EVALUATE, Retryable("not yet"), Retryable("not yet"), ADMITTED)
        await node.post(OFFER)
        await node.watcher.until(Phase.PROPOSING)
        assert node.calls.count("j1:evaluate:1") == 3
        assert node.watcher.waits == [("j1", "not yet")] * 2
        assert node.clock.slept[0] < node.clock.slept[1] + 0.5


async def test_a_job_that_fails_ends_alone(tmp_path):
    async with running(tmp_path) as node:
        node.on(EffectKind.EVALUATE, ADMITTED)
        node.on(EffectKind.RENDER, JobFailed("out of memory"))
        await node.post(OFFER)
        await node.watcher.until(Phase.PROPOSING)
        await node.post(AGREED)
        await node.watcher.until(Phase.FAILING)
        assert node.book.get("j1").reason == "out of memory"


async def test_an_offer_seen_twice_is_one_job(tmp_path):
    async with running(tmp_path) as node:
        await node.post(OFFER)
        await node.post(OFFER)
        assert node.book.counts() == {"SEEN": 1}


async def test_the_cursor_moves_with_the_events_of_its_range(tmp_path):
    cursor = CursorRow(44, "0x" + "cd" * 32)
    async with running(tmp_path) as node:
        await node.engine.post(Facts(events=(("j1", OFFER),), cursor=cursor))
        assert (await node.journal.recover()).cursor == cursor


async def test_an_impossible_event_stops_the_node(tmp_path):
    node = Node(tmp_path)
    await node.engine.recover()
    task = asyncio.create_task(node.engine.run())
    await node.post(OFFER)
    posting = asyncio.create_task(node.post(Published("bafy")))
    with pytest.raises(ExceptionGroup) as stopped:
        await task
    assert stopped.group_contains(IllegalTransition)
    posting.cancel()
    node.database.close()


async def test_a_proposal_whose_window_passed_by_chain_time_is_withdrawn(tmp_path):
    async with running(tmp_path) as node:
        node.on(EffectKind.EVALUATE, ADMITTED)
        await node.post(OFFER)
        await node.watcher.until(Phase.PROPOSING)
        await node.post(ProposalMined(POSTED_AT + 2))
        await node.engine.chain_time_reached(POSTED_AT + 603)
        assert node.book.get("j1").phase is Phase.WITHDRAWING


async def test_orders_of_a_job_that_has_ended_are_not_carried_out(tmp_path):
    async with running(tmp_path) as node:
        node.on(EffectKind.EVALUATE, ADMITTED)
        await node.post(OFFER)
        await node.watcher.until(Phase.PROPOSING)
        lost = DealMoved(AgreementState.TIMEOUT_SUBMIT_RESULTS, POSTED_AT + 9, TX)
        await node.post(ProposalMined(POSTED_AT + 2), AGREED, lost)
        await node.watcher.until(Phase.FAILED)
        while (await node.journal.recover()).effects:
            await asyncio.sleep(0)
        assert "j1:render:1" not in node.calls


async def test_what_was_found_out_of_blocks_that_are_gone_is_asked_again(tmp_path):
    async with running(tmp_path) as node:
        asked = asyncio.Queue()

        async def submit(job, effect):
            await asked.put(job.rewinds)
            if job.rewinds == 0:
                dropped = BlocksDropped(4, Agreement(AgreementState.DEAL_AGREED, deal_agreed_at=POSTED_AT))
                await node.post(dropped)
                return SubmissionRefused("the contract reverted the result")
            return None

        node.handlers[EffectKind.SUBMIT_RESULT] = submit
        node.on(EffectKind.EVALUATE, ADMITTED)
        node.on(EffectKind.RENDER, Rendered(("outputs/a",), "class"))
        node.on(EffectKind.PUBLISH, Published("bafy"))
        await node.post(OFFER)
        await node.watcher.until(Phase.PROPOSING)
        await node.post(ProposalMined(POSTED_AT + 2), replace(AGREED, block_number=20), RenderStarted())
        assert await asked.get() == 0
        while await asked.get() == 0:
            pass
        assert node.book.get("j1").phase is Phase.SUBMITTING


async def test_an_order_of_a_life_that_a_reorganisation_ended_is_not_carried_out_for_the_next_one(tmp_path):
    async with running(tmp_path) as node:
        tried, began_anew = asyncio.Event(), asyncio.Event()

        async def submit(job, effect):
            assert job.cid is not None
            tried.set()
            await began_anew.wait()
            raise Retryable("the deal is gone for now")

        node.handlers[EffectKind.SUBMIT_RESULT] = submit
        node.on(EffectKind.EVALUATE, ADMITTED, ADMITTED)
        node.on(EffectKind.RENDER, Rendered(("outputs/a",), "class"))
        node.on(EffectKind.PUBLISH, Published("bafy"))
        await node.post(OFFER)
        await node.watcher.until(Phase.PROPOSING)
        await node.post(ProposalMined(POSTED_AT + 2), replace(AGREED, block_number=20), RenderStarted())
        await tried.wait()
        gone = BlocksDropped(4, Agreement(AgreementState.DEAL_NEGOTIATING))
        await node.post(gone, ProposalRefused("reverted"))
        await node.post(OfferSeen(replace(OFFER.offer, block_number=30)))
        began_anew.set()
        while "j1:propose:2" not in node.calls or (await node.journal.recover()).effects:
            await node.clock.sleep(1)
            assert not node.watcher.engine_task.done()
        assert node.book.get("j1").cid is None


async def test_what_an_order_of_an_earlier_life_found_out_does_not_touch_the_next_one(tmp_path):
    async with running(tmp_path) as node:
        answer, asked = asyncio.Event(), asyncio.Event()

        async def propose(job, effect):
            asked.set()
            if effect.attempt == 1:
                await answer.wait()
                return ProposalRefused("the contract refused our agreement")
            return None

        node.handlers[EffectKind.PROPOSE] = propose
        node.on(EffectKind.EVALUATE, ADMITTED, ADMITTED)
        await node.post(OFFER)
        await asked.wait()
        gone = BlocksDropped(4, Agreement(AgreementState.DEAL_NEGOTIATING))
        await node.post(gone, ProposalRefused("reverted"))
        await node.post(OfferSeen(replace(OFFER.offer, block_number=30)))
        answer.set()
        while (await node.journal.recover()).effects:
            await node.clock.sleep(1)
        assert node.book.get("j1").phase is Phase.PROPOSING


async def test_what_was_found_out_while_an_offer_was_gone_is_asked_again_once_it_is_back(tmp_path):
    async with running(tmp_path) as node:
        asked = asyncio.Queue()

        async def propose(job, effect):
            await asked.put(job.orphaned)
            if job.orphaned:
                await node.post(OfferSeen(replace(OFFER.offer, block_number=30)))
                return ProposalRefused("the block that held the offer is gone")
            return None

        node.on(EffectKind.EVALUATE, ADMITTED)
        await node.post(OFFER)
        await node.watcher.until(Phase.PROPOSING)
        while (await node.journal.recover()).effects:
            await node.clock.sleep(1)
        node.handlers[EffectKind.PROPOSE] = propose
        await node.post(BlocksDropped(4, Agreement(AgreementState.DEAL_NEGOTIATING)))
        assert [await asked.get(), await asked.get()] == [True, False]
        assert node.book.get("j1").phase is Phase.PROPOSING

"""Results go to all places at once; what is missing goes on, also after a kill."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from node.errors import Retryable, Unreachable
from node.job.copies import CopyPolicy
from node.journal.copies import CopyLog
from node.publisher.blockstore import BlockStore
from node.publisher.cid import parse_cid
from node.publisher.errors import BadContent, CorruptBlock
from node.publisher.publish import Publisher
from node.publisher.targets.several import Place, Several
from node.publisher.targets.target import TargetBusy, TargetRefuses
from node.types import JobId

JOB = JobId("j1")


class Clock:
    """Every pause is over at once, and is noted."""

    def __init__(self):
        self.pauses = []

    def now(self):
        return 1000.0

    def monotonic(self):
        return 0.0

    async def sleep(self, seconds):
        self.pauses.append(seconds)
        await asyncio.sleep(0)


class Counts:
    def __init__(self):
        self.made = []

    def copy_made(self, outcome):
        self.made.append(outcome)


class Fake:
    """A target and reader that fails as told: one error for each call until there are no more."""

    def __init__(self, name, *, put=(), read=()):
        self.name = name
        self.put_errors, self.read_errors = [*put], [*read]
        self.puts, self.reads = 0, 0
        self.has = False

    async def put(self, job_id, root, store):
        self.puts += 1
        await self.fail(self.put_errors)
        self.has = True

    async def holds(self, root):
        return self.has

    async def read(self, root):
        self.reads += 1
        await self.fail(self.read_errors)
        return 1

    async def fail(self, errors):
        await asyncio.sleep(0)
        if errors:
            error = errors[0] if errors[0] is FOREVER else errors.pop(0)
            if error is FOREVER:
                await asyncio.Event().wait()
            raise error


FOREVER = object()


def place(fake, *, timeout_s=60.0, reads=True):
    return Place(fake.name, "kubo", fake, fake if reads else None, timeout_s)


def own(reader=None):
    return Place("node", "store", None, reader or Fake("node"), 60.0, kept=True)


@pytest.fixture
def store(tmp_path):
    return BlockStore(tmp_path / "store", floor_bytes=0)


@pytest.fixture
async def cid(tmp_path, store):
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "stdout").write_bytes(b"done")
    return await Publisher(store).publish(JOB, tmp_path / "result")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def opened(store, database, clock):
    @asynccontextmanager
    async def open_(*places, counts=None):
        several = Several(places, store, CopyLog(database, clock), counts or Counts(), clock)
        async with several.open():
            yield several

    return open_


def places_of(copies, what):
    return [copy.place for copy in copies if getattr(copy, what) is not None]


async def test_a_result_is_kept_here_and_read_back_where_nothing_else_is_set(opened, cid):
    async with opened(own()) as several:
        copies = await several.spread(JOB, cid, CopyPolicy().is_met, within_s=10)
    assert places_of(copies, "stored_at") == places_of(copies, "read_at") == ["node"]


async def test_all_targets_are_given_the_result_at_once(opened, cid):
    fakes = [Fake("a"), Fake("b"), Fake("c")]
    counts = Counts()
    async with opened(own(), *map(place, fakes), counts=counts) as several:
        copies = await several.spread(JOB, cid, CopyPolicy(copies=4, reads=2).is_met, within_s=10)
    assert sorted(places_of(copies, "read_at")) == ["a", "b", "c", "node"]
    assert counts.made.count("stored") == 3
    assert counts.made.count("read") == 4


async def test_enough_is_enough_and_the_rest_goes_on_in_the_background(opened, cid, database, clock):
    slow = Fake("slow", put=[Unreachable("down")] * 5)
    async with opened(own(), place(Fake("quick")), place(slow)) as several:
        copies = await several.spread(JOB, cid, CopyPolicy(copies=2, reads=2).is_met, within_s=10)
        assert places_of(copies, "stored_at") == ["node", "quick"]
        async with asyncio.timeout(60):
            while not slow.reads:
                await asyncio.sleep(0)
    assert places_of(await CopyLog(database, clock).of_job(JOB), "stored_at") == ["node", "quick", "slow"]


async def test_time_that_is_up_returns_what_there_is(opened, cid):
    async with opened(own(), place(Fake("dead", put=[FOREVER]))) as several:
        copies = await several.spread(JOB, cid, CopyPolicy(copies=2).is_met, within_s=0.05)
    assert CopyPolicy(copies=2).is_bearable(copies)
    assert not CopyPolicy(copies=2).is_met(copies)


async def test_one_attempt_takes_no_longer_than_its_time(opened, cid):
    hangs = Fake("hangs", put=[FOREVER])
    async with opened(own(), place(hangs, timeout_s=0.05)) as several:
        await several.spread(JOB, cid, lambda copies: copies[1].problem is not None, within_s=10)
        assert several.status()[1]["problem"] == "no end after 0.05 s"
        assert several.status()[1]["waiting"] == 1


async def test_after_a_kill_what_was_reached_counts_and_the_rest_goes_on(opened, cid):
    done, broken = Fake("done"), Fake("broken", read=[BadContent("lies")] * 3 + [FOREVER])
    async with opened(own(), place(done), place(broken)) as several:
        await several.spread(JOB, cid, CopyPolicy(copies=2).is_met, within_s=10)
        async with asyncio.timeout(60):
            while broken.reads < 3:
                await asyncio.sleep(0)
    broken.read_errors.clear()
    nobody = Fake("node")
    async with opened(own(nobody), place(done), place(broken)) as several:
        async with asyncio.timeout(60):
            while not broken.has or broken.read_errors or several.status()[2]["waiting"]:
                await asyncio.sleep(0.01)
        copies = await several.spread(JOB, cid, CopyPolicy(copies=3).is_met, within_s=10)
    assert sorted(places_of(copies, "read_at")) == ["broken", "done", "node"]
    assert (done.puts, broken.puts, nobody.reads) == (1, 1, 0)


async def test_what_a_target_has_lost_is_given_to_it_again(opened, cid):
    forgetful = Fake("forgetful", read=[Unreachable("not found")])

    async def losing(root):
        forgetful.reads += 1
        if forgetful.reads == 1:
            forgetful.has = False
            raise Unreachable("not found")
        return 1

    forgetful.read = losing
    async with opened(own(), place(forgetful)) as several:
        await several.spread(JOB, cid, CopyPolicy(copies=2).is_met, within_s=10)
    assert forgetful.puts == 2


async def test_pauses_grow_and_are_as_long_as_a_target_asks_for(opened, cid, clock):
    errors = [Unreachable("down"), Unreachable("down"), TargetBusy("wait", 90.0), TargetRefuses("no")]
    async with opened(own(), place(Fake("a", put=errors))) as several:
        await several.spread(JOB, cid, CopyPolicy(copies=2).is_met, within_s=10)
    assert clock.pauses == [1.0, 2.0, 90.0, 60.0]


async def test_an_answer_that_breaks_the_code_stops_that_place_only_and_for_a_while(opened, cid, clock):
    counts = Counts()
    odd = Fake("odd", put=[ValueError("Bearer t0ken")])
    async with opened(own(), place(odd), counts=counts) as several:
        copies = await several.spread(JOB, cid, lambda copies: copies[1].problem is not None, within_s=10)
        assert copies[1].problem == "its answer could not be handled (ValueError): see the node's log"
        copies = await several.spread(JOB, cid, CopyPolicy(copies=2).is_met, within_s=10)
    assert places_of(copies, "stored_at") == ["node", "odd"]
    assert clock.pauses == [60.0]
    assert counts.made.count("refused") == 1


async def test_a_result_that_is_not_kept_here_any_more_is_given_up(opened, cid, store, database, clock):
    lasting = Fake("a", put=[Unreachable("down")] * 1000)
    async with opened(own(), place(lasting)) as several:
        await several.spread(JOB, cid, CopyPolicy().is_met, within_s=10)
        with store.exclusive():
            store.discard(parse_cid(cid).digest)
        async with asyncio.timeout(60):
            while several.status()[1]["waiting"]:
                await asyncio.sleep(0.01)
    assert places_of(await CopyLog(database, clock).of_job(JOB), "stored_at") == ["node"]


async def test_a_store_that_is_not_mounted_forgets_nothing(opened, cid, store, database, clock):
    lasting = Fake("a", put=[Unreachable("down")] * 1000)
    async with opened(own(), place(lasting)) as several:
        await several.spread(JOB, cid, CopyPolicy().is_met, within_s=10)
        store.root.rename(store.root.parent / "unmounted")
        store.root.mkdir()
        async with asyncio.timeout(60):
            while "mount its disk again" not in str(several.status()[1]["problem"]):
                await asyncio.sleep(0.01)
    assert [copy.place for copy in await CopyLog(database, clock).of_job(JOB)] == ["node", "a"]


async def test_a_damaged_block_forgets_nothing_while_the_result_is_kept(opened, cid, database, clock):
    """It is mended by publishing again; until then the places are tried again."""
    unlucky = Fake("a", put=[CorruptBlock("damaged", b"inner")] * 3 + [FOREVER])
    async with opened(own(), place(unlucky)) as several:
        await several.spread(JOB, cid, CopyPolicy().is_met, within_s=10)
        async with asyncio.timeout(60):
            while unlucky.puts < 4:
                await asyncio.sleep(0.01)
        assert [copy.problem for copy in await CopyLog(database, clock).of_job(JOB)] == [None, "damaged"]


async def test_what_ends_while_a_result_is_spread_again_does_not_break_it(store, database, clock, cid):
    """The last copy that was missing is made at the moment in which the journal is asked."""
    late = Fake("late", put=[Unreachable("down")] * 3 + [FOREVER])
    log = CopyLog(database, clock)
    several = Several([own(), place(late)], store, log, Counts(), clock)
    async with several.open():
        await several.spread(JOB, cid, CopyPolicy().is_met, within_s=10)
        plain_put = log.put

        async def put_and_let_the_rest_end(job_id, cid, copy):
            await plain_put(job_id, cid, copy)
            for task in [*several._running.values()]:
                task.cancel()
            async with asyncio.timeout(60):
                while several._running:
                    await asyncio.sleep(0)

        forgotten = [replace(copy, stored_at=None) for copy in await log.of_job(JOB)]
        await plain_put(JOB, cid, next(copy for copy in forgotten if copy.place == "node"))
        log.put = put_and_let_the_rest_end
        copies = await several.spread(JOB, cid, CopyPolicy().is_met, within_s=10)
    assert places_of(copies, "stored_at") == ["node"]


async def test_a_result_that_comes_while_the_node_ends_is_tried_again_after_the_next_start(opened, cid):
    async with opened(own()) as several:
        pass
    with pytest.raises(Retryable, match="the node begins or ends"):
        await several.spread(JOB, cid, CopyPolicy().is_met, within_s=10)


async def test_old_copies_that_take_long_do_not_hold_up_a_new_result_at_the_same_place(
    opened, cid, database, clock
):
    """Also one whose copy waited behind them already when its job began to wait for it."""
    for number in range(6):
        await CopyLog(database, clock).want(JobId(f"old{number}"), cid, ["pins"])
    pins = Fake("pins", put=[FOREVER])
    async with opened(own(), place(pins)) as several:
        async with asyncio.timeout(60):
            while pins.puts < 4:
                await asyncio.sleep(0.01)
        pins.put_errors.clear()
        for job in ("old5", "new"):
            copies = await several.spread(JobId(job), cid, CopyPolicy(copies=2).is_met, within_s=5)
            assert sorted(places_of(copies, "read_at")) == ["node", "pins"]


@pytest.mark.parametrize(
    ("error", "last_chance"), [(Unreachable("down"), False), (TargetBusy("later", 3600.0), True)]
)
async def test_a_place_that_has_recovered_is_tried_at_once_when_its_result_is_waited_for(
    opened, cid, clock, error, last_chance
):
    pausing = asyncio.Event()

    async def sleep(seconds):
        pausing.set()
        await asyncio.Event().wait()

    clock.sleep = sleep
    async with opened(own(), place(Fake("a", put=[error]))) as several:
        await several.spread(JOB, cid, CopyPolicy().is_met, within_s=10)
        await asyncio.wait_for(pausing.wait(), 60)
        if last_chance:
            copies = await several.spread(JOB, cid, CopyPolicy(copies=2).is_met, within_s=0.05)
            assert places_of(copies, "stored_at") == ["node"]
        copies = await several.spread(
            JOB, cid, CopyPolicy(copies=2).is_met, within_s=5, last_chance=last_chance
        )
        assert places_of(copies, "read_at") == ["node", "a"]


async def test_another_result_of_the_job_begins_anew(opened, cid, store, tmp_path):
    fake = Fake("a")
    async with opened(own(), place(fake)) as several:
        await several.spread(JOB, cid, CopyPolicy(copies=2).is_met, within_s=10)
        (tmp_path / "result" / "stdout").write_bytes(b"else")
        other = await Publisher(store).publish(JOB, tmp_path / "result")
        await several.spread(JOB, other, CopyPolicy(copies=2).is_met, within_s=10)
    assert fake.puts == 2


async def test_a_place_that_is_only_read_is_left_once_the_result_is_reported(opened, cid):
    gateway = Fake("https://gateway", read=[FOREVER])
    async with opened(own(), Place(gateway.name, "gateway", None, gateway, 60.0)) as several:
        await several.spread(JOB, cid, CopyPolicy().is_met, within_s=10)
        assert gateway.name in several.pursued(JOB)
        several.leave(JOB, cid)
        async with asyncio.timeout(60):
            while several.status()[1]["waiting"]:
                await asyncio.sleep(0.01)
        assert several.pursued(JOB) == set()


async def test_a_place_of_which_nothing_is_known_since_the_start_is_told_as_untried(opened, cid):
    async with opened(own(), place(Fake("kubo"))) as several:
        assert [one["tried"] for one in several.status()] == [False, False]
        await several.spread(JOB, cid, CopyPolicy(copies=2, reads=2).is_met, within_s=10)
        async with asyncio.timeout(60):
            while several.status()[1]["waiting"]:
                await asyncio.sleep(0)
        assert [one["tried"] for one in several.status()] == [True, True]

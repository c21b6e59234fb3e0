"""Cleaning a data directory: a real block store, real job folders and a real journal."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from node.admission.disk import JobSizes
from node.app.housekeeping import Housekeeper, clean_stopped
from node.app.money import NoJournal
from node.errors import NodeError
from node.job.effects import Effect, EffectKind
from node.job.events import OfferSeen, Published
from node.job.phase import Phase
from node.journal.database import Database
from node.journal.journal import Journal
from node.journal.records import Commit, CursorRow, Entry
from node.publisher.blockstore import BlockStore, block_file
from node.publisher.cid import parse_cid
from node.publisher.dag import Scope, walk
from node.publisher.errors import BlockMissing, StoreUnavailable
from node.publisher.publish import Publisher
from node.publisher.retention import survey
from node.types import BlockNumber, JobId
from tests.fakes.clock import FakeClock
from tests.fakes.jobs import make_config, make_job, make_offer

DAY = 86_400.0
MB = 10**6
FINALITY = 64


class House:
    """A data directory with jobs in it, and whoever cleans it."""

    def __init__(self, directory, **settings):
        self.directory = directory
        self.database = Database(directory)
        self.clock = FakeClock()
        self.journal = Journal(self.database, self.clock)
        self.store = BlockStore(directory / "ipfs", floor_bytes=0)
        self.publisher = Publisher(self.store)
        self.jobs_dir = directory / "jobs"
        self.status = {}
        self.keeper = Housekeeper(
            make_config(ipfs={"quota_gb": 0, "keep_days": 30} | settings).ipfs,
            store=self.store,
            jobs_dir=self.jobs_dir,
            journal=self.database,
            finality_blocks=FINALITY,
            sizes=JobSizes(1),
            clock=self.clock,
            update=lambda **parts: self.status.update(parts),
        )

    def render(self, number, size_bytes=MB):
        folder = self.jobs_dir / f"j{number}" / "result"
        (folder / "outputs").mkdir(parents=True)
        (folder / "outputs" / "still.png").write_bytes(os.urandom(size_bytes))
        return folder

    async def job(self, number, phase, *, size_bytes=MB, block=10, ordered=False, **changes):
        """Have a job rendered and published that stands in a phase."""
        cid = await self.publisher.publish(JobId(f"j{number}"), self.render(number, size_bytes))
        job = make_job(phase, number, cid=cid, chain_block=BlockNumber(block), **changes)
        effects = (Effect(job.job_id, EffectKind.CLAIM_JUDGE_TIMEOUT),) if ordered else ()
        await self.journal.commit(Commit(entries=(Entry(job, OfferSeen(make_offer(number)), effects),)))
        return cid

    def remove_folder(self, number):
        shutil.rmtree(self.jobs_dir / f"j{number}")

    async def read_up_to(self, block):
        await self.journal.commit(Commit(cursor=CursorRow(BlockNumber(block), "0x" + "ab" * 32)))

    def served(self, cid):
        return self.store.has(parse_cid(cid))

    @property
    def folders(self):
        return sorted(path.name for path in self.jobs_dir.iterdir())


@pytest.fixture
def make_house(tmp_path):
    houses = []

    def make(**settings):
        houses.append(House(tmp_path, **settings))
        return houses[-1]

    yield make
    for house in houses:
        house.database.close()


async def test_a_finished_job_goes_when_its_time_is_over_with_blocks_pin_and_folder(make_house):
    house = make_house()
    old = await house.job(1, Phase.PAID)
    house.clock.time += 20 * DAY
    young = await house.job(2, Phase.PAID)
    house.clock.time += 11 * DAY
    await house.read_up_to(10 + FINALITY)
    told = await house.keeper.clean()
    assert [one["job_id"] for one in told["let_go"]] == ["j1"]
    assert not house.served(old)
    assert house.served(young)
    assert "j1" not in await house.publisher.pins()
    assert house.folders == []
    assert house.status["storage"]["kept_jobs"] == 1


@pytest.mark.parametrize(
    "phase", [phase for phase in Phase if not phase.terminal], ids=lambda phase: phase.value
)
async def test_the_result_of_a_job_that_is_not_over_stays_however_old_and_large(make_house, phase):
    house = make_house(quota_gb=0.001)
    cid = await house.job(1, phase, size_bytes=2 * MB)
    await house.read_up_to(10**6)
    house.clock.time += 400 * DAY
    told = await house.keeper.clean()
    assert told["let_go"] == []
    assert house.served(cid)
    assert told["over_quota_bytes"] > 0
    assert "ipfs.quota_gb" in house.keeper.problem


async def test_an_ended_job_stays_until_its_end_is_final_and_nothing_is_ordered_for_it(make_house):
    house = make_house(quota_gb=0.001)
    final = await house.job(1, Phase.PAID)
    recent = await house.job(2, Phase.PAID, block=50)
    ordered = await house.job(3, Phase.FAILED, ordered=True)
    await house.read_up_to(10 + FINALITY)
    told = await house.keeper.clean()
    assert [one["job_id"] for one in told["let_go"]] == ["j1"]
    assert [house.served(cid) for cid in (final, recent, ordered)] == [False, True, True]


async def test_beyond_the_quota_the_oldest_results_go_and_room_for_two_more_jobs_is_left(make_house):
    house = make_house(quota_gb=0.01)
    for number in range(1, 6):
        await house.job(number, Phase.PAID)
        house.clock.time += DAY
    await house.read_up_to(10 + FINALITY)
    told = await house.keeper.clean()
    # A job takes two megabytes while it is worked on, so six of the ten are for finished ones.
    assert told["let_go"] == []
    for number in range(6, 10):
        await house.job(number, Phase.PAID)
        house.clock.time += DAY
    told = await house.keeper.clean()
    assert [one["job_id"] for one in told["let_go"]] == ["j1", "j2", "j3", "j4"]
    assert told["kept_bytes"] <= 6 * MB
    assert house.keeper.problem is None


async def test_a_published_result_is_not_kept_twice_once_it_is_delivered_for_good(make_house):
    house = make_house()
    delivered = await house.job(1, Phase.SUBMITTED)
    await house.job(2, Phase.SUBMITTED, block=50)
    await house.job(3, Phase.SUBMITTING)
    await house.read_up_to(10 + FINALITY)
    told = await house.keeper.clean()
    assert told["second_copies"] == ["j1"]
    assert told["freed_bytes"] >= MB
    assert house.folders == ["j2", "j3"]
    assert house.served(delivered)


def flip(path):
    """Damage a block such that its size stays."""
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))


DAMAGES = {
    "one missing": [Path.unlink],
    "one damaged": [flip],
    "one missing and one damaged": [Path.unlink, flip],
    "two damaged": [flip, flip],
}


def damage_leaves(house, damages):
    """Do this to the largest blocks, which are leaves of the picture."""
    leaves = sorted(house.store.stored(), key=lambda block: block[1], reverse=True)
    for (digest, _), damage in zip(leaves, damages, strict=False):
        damage(block_file(house.store.root, digest))


@pytest.mark.parametrize("damages", DAMAGES.values(), ids=DAMAGES)
async def test_the_second_copy_mends_the_leaves_of_the_published_one_before_it_goes(make_house, damages):
    house = make_house()
    cid = await house.job(1, Phase.SUBMITTED)
    damage_leaves(house, damages)
    await house.read_up_to(10 + FINALITY)
    told = await house.keeper.clean()
    assert (told["damaged"], told["second_copies"], house.folders) == ({}, ["j1"], [])
    assert [*walk(house.store, parse_cid(cid), Scope.ALL)]
    assert house.keeper.damage() is None


@pytest.mark.parametrize("damages", DAMAGES.values(), ids=DAMAGES)
async def test_a_damaged_leaf_that_cannot_be_mended_is_told_and_the_second_copy_stays(make_house, damages):
    house = make_house()
    cid = await house.job(1, Phase.SUBMITTED)
    damage_leaves(house, damages)
    (house.jobs_dir / "j1" / "result" / "more.txt").write_text("more")
    await house.read_up_to(10 + FINALITY)
    told = await house.keeper.clean()
    assert (list(told["damaged"]), told["second_copies"], house.folders) == (["j1"], [], ["j1"])
    assert list(house.status["storage"]["damaged"]) == ["j1"]
    assert "j1: " in house.keeper.damage()
    assert house.served(cid)


async def test_a_leaf_that_is_missing_is_mended_before_the_job_is_final(make_house):
    house = make_house()
    cid = await house.job(1, Phase.SUBMITTED, block=50)
    damage_leaves(house, [Path.unlink])
    assert "1 of " in (await house.keeper.clean(dry_run=True))["damaged"]["j1"]
    assert (await house.keeper.clean())["damaged"] == {}
    assert [*walk(house.store, parse_cid(cid), Scope.ALL)]


async def test_a_missing_leaf_is_told_and_does_not_hold_up_the_garbage(make_house):
    house = make_house()
    await house.job(1, Phase.SUBMITTED)
    damage_leaves(house, [Path.unlink])
    house.remove_folder(1)
    loose = await house.publisher.publish(JobId("other"), house.render(2))
    await house.publisher.unpin(JobId("other"))
    told = await house.keeper.clean()
    assert list(told["damaged"]) == ["j1"]
    assert told["freed_bytes"] >= MB
    assert not house.served(loose)


async def test_a_dry_run_tells_what_would_go_and_changes_nothing(make_house):
    house = make_house()
    cid = await house.job(1, Phase.PAID)
    await house.read_up_to(10 + FINALITY)
    house.clock.time += 31 * DAY
    would = await house.keeper.clean(dry_run=True)
    assert house.served(cid)
    assert house.folders == ["j1"]
    done = await house.keeper.clean()
    assert would.pop("dry_run")
    assert not done.pop("dry_run")
    for free in (would, done):
        del free["disk_free_bytes"]
    assert would == done
    assert done["freed_bytes"] >= 2 * MB


async def test_the_published_offer_stays_and_so_does_the_one_before_it(make_house):
    house = make_house(quota_gb=0.001)
    cids = [
        await house.publisher.publish_file("offer-document", text.encode() * MB) for text in ("1", "2", "3")
    ]
    await house.read_up_to(10**6)
    house.clock.time += 400 * DAY
    await house.keeper.clean()
    assert [house.served(cid) for cid in cids] == [False, True, True]


async def test_what_the_journal_does_not_know_stays(make_house):
    house = make_house(quota_gb=0.001)
    cid = await house.publisher.publish(JobId("j9"), house.render(9))
    house.clock.time += 400 * DAY
    assert (await house.keeper.clean())["let_go"] == []
    assert house.served(cid)
    assert house.folders == ["j9"]


async def test_half_a_folder_that_a_kill_left_is_removed_by_the_next_cleaning(make_house):
    house = make_house()
    house.render(1).parent.rename(house.jobs_dir / ".j1.removed")
    await house.keeper.clean()
    assert house.folders == []


async def test_no_block_goes_while_a_kept_result_is_damaged_and_the_status_names_it(make_house):
    house = make_house()
    cid = await house.job(1, Phase.SUBMITTED)
    house.remove_folder(1)
    block_file(house.store.root, parse_cid(cid).digest).unlink()
    assert "j1" in (await house.keeper.clean(dry_run=True))["damaged"]
    with pytest.raises(BlockMissing):
        await house.keeper.clean()
    assert "j1" in house.status["storage"]["damaged"]


async def test_a_damaged_result_is_mended_from_its_files_and_garbage_goes(make_house):
    house = make_house()
    cid = await house.job(1, Phase.SUBMITTED, block=50)
    loose = await house.publisher.publish(JobId("other"), house.render(2))
    await house.publisher.unpin(JobId("other"))
    block_file(house.store.root, parse_cid(cid).digest).write_bytes(b"damaged")
    assert (await house.keeper.clean())["damaged"] == {}
    assert house.store.get(parse_cid(cid))
    assert not house.served(loose)


async def test_other_files_in_a_damaged_jobs_folder_do_not_take_the_place_of_its_result(make_house):
    house = make_house()
    cid = await house.job(1, Phase.SUBMITTED, block=50)
    block_file(house.store.root, parse_cid(cid).digest).unlink()
    (house.jobs_dir / "j1" / "result" / "more.txt").write_text("more")
    with pytest.raises(BlockMissing):
        await house.keeper.clean()
    assert (await house.publisher.pins())["j1"] == cid


async def test_a_finished_result_that_is_lost_goes_and_does_not_hold_up_the_garbage(make_house):
    house = make_house()
    cid = await house.job(1, Phase.PAID)
    kept = await house.job(2, Phase.PAID)
    house.remove_folder(1)
    block_file(house.store.root, parse_cid(cid).digest).unlink()
    await house.read_up_to(10 + FINALITY)
    told = await house.keeper.clean()
    assert [(one["job_id"], one["why"]) for one in told["let_go"]] == [("j1", "damage")]
    assert list(await house.publisher.pins()) == ["j2"]
    assert {digest for digest, _ in house.store.stored()} == set(survey(house.store).dags[JobId("j2")])
    assert house.served(kept)
    assert house.status["storage"]["damaged"] == {}


async def test_an_unpaid_result_that_is_lost_does_not_hold_up_the_garbage_either(make_house):
    house = make_house()
    cid = await house.job(1, Phase.UNPAID)
    whole = await house.job(2, Phase.UNPAID)
    house.remove_folder(1)
    house.remove_folder(2)
    block_file(house.store.root, parse_cid(cid).digest).unlink()
    await house.read_up_to(10 + FINALITY)
    told = await house.keeper.clean()
    assert [(one["job_id"], one["why"]) for one in told["let_go"]] == [("j1", "damage")]
    assert list(await house.publisher.pins()) == ["j2"]
    assert house.served(whole)


async def test_all_damaged_results_are_mended_by_one_cleaning(make_house):
    house = make_house()
    cids = [await house.job(number, Phase.SUBMITTED, block=50) for number in (1, 2, 3)]
    for cid in cids:
        for digest in survey(house.store).dags[JobId(f"j{cids.index(cid) + 1}")]:
            block_file(house.store.root, digest).write_bytes(b"damaged")
    assert (await house.keeper.clean())["damaged"] == {}
    assert survey(house.store).damaged == {}
    for cid in cids:
        assert [*walk(house.store, parse_cid(cid), Scope.ALL)]


async def publish(house, number):
    """Carry out PUBLISH for a job as the engine does."""

    async def carry_out(job, _):
        return Published(await house.publisher.publish(job.job_id, house.render(number)), ())

    job = make_job(Phase.PUBLISHING, number)
    return await house.keeper.counting(carry_out)(job, Effect(job.job_id, EffectKind.PUBLISH))


async def test_a_published_result_counts_at_once_and_the_next_cleaning_finds_the_same(make_house):
    house = make_house()
    await house.job(1, Phase.PAID)
    await house.keeper.clean()
    before = house.status["storage"]
    await publish(house, 2)
    at_once = house.status["storage"]
    assert at_once["kept_jobs"] == before["kept_jobs"] + 1
    assert at_once["kept_bytes"] > before["kept_bytes"] + 2 * MB
    await house.keeper.clean()
    assert house.status["storage"] == at_once


async def test_a_result_that_is_published_again_counts_once(make_house):
    house = make_house()
    await house.keeper.clean()
    await publish(house, 2)
    once = house.status["storage"]
    house.remove_folder(2)
    await publish(house, 2)
    assert house.status["storage"]["kept_jobs"] == once["kept_jobs"] == 1


async def test_what_cannot_be_counted_is_published_nevertheless(make_house, monkeypatch):
    house = make_house()
    await house.keeper.clean()
    before = house.status["storage"]
    monkeypatch.setattr(house.store, "size_of", lambda _: (_ for _ in ()).throw(StoreUnavailable("gone")))
    assert isinstance(await publish(house, 2), Published)
    assert house.status["storage"] == before


async def test_a_store_that_is_gone_is_not_cleaned_and_nothing_else_is_either(make_house):
    house = make_house()
    cid = await house.job(1, Phase.SUBMITTED)
    await house.read_up_to(10 + FINALITY)
    house.store.root.rename(house.directory / "elsewhere")
    (house.store.root).mkdir()
    with pytest.raises(StoreUnavailable, match="mount its disk again"):
        await house.keeper.clean()
    assert house.folders == ["j1"]
    house.store.root.rmdir()
    (house.directory / "elsewhere").rename(house.store.root)
    assert (await house.keeper.clean())["second_copies"] == ["j1"]
    assert house.served(cid)


async def test_without_a_node_the_command_cleans_and_without_a_journal_it_says_so(tmp_path):
    config = make_config(node={"data_dir": str(tmp_path / "empty")})
    with pytest.raises(NoJournal, match="start the node first"):
        await clean_stopped(config, dry_run=False)
    house = House(tmp_path / "node")
    cid = await house.job(1, Phase.PAID)
    await house.read_up_to(10 + FINALITY)
    config = make_config(node={"data_dir": str(house.directory)}, ipfs={"keep_days": 1})
    with pytest.raises(NodeError, match="uses"):
        await clean_stopped(config, dry_run=True)
    house.database.close()
    assert (await clean_stopped(config, dry_run=False))["jobs_let_go"] == 1
    assert not house.served(cid)


async def test_jobs_that_are_published_meanwhile_lose_nothing(make_house):
    house = make_house(quota_gb=0.001)
    stop = asyncio.Event()

    async def clean():
        while not stop.is_set():
            await house.keeper.clean()

    cleaning = asyncio.create_task(clean())
    cids = [await house.publisher.publish(JobId(f"j{n}"), house.render(n, 3 * MB)) for n in range(1, 8)]
    stop.set()
    await cleaning
    assert all(house.served(cid) for cid in cids)

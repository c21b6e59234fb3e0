"""A node waits for room before it starts, and doctor says what is short."""

import asyncio

from node.admission.disk import DiskRoom, data_room, disk_room
from node.admission.pricing import standing_terms
from node.app import room
from node.app.checkup import check_disk
from node.app.offer_record import OfferRecord
from node.app.offering import Offering
from node.app.serving import Serving
from node.app.timing import Prices
from node.journal.marks import Marks
from tests.fakes.clock import FakeClock
from tests.fakes.jobs import MEDIATOR, PROVIDER, make_config


async def test_a_start_waits_for_room_and_begins_when_there_is_some(tmp_path, monkeypatch):
    rooms = [DiskRoom(0), DiskRoom(0), DiskRoom(10**9, 3), DiskRoom(10**9, 3), DiskRoom(10**9, 1000)]
    monkeypatch.setattr(room, "data_room", lambda _: rooms.pop(0))
    monkeypatch.setattr(room, "LOOK_AGAIN_S", 0.001)
    assert await room.room_to_start(tmp_path, asyncio.Event())
    assert rooms == []


async def test_a_start_that_waits_can_be_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "data_room", lambda _: DiskRoom(0))
    shutdown = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, shutdown.set)
    assert not await room.room_to_start(tmp_path, shutdown)


class Disk:
    """A disk that is short of room as told, and the clock of whoever looks at it."""

    def __init__(self):
        self.problem = None
        self.clock = FakeClock()
        self.shortage = room.LastingShortage(lambda: self.problem, self.clock)

    def after(self, seconds, problem):
        """Look every ten seconds while it is like this, and return what was told last."""
        self.problem = problem
        for _ in range(seconds // 10):
            self.shortage.look()
            self.clock.time += 10
        return self.shortage.look()


def test_room_that_lacks_for_minutes_ends_an_offer_and_a_moment_does_not():
    disk = Disk()
    assert disk.after(290, "1 GB free") is None
    assert disk.after(10, None) is None
    assert disk.after(290, "1 GB free") is None
    assert disk.after(10, "2 GB free").endswith("for some minutes: 2 GB free")


def test_the_offer_stands_again_when_there_has_been_room_for_a_minute():
    disk = Disk()
    assert disk.after(300, "full")
    assert disk.after(50, None)
    assert disk.after(10, "full")
    assert disk.after(60, None) is None


async def test_while_room_is_lacking_there_is_an_obstacle_to_the_offer(database):
    lacking = []
    config = make_config(
        http={"public_url": "https://node.example"},
        market={"mediators": [MEDIATOR], "allow_toy_models": True},
        worker={"profile": "fake"},
    )
    offering = Offering(
        config=config,
        serving=Serving("fake", None),
        place=None,
        provider=PROVIDER,
        prices=Prices(standing_terms(config.pricing, config.deal), {}),
        shortage=lambda: lacking[0] if lacking else None,
    )
    record = OfferRecord(
        offering, chain=None, contracts=None, publisher=None, marks=Marks(database, FakeClock())
    )
    assert await record.obstacle() is None
    lacking.append("no room")
    assert await record.obstacle() == ("none", "no room")
    assert offering.problem() is None  # so that its address stays recorded for those who fetch results


def test_the_room_of_a_data_directory_is_that_of_its_disk_also_before_it_exists(tmp_path):
    assert data_room(tmp_path / "a" / "b").free_bytes > 0
    assert disk_room(tmp_path, tmp_path / "nowhere").read_only is None


def test_doctor_says_what_the_disk_lacks(tmp_path):
    node = {"data_dir": str(tmp_path)}
    enough = {"min_free_disk_gb": 0.001, "initial_job_gb": 0.001}
    assert check_disk(make_config(node=node, admission=enough)).verdict == "ok"
    found = check_disk(make_config(node=node, admission={"min_free_disk_gb": 10**9}))
    assert found.verdict == "problem"
    assert "free some" in found.finding
    assert "sdv-node clean" in found.remedy

"""The node and its GPUs: what is promised, what is told, and when the worker holds the card."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from node.app.gpu_need import configured_need, judged_once, need_of
from node.app.gpus import NO_GPU_TO_USE, GpuRoom, OwnProcesses
from node.app.room import OFFER_BACK_AFTER_S, OFFER_ENDS_AFTER_S, LastingShortage
from node.gpu import faults
from node.gpu.hours import Hours
from node.gpu.readings import Fault, FaultKind, GpuProcess, GpuReport
from node.gpu.xid import xid
from node.job.phase import Phase
from node.observe.health import Health
from node.observe.metrics import Metrics
from node.pipeline.profiles import load_profile
from tests.fakes.clock import FakeClock
from tests.fakes.gpus import GB, card
from tests.fakes.jobs import make_config, make_job

NEED = need_of(load_profile("sdv-1.1"))
LOST = GpuReport((), (Fault(FaultKind.LOST, "the GPU fell off the bus: reboot", "GPU 0"),))
HOT = GpuReport((card(temperature_c=95),))
NOON, NIGHT = 12 * 3600.0, 23 * 3600.0


class Pool:
    """Workers that are there or not."""

    def __init__(self) -> None:
        self.running = False
        self.ready = False
        self.calls: list[str] = []

    @property
    def changes(self):
        return [call for call in self.calls if call != "look_again"]

    def status(self):
        return {"pid": 41 if self.running else None, "slots": [{"pid": 42}, {"pid": None}]}

    def look_again(self):
        self.calls.append("look_again")

    async def start(self):
        self.running = True
        self.calls.append("start")

    async def stop(self):
        self.running = False
        self.calls.append("stop")


class House:
    """A node's GPU room with a driver that answers what a test says."""

    def __init__(
        self, need=NEED, report=None, now=NIGHT, chosen=(), tended_elsewhere=False, **settings
    ) -> None:
        self.report = GpuReport((card(),)) if report is None else report
        self.clock = FakeClock(now)
        self.pool = Pool()
        self.jobs = []
        self.told = {}
        self.metrics = Metrics("0")
        self.health = Health(self.clock)
        self.health.started()
        self.expected_s = 600.0
        self.own = OwnProcesses()
        config = make_config(gpu=settings).gpu
        self.room = GpuRoom(
            need,
            config,
            session=self,
            own=self.own,
            workers=self.pool,
            open_jobs=lambda: self.jobs,
            expected_s=lambda: self.expected_s,
            counters=self.metrics,
            health=self.health,
            clock=self.clock,
            update=lambda **parts: self.told.update(parts),
            chosen=chosen,
            tended_elsewhere=tended_elsewhere,
            hours=Hours(config.windows, lambda at: datetime.fromtimestamp(at, UTC)),
        )

    def read(self):
        return self.report

    def close(self):
        pass

    async def sees(self, report=None, *, after_s=0.0):
        self.clock.time += after_s
        if report is not None:
            self.report = report
        await self.room.begin()
        return self


async def test_a_profile_on_the_processor_needs_no_gpu_and_no_driver():
    house = await House(need=None, report=GpuReport((), (faults.fault(12),))).sees()
    assert house.room.claim_obstacle() is None
    assert house.room.start_obstacle() is None
    assert house.room.obstacle() is None
    assert house.pool.running
    assert house.health.ready().ok
    assert house.told["gpu_problem"].startswith("no NVIDIA driver")
    assert house.told["gpu_gate"]["open"]


async def test_without_a_gpu_nothing_is_claimed_or_offered_and_everybody_is_told_why():
    house = await House(report=GpuReport((), (faults.fault(12),))).sees()
    for obstacle in (house.room.claim_obstacle(), house.room.start_obstacle(), house.room.obstacle()):
        assert "profile sdv-1.1 needs a GPU: no NVIDIA driver on this machine" in obstacle
        assert "install the driver" in obstacle
    assert not house.pool.running
    assert any("gpu: profile sdv-1.1 needs a GPU" in reason for reason in house.health.ready().reasons)
    assert house.told["gpu_gate"]["reason"] == house.room.start_obstacle()


async def test_a_gpu_that_appears_later_is_taken_into_use():
    house = await House(report=GpuReport((), (faults.fault(9),))).sees()
    await house.sees(GpuReport((card(),)))
    assert house.pool.running
    assert house.room.claim_obstacle() is None
    assert house.health.ready().ok


async def test_a_driver_that_fails_does_not_end_a_worker_that_runs():
    house = await House().sees()
    await house.sees(LOST)
    assert house.pool.changes == ["start"]


async def test_each_open_job_has_its_memory_until_it_is_rendered():
    house = await House().sees()
    house.jobs = [make_job(Phase.PROPOSING, 1), make_job(Phase.AGREED, 2), make_job(Phase.SEEN, 3)]
    assert house.room.claim_obstacle("j1") is None
    await house.sees()
    (gpu,) = house.told["gpus"]
    assert gpu["jobs"] == ["j1", "j2"]
    assert gpu["promised_bytes"] == NEED.bytes
    house.jobs = [make_job(Phase.PUBLISHING, 2)]
    await house.sees()
    assert house.told["gpus"][0]["promised_bytes"] == 0


async def test_jobs_that_were_open_before_a_restart_have_their_memory_before_new_ones():
    house = House()
    house.jobs = [make_job(Phase.AGREED, 1), make_job(Phase.RENDERING, 2)]
    await house.sees()
    assert house.told["gpus"][0]["jobs"] == ["j1", "j2"]


async def test_nothing_is_claimed_while_an_agreed_job_is_without_memory():
    house = House(report=LOST)
    house.jobs = [make_job(Phase.AGREED, 1)]
    await house.sees()
    assert house.told["gpu_gate"]["without_memory"] == ["j1"]
    await house.sees(GpuReport((card(),)))
    assert house.told["gpu_gate"]["without_memory"] == []
    assert house.room.claim_obstacle() is None


async def test_a_job_that_was_never_given_memory_is_not_proposed_for():
    house = await House().sees()
    assert "which no GPU has beside what is promised" in house.room.claim_obstacle("j9")


async def test_a_driver_that_hangs_keeps_what_is_promised():
    house = await House().sees()
    house.jobs = [make_job(Phase.AGREED, 1)]
    await house.sees()
    await house.sees(GpuReport((), (faults.hung(20),)))
    assert "has not answered for 20 s" in house.room.start_obstacle()
    assert house.told["gpu_gate"]["without_memory"] == []


async def test_outside_of_hours_nothing_is_taken_and_what_is_agreed_is_finished():
    house = await House(now=NOON, hours=["22:00-07:00"]).sees()
    assert house.room.claim_obstacle() == "gpu.hours lend the GPU again from Thu 22:00 on"
    assert house.room.start_obstacle() is None
    assert not house.health.ready().ok
    assert house.told["gpu_gate"]["hours_change_at"] == 22 * 3600


async def test_a_job_that_would_not_end_within_the_hours_is_not_taken():
    house = await House(now=6 * 3600 + 3000, hours=["22:00-07:00"]).sees()
    assert house.room.claim_obstacle() is None
    house.expected_s = 601
    assert "until Thu 07:00, and a job taken now may need 601 s" in house.room.claim_obstacle()


async def test_hours_bind_a_profile_on_the_processor_too():
    house = await House(need=None, now=NOON, hours=["22:00-07:00"]).sees()
    assert "gpu.hours" in house.room.claim_obstacle()


async def test_a_short_pause_leaves_the_published_offer_alone_and_a_long_one_takes_it_back():
    house = await House().sees()
    lasting = LastingShortage(house.room.obstacle, house.clock, NO_GPU_TO_USE)
    await house.sees(HOT)
    assert house.room.claim_obstacle() is not None
    assert lasting.look() is None
    await house.sees(after_s=OFFER_ENDS_AFTER_S - 1)
    assert lasting.look() is None
    await house.sees(after_s=1)
    assert lasting.look().startswith("no GPU could be used for some minutes: GPU 0")
    await house.sees(GpuReport((card(),)))
    lasting.look()
    await house.sees(after_s=OFFER_BACK_AFTER_S)
    assert lasting.look() is None


async def test_an_idle_worker_leaves_the_card_to_others_only_if_told_to():
    python = GpuProcess(4242, GB, "python")
    shared = GpuReport((card(other_processes=(python,)),))
    kept = await House(yield_to_others=True).sees()
    await kept.sees(shared)
    assert kept.pool.running
    released = await House(yield_to_others=True, release_when_idle=True).sees()
    await released.sees(shared)
    assert not released.pool.running
    await released.sees(GpuReport((card(),)), after_s=61)
    assert released.pool.running


async def test_a_worker_with_a_job_stays_until_the_job_is_rendered():
    house = await House(now=NIGHT, hours=["22:00-07:00"], release_when_idle=True).sees()
    house.jobs = [make_job(Phase.RENDERING, 1)]
    await house.sees(after_s=13 * 3600)
    assert house.pool.running
    house.jobs = [make_job(Phase.PUBLISHING, 1)]
    await house.sees()
    assert not house.pool.running
    await house.sees(after_s=11 * 3600)
    assert house.pool.changes == ["start", "stop", "start"]


async def test_heat_alone_does_not_unload_the_models():
    house = await House(release_when_idle=True).sees()
    await house.sees(HOT)
    assert house.pool.running


async def test_critical_errors_are_counted_once_and_a_fatal_one_shuts_the_card():
    house = await House().sees()
    await house.sees(GpuReport((card(xid=xid(79, 0.0), xid_errors=2),)))
    await house.sees()
    assert b'sdv_node_gpu_xid_errors_total{gpu="0"} 2.0' in house.metrics.exposition()[0]
    assert "reported Xid 79" in house.room.barred("GPU-0")
    (gpu,) = house.told["gpus"]
    assert not gpu["usable"]
    assert [each["cause"] for each in gpu["shut"]] == ["xid"]


async def test_a_worker_is_barred_from_its_own_card_only():
    house = await House(report=GpuReport((card(0, temperature_c=95), card(1)))).sees()
    for name in ("GPU-0", "0"):
        assert "is at 95 °C" in house.room.barred(name)
    assert house.room.barred("GPU-1") is house.room.barred("1") is None
    assert house.room.barred(None) is None
    assert "GPU 7 does not answer" in house.room.barred("7")
    assert house.room.claim_obstacle() is None
    assert house.pool.calls[-1] == "look_again"


async def test_only_the_cards_that_were_chosen_count():
    two = GpuReport((card(0), card(1, temperature_c=95)))
    house = await House(report=two, chosen=["1"]).sees()
    assert "GPU 1" in house.room.claim_obstacle()
    assert "GPU 0" not in house.room.claim_obstacle()
    absent = await House(report=two, chosen=["GPU-7"]).sees()
    assert "none of worker.gpus (GPU-7) answers" in absent.room.claim_obstacle()


async def test_workers_under_another_user_are_trusted_with_gpus_that_this_process_does_not_see():
    house = await House(report=GpuReport((), (faults.fault(4),)), tended_elsewhere=True).sees()
    assert house.room.claim_obstacle() is None
    assert house.room.claim_obstacle("j1") is None
    assert house.room.barred("0") is None
    assert house.pool.running
    await house.sees(HOT)
    assert "is at 95 °C" in house.room.claim_obstacle()


async def test_the_public_status_does_not_name_what_else_the_operator_runs():
    secret = GpuProcess(4242, 14 * GB, "secret-project")
    crowded = GpuReport((card(memory_free_bytes=10 * GB, other_processes=(secret,)),))
    house = await House(report=crowded, yield_to_others=True).sees()
    assert "4242" in json.dumps(house.told)
    assert "secret-project" not in json.dumps(house.told)
    assert not any("secret-project" in reason for reason in house.health.ready().reasons)


async def test_workers_that_somebody_else_starts_are_ours_too():
    house = await House().sees()
    assert house.own(42)
    assert not house.own(1)
    assert OwnProcesses(Path("/proc/1").stat().st_uid)(1)


@pytest.mark.parametrize(("residency", "most"), [("resident", 22), ("swapped", 15)])
def test_the_need_is_that_of_the_configured_profile(residency, most):
    config = make_config(worker={"profile": "sdv-1.0", "residency": residency})
    assert configured_need(config).bytes == most * GB
    assert configured_need(make_config(worker={"profile": "tiny"})) is None
    assert configured_need(make_config(worker={"profile": "fake:20"})) is None


def test_a_profile_that_states_no_stages_is_needed_whole():
    need = need_of(replace(load_profile("sdv-1.1"), stages_gb=()))
    assert need.words() == "profile sdv-1.1 needs 22.0 GB"


def test_a_single_reading_is_judged_for_a_command():
    config = make_config(worker={"profile": "sdv-1.1"})
    assert judged_once(config, GpuReport((card(),))).obstacle is None
    assert "is at 95 °C" in judged_once(config, HOT).obstacle
    assert judged_once(make_config(worker={"profile": "tiny"}), LOST) is None

"""Real worker processes with the fake renderer: order, death, silence, quarantine, nothing left behind."""

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from node.clock import SystemClock
from node.errors import JobFailed, Misconfigured, Retryable
from node.job.spec import parse_inputs
from node.publisher.unixfs import cid_of
from node.types import JobId
from node.worker.fake import FakeRenderer
from node.worker.fake_faults import MARK
from node.worker.pool import WorkerPool
from node.worker.settings import Place, Standalone, WorkerSettings

pytestmark = pytest.mark.integration

QUICK = WorkerSettings(
    ping_interval_s=0.05,
    ping_s=1.0,
    progress_s=1.0,
    terminate_s=0.5,
    restart_backoff_s=0.05,
    load_attempts=2,
    mourning_s=0.2,
)


def job(prompt="a cow"):
    return parse_inputs("sdv-pipeline:v1.1-lilypad2", {"Prompt": prompt})


@pytest.fixture
async def pool(tmp_path):
    pool = WorkerPool(profile="fake:10", data_dir=tmp_path / "data", settings=QUICK, clock=SystemClock())
    await pool.start()
    yield pool
    await pool.stop()


@pytest.fixture
async def make_pool(tmp_path):
    pools = []

    async def make(profile="fake:10", settings=QUICK, **more):
        pool = WorkerPool(profile=profile, data_dir=tmp_path / "data", settings=settings, **more)
        pools.append(pool)
        await pool.start()
        return pool

    yield make
    for pool in pools:
        await pool.stop()


async def render(pool, job_dir, spec, on_progress=lambda _progress: None):
    return await pool.render(JobId(job_dir.name), spec, job_dir, on_progress)


def running(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def environment_of(pid):
    return Path(f"/proc/{pid}/environ").read_bytes()


async def until(condition):
    async with asyncio.timeout(20):
        # What is waited for happens in another process, so there is no event to wait on.
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_job_becomes_a_result_directory(pool, tmp_path):
    seen = []
    files = await render(pool, tmp_path / "j1", job(), seen.append)
    assert files.directory == tmp_path / "j1" / "result"
    assert files.outputs == (
        "outputs/still_00001_.png",
        "outputs/output_00001_.png",
        "outputs/output_00001_.webp",
        "outputs/output_00001_.mp4",
    )
    assert all((files.directory / path).is_file() for path in files.outputs)
    assert files.determinism_class == pool.determinism_class == FakeRenderer.determinism_class
    assert [progress.fraction for progress in seen] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert [progress.artifact for progress in seen] == [
        None,
        "work/outputs/still_00001_.png",
        None,
        None,
        None,
    ]
    assert pool.status()["state"] == "idle"


async def test_jobs_wait_for_their_turn_in_order(pool, tmp_path):
    finished = []

    async def one(number):
        await render(pool, tmp_path / f"j{number}", job(f"cow {number}"))
        finished.append(number)

    await asyncio.gather(*(one(number) for number in range(5)))
    assert finished == [0, 1, 2, 3, 4]


async def test_a_finished_job_needs_no_worker(pool, tmp_path):
    first = await render(pool, tmp_path / "j1", job())
    idle = WorkerPool(profile="fake", data_dir=tmp_path / "data", settings=QUICK, clock=SystemClock())
    assert await render(idle, tmp_path / "j1", job()) == first


async def test_one_job_asked_for_twice_at_once_is_rendered_once(pool, tmp_path):
    seen = []
    first, second = await asyncio.gather(
        *(render(pool, tmp_path / "j1", job(), seen.append) for _ in range(2))
    )
    assert first == second
    assert len(seen) == 5


async def test_a_worker_killed_by_a_job_is_replaced_and_the_job_finishes_alike(pool, tmp_path):
    spec = job("fault:crash-once")
    after_crash = await render(pool, tmp_path / "j1", spec)
    assert pool.status()["replacements"] == 1
    (tmp_path / "j2").mkdir()
    (tmp_path / "j2" / MARK).touch()
    without_crash = await render(pool, tmp_path / "j2", spec)
    assert pool.status()["replacements"] == 1
    assert cid_of(after_crash.directory) == cid_of(without_crash.directory)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("crash", "worker 0, stage fake: it was killed by signal 9.*dmesg"),
        ("segv", "signal 11"),
        ("hang", "stage fake: its job made no progress.*worker.progress_timeout_s"),
        ("freeze", "did not answer"),
        ("cuda", "stage fake: RuntimeError: CUDA error: an illegal memory access.*Xid"),
        ("memory", "stage fake: it ran out, 2.0 GB are needed, 1.0 GB are free.*worker.residency"),
        ("garbage", "output_00001_.mp4 is not what its manifest says.*check disk"),
    ],
)
async def test_inputs_that_cost_two_workers_are_quarantined_and_others_go_on(pool, tmp_path, fault, reason):
    with pytest.raises(JobFailed, match=rf"quarantined.*{reason}"):
        await render(pool, tmp_path / "j1", job(f"fault:{fault}"))
    await pool.wait_ready()
    before = pool.status()["pid"]
    with pytest.raises(JobFailed, match="quarantined"):
        await render(pool, tmp_path / "j2", job(f"fault:{fault}"))
    await render(pool, tmp_path / "j3", job())
    assert pool.status()["pid"] == before


async def test_a_fault_of_the_node_that_hears_of_progress_ends_the_job_instead_of_hanging_it(pool, tmp_path):
    def broken(_progress):
        raise RuntimeError("nobody can be told")

    with pytest.raises(JobFailed, match=r"could not go on talking to it.*nobody can be told"):
        await render(pool, tmp_path / "j1", job(), broken)
    await render(pool, tmp_path / "j2", job("another"))


async def test_a_quarantine_outlasts_a_restart_of_the_node(make_pool, tmp_path):
    first = await make_pool()
    with pytest.raises(JobFailed, match="quarantined"):
        await render(first, tmp_path / "j1", job("fault:segv"))
    await first.stop()
    second = await make_pool()
    assert second.status()["quarantined"] == 1
    with pytest.raises(JobFailed, match=r"killed 2 workers.*signal 11"):
        await render(second, tmp_path / "j2", job("fault:segv"))
    assert second.status()["replacements"] == 0


async def test_inputs_rendered_after_a_death_are_blamed_for_it_no_more(make_pool, tmp_path):
    lost = []
    pool = await make_pool(on_death=lost.append)
    await render(pool, tmp_path / "j1", job("fault:memory-once"))
    assert lost == ["out_of_memory"]
    assert pool.status()["replacements"] == 1
    await render(pool, tmp_path / "j2", job("fault:memory-once"))
    assert lost == ["out_of_memory"] * 2
    assert pool.status()["quarantined"] == 0


async def test_two_slots_render_two_jobs_at_once_each_in_a_process_that_sees_its_own_card(
    make_pool, tmp_path
):
    pool = await make_pool("fake:600", places=(Place("0", "GPU-a"), Place("1", "GPU-b")))
    await until(lambda: pool.ready_slots == 2)
    cards = [
        next(line for line in environment_of(slot["pid"]).split(b"\0") if b"VISIBLE_DEVICES" in line)
        for slot in pool.status()["slots"]
    ]
    assert cards == [b"CUDA_VISIBLE_DEVICES=GPU-a", b"CUDA_VISIBLE_DEVICES=GPU-b"]
    jobs = [asyncio.create_task(render(pool, tmp_path / f"j{n}", job(f"cow {n}"))) for n in range(3)]
    await until(lambda: all(slot["rendering"] for slot in pool.status()["slots"]))
    status = pool.status()
    assert [slot["rendering"]["job"] for slot in status["slots"]] == ["j0", "j1"]
    assert status["waiting_jobs"] == 1
    await asyncio.gather(*jobs)
    assert pool.status()["state"] == "idle"


async def test_a_slot_that_cannot_work_stops_no_other(make_pool, tmp_path):
    nobody = Standalone(tmp_path / "nobody.sock", tmp_path / "exchange")
    pool = await make_pool(places=(Place("0", None, nobody), Place("1")))
    await render(pool, tmp_path / "j1", job())
    await until(lambda: pool.status()["slots"][0]["state"] == "broken")
    broken, working = pool.status()["slots"]
    assert "no worker listens at" in broken["problem"]
    assert "sdv-node-worker@" in broken["problem"]
    assert (working["state"], working["problem"]) == ("idle", None)
    assert pool.ready


async def test_the_next_job_is_rendered_while_one_is_encoded_and_a_hang_there_is_not_its_fault(
    make_pool, tmp_path
):
    pool = await make_pool()
    stuck = asyncio.create_task(render(pool, tmp_path / "j1", job("fault:hang@encoded")))
    await until(lambda: pool.status()["slots"][0]["encoding"])
    beside = asyncio.create_task(render(pool, tmp_path / "j2", job("a fox")))
    await until(lambda: (pool.status()["slots"][0]["rendering"] or {}).get("step"))
    (slot,) = pool.status()["slots"]
    assert (slot["encoding"]["job"], slot["rendering"]["job"]) == ("j1", "j2")
    with pytest.raises(JobFailed, match=r"quarantined.*no progress"):
        await stuck
    await beside
    assert pool.status()["quarantined"] == 1


async def test_a_codec_that_crashes_costs_its_own_job_a_try_and_the_worker_nothing(make_pool, tmp_path):
    pool = await make_pool()
    await pool.wait_ready()
    before = pool.status()["pid"]
    await render(pool, tmp_path / "j1", job("fault:encoder-once"))
    with pytest.raises(JobFailed, match=r"quarantined.*encoder was killed by signal 11"):
        await render(pool, tmp_path / "j2", job("fault:encoder"))
    assert pool.status()["pid"] == before


async def test_a_result_that_was_damaged_on_the_disk_is_rendered_again(make_pool, tmp_path):
    pool = await make_pool()
    whole = await render(pool, tmp_path / "j1", job())
    cid = cid_of(whole.directory)
    (whole.directory / whole.outputs[0]).write_bytes(b"lost")
    assert cid_of((await render(pool, tmp_path / "j1", job())).directory) == cid


async def test_a_job_that_takes_too_long_is_ended(tmp_path):
    settings = WorkerSettings(ping_interval_s=0.05, job_s=0.2, terminate_s=0.5, restart_backoff_s=0.05)
    pool = WorkerPool(profile="fake:900", data_dir=tmp_path, settings=settings, clock=SystemClock())
    await pool.start()
    with pytest.raises(JobFailed, match="took more than"):
        await render(pool, tmp_path / "j1", job())
    await pool.stop()


async def test_a_still_can_be_looked_at_while_its_job_goes_on(pool, tmp_path):
    shown = []

    def look(progress):
        if progress.artifact is not None:
            shown.append((tmp_path / "j1" / progress.artifact).read_bytes())
            assert not (tmp_path / "j1" / "result").exists()

    files = await render(pool, tmp_path / "j1", job(), look)
    assert shown == [(files.directory / "outputs/still_00001_.png").read_bytes()]


async def test_a_refused_job_fails(pool, tmp_path):
    with pytest.raises(JobFailed, match="asked for a refusal"):
        await render(pool, tmp_path / "j1", job("fault:refuse"))
    assert pool.status()["replacements"] == 0


@pytest.mark.parametrize(
    ("fault", "reason"), [("disk", "broken disk"), ("taken", r"2\.0 GB are needed, 1\.0 GB are free")]
)
async def test_a_job_that_this_machine_could_not_do_now_may_be_tried_again(pool, tmp_path, fault, reason):
    with pytest.raises(Retryable, match=reason):
        await render(pool, tmp_path / "j1", job(f"fault:{fault}"))
    assert pool.status()["replacements"] == 0


async def test_a_worker_that_dies_while_idle_is_replaced_and_nobody_is_blamed(pool, tmp_path):
    await pool.wait_ready()
    first = pool.status()["pid"]
    os.kill(first, signal.SIGKILL)
    await until(lambda: pool.status()["pid"] not in (None, first))
    await render(pool, tmp_path / "j1", job())


async def test_cancelling_a_render_ends_its_worker_and_frees_the_turn(pool, tmp_path):
    await pool.wait_ready()
    first = pool.status()["pid"]
    task = asyncio.create_task(render(pool, tmp_path / "j1", job("fault:hang")))
    await until(lambda: pool.status()["current_job"] == "j1")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not running(first)
    await render(pool, tmp_path / "j2", job())


async def test_a_worker_that_cannot_start_is_reported_and_tried_again(tmp_path):
    settings = WorkerSettings(load_s=0.001, restart_backoff_s=0.01, load_attempts=2, terminate_s=0.5)
    pool = WorkerPool(profile="fake", data_dir=tmp_path, settings=settings, clock=SystemClock())
    await pool.start()
    with pytest.raises(Retryable, match="not loaded in"):
        await render(pool, tmp_path / "j1", job())
    assert pool.status()["state"] == "broken"
    assert "not loaded" in pool.status()["problem"]
    await pool.stop()


async def test_stopping_gives_up_the_job_in_flight_and_those_that_wait(tmp_path):
    pool = WorkerPool(profile="fake", data_dir=tmp_path, settings=QUICK, clock=SystemClock())
    await pool.start()
    jobs = [asyncio.create_task(render(pool, tmp_path / f"j{n}", job("fault:hang"))) for n in range(2)]
    await until(lambda: pool.status()["current_job"] == "j0" and pool.ready)
    await pool.stop()
    for outcome in await asyncio.gather(*jobs, return_exceptions=True):
        assert isinstance(outcome, Retryable)


def test_an_unknown_profile_is_refused_at_once(tmp_path):
    with pytest.raises(Misconfigured, match="tiny"):
        WorkerPool(profile="huge", data_dir=tmp_path, settings=QUICK, clock=SystemClock())


async def test_stopping_leaves_no_process_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    pool = WorkerPool(profile="fake", data_dir=tmp_path / "data", settings=QUICK, clock=SystemClock())
    await pool.start()
    await pool.wait_ready()
    pid = pool.status()["pid"]
    assert b"PYTEST" not in environment_of(pid)
    await pool.stop()
    assert not running(pid)
    assert not pool.ready


DAEMON = """
import asyncio, sys
from pathlib import Path
from node.clock import SystemClock
from node.worker.pool import WorkerPool
from node.worker.settings import Place, Standalone, WorkerSettings
async def main():
    data_dir = Path(sys.argv[1])
    pool = WorkerPool(profile="fake", data_dir=data_dir, settings=WorkerSettings(), clock=SystemClock())
    await pool.start()
    await pool.wait_ready()
    print(pool.status()["pid"], file=sys.stderr, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_a_worker_dies_with_its_daemon(tmp_path):
    daemon = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        DAEMON,
        str(tmp_path),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    pid = int(await daemon.stderr.readline())
    assert running(pid)
    daemon.kill()
    await daemon.communicate()
    await until(lambda: not running(pid))


async def test_no_job_begins_at_a_place_that_is_barred_and_it_begins_when_that_is_over(make_pool, tmp_path):
    barred = {"0": "its GPU is hot", "1": "its GPU is hot"}
    pool = await make_pool(places=(Place("0"), Place("1")), barred=lambda place: barred.get(place.name))
    await until(lambda: pool.ready_slots == 2)
    begun_at = set()

    def note(_progress):
        begun_at.update(slot["name"] for slot in pool.status()["slots"] if slot["rendering"])

    rendering = asyncio.create_task(render(pool, tmp_path / "j1", job(), note))
    await until(lambda: pool.status()["waiting_jobs"] == 1)
    pool.look_again()
    assert pool.status()["waiting_jobs"] == 1
    assert not pool.has_begun("j1")
    del barred["1"]
    pool.look_again()
    await until(lambda: pool.has_begun("j1") or rendering.done())
    await rendering
    assert begun_at == {"1"}
    assert not pool.has_begun("j1")


async def test_a_node_that_stops_lets_the_stage_end_and_begins_no_other_job(make_pool, tmp_path):
    pool = await make_pool("fake:1000")
    seen = asyncio.Queue()
    first = asyncio.create_task(render(pool, tmp_path / "j1", job(), seen.put_nowait))
    told = await seen.get()
    second = asyncio.create_task(render(pool, tmp_path / "j2", job("a fox")))
    await pool.let_stages_end(20)
    while not seen.empty():
        told = seen.get_nowait()
    # The fake pipeline tells of two stages, what it computes and the encoding.
    assert told.stage == "encode"
    assert not pool.has_begun(JobId("j2"))
    await pool.stop()
    with pytest.raises(Retryable):
        await second
    await asyncio.wait([first])


async def test_a_stage_that_does_not_end_holds_a_stop_up_no_longer_than_is_allowed(make_pool, tmp_path):
    pool = await make_pool("fake:100000", settings=replace(QUICK, progress_s=60.0))
    rendering = asyncio.create_task(render(pool, tmp_path / "j1", job()))
    await until(lambda: pool.has_begun(JobId("j1")))
    async with asyncio.timeout(20):
        await pool.let_stages_end(0.2)
    await pool.stop()
    with pytest.raises(Retryable):
        await rendering

"""A fleet of two hosts: the same jobs as on this machine, with the same bytes, also when a host is lost."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from node.app.fleet_checks import ask, room_for
from node.job.spec import parse_inputs
from node.publisher.unixfs import cid_of
from node.types import JobId
from node.worker.fake import keep_stage
from node.worker.pool import WorkerPool
from node.worker.settings import Fleet, Place, WorkerSettings

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SETTINGS = WorkerSettings(
    load_attempts=1000, load_s=60.0, ping_interval_s=0.2, restart_backoff_s=0.2, restart_backoff_max_s=1.0
)
MIB = 2**20
ROOT = Path(__file__).parents[3]


class TwoHosts:
    """The cluster's process."""

    def __init__(self, process, address):
        self.process = process
        self.address = address

    async def tell(self, order):
        self.process.stdin.write(f"{order}\n".encode())
        await self.process.stdin.drain()
        assert await self.process.stdout.readline() == b"done\n"


@pytest.fixture
async def hosts():
    # Sockets lie in it, whose paths may not be long.
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    with (folder / "stderr").open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name("two_hosts.py")),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            env=os.environ
            | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": str(folder), "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )
    try:
        address = (await process.stdout.readline()).decode().strip()
        assert address, (folder / "stderr").read_text()
        yield TwoHosts(process, address)
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(20):
                await process.wait()
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        left = processes(str(folder).encode())
        shutil.rmtree(folder)
        assert left == []


def processes(*words):
    """Return the ids of those whose command line has all the words and that talk to no fleet themselves."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if all(word in command for word in words) and b"--fleet" not in command:
            found.append(int(process.name))
    return found


def job(prompt):
    return parse_inputs("sdv-pipeline:v1.1-lilypad2", {"Prompt": prompt})


async def until(condition):
    async with asyncio.timeout(180):
        # What is waited for happens in another process, so there is no event to wait on.
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_job_whose_host_is_lost_goes_on_from_its_finished_stages_on_another_with_the_same_bytes(
    hosts, tmp_path
):
    fleet = Fleet(hosts.address, "test", 0, (("host", 1.0),), str(tmp_path / "hosts"), 20.0)
    lost = []
    pool = WorkerPool(
        profile="fake:3000",
        data_dir=tmp_path / "data",
        settings=SETTINGS,
        places=(Place("0", fleet=fleet), Place("1", fleet=fleet)),
        on_death=lost.append,
    )
    await pool.start()
    try:
        await until(lambda: pool.ready_slots == 2)
        # What doctor asks for counts what is in use as room.
        assert room_for(await ask(fleet, tmp_path / "data"), fleet) == 2
        # Several chunks, which are not all of one size.
        specs = [job(f"cow {number} size:{5 * MIB + number}") for number in range(2)]
        seen = [[], []]
        rendering = [
            asyncio.create_task(pool.render(JobId(f"j{n}"), specs[n], tmp_path / f"j{n}", seen[n].append))
            for n in range(2)
        ]
        await until(lambda: all(len(steps) >= 2 for steps in seen))
        # Both stills are finished and have been told of, so they are here.
        assert all((tmp_path / f"j{n}" / seen[n][1].artifact).is_file() for n in range(2))
        await hosts.tell("lose")
        files = await asyncio.gather(*rendering)
        assert lost == ["gone"]
        # A stage that is here already is not computed there; the processes there die while it goes on.
        begun, seen = job("a fox"), []
        work = tmp_path / "begun" / "work"
        work.mkdir(parents=True)
        keep_stage(begun, work, "still")
        (work / "outputs" / "still_00001_.png").write_bytes(b"kept")
        await hosts.tell("replace")
        rendering = asyncio.create_task(pool.render(JobId("b"), begun, tmp_path / "begun", seen.append))
        await until(lambda: len(seen) >= 3)
        for pid in processes(b"node.worker.child", b"--parent", str(tmp_path / "hosts").encode()):
            os.kill(pid, signal.SIGKILL)
        result = await rendering
        assert lost == ["gone", "gone"]
        assert (result.directory / "outputs" / "still_00001_.png").read_bytes() == b"kept"
        await until(lambda: pool.ready_slots == 2)
        assert sum(slot["replacements"] for slot in pool.status()["slots"]) >= 2
    finally:
        await pool.stop()
    here = WorkerPool(profile="fake:0", data_dir=tmp_path / "here", settings=SETTINGS)
    await here.start()
    try:
        for number in range(2):
            alike = await here.render(
                JobId("h"), specs[number], tmp_path / f"h{number}", lambda _progress: None
            )
            assert cid_of(alike.directory) == cid_of(files[number].directory)
    finally:
        await here.stop()

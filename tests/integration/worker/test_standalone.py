"""Workers that somebody else starts: ``sdv-node worker`` behind its socket, with nodes that come and go."""

import asyncio
import json
import os
import pwd
import signal
import stat
import sys
from dataclasses import replace

import pytest

from node.app.worker_checks import check_standalone_workers
from node.config import load
from node.errors import JobFailed
from node.publisher.unixfs import cid_of
from node.types import JobId
from node.worker.deaths import WorkerDied
from node.worker.fake import FakeRenderer
from node.worker.pool import WorkerPool
from node.worker.protocol import Hello, Ping, encode
from node.worker.remote import check_user
from node.worker.settings import Place, Standalone
from tests.integration.worker.test_pool import QUICK, environment_of, job, until

pytestmark = pytest.mark.integration

PATIENT = replace(QUICK, load_attempts=100)
USER = pwd.getpwuid(os.geteuid()).pw_name


class Service:
    """What a service manager does: start a worker, and start it again when it has ended."""

    def __init__(self, directory, profile):
        self.socket = directory / "run" / "worker.sock"
        self.exchange = directory / "exchange"
        self.socket.parent.mkdir()
        self.command = [
            sys.executable, "-m", "node.cli.main", "--data-dir", str(directory / "worker"),
            "--set", f"worker.exchange={self.exchange}", "worker",
            "--socket", str(self.socket), "--profile", profile, "--user", USER,
        ]  # fmt: skip
        self.process = None
        self.starts = 0
        self.ends = []

    async def run(self):
        while True:
            self.starts += 1
            self.process = await asyncio.create_subprocess_exec(
                *self.command, env=os.environ | {"SECRET": "do-not-pass-on"}
            )
            self.ends.append(await self.process.wait())

    def place(self, uid=None):
        return Place("0", None, Standalone(self.socket, self.exchange, uid))


@pytest.fixture
async def service(tmp_path):
    service = Service(tmp_path, "fake:10")
    running = asyncio.create_task(service.run())
    await until(service.socket.exists)
    yield service
    running.cancel()
    await asyncio.wait([running])
    if service.process.returncode is None:
        service.process.kill()
        await service.process.wait()


@pytest.fixture
async def node(tmp_path, service):
    pools = []

    async def start(settings=PATIENT, profile="fake:10", uid=None):
        pool = WorkerPool(
            profile=profile, data_dir=tmp_path / "node", settings=settings, places=(service.place(uid),)
        )
        pools.append(pool)
        await pool.start()
        return pool

    yield start
    for pool in pools:
        await pool.stop()


async def render(pool, directory, spec):
    return await pool.render(JobId(directory.name), spec, directory, lambda _: None)


async def problem_of(pool, words):
    await until(lambda: words in (pool.status()["problem"] or ""))
    return pool.status()["problem"]


async def ask(service, message):
    """Say one thing to the worker and return all that it answers."""
    reader, writer = await asyncio.open_unix_connection(service.socket)
    writer.write(encode(message))
    async with asyncio.timeout(60):
        answers = [json.loads(line) async for line in reader]
    writer.close()
    return answers


async def test_a_result_is_copied_checked_and_taken_away_and_the_worker_stays_for_the_next_node(
    service, node, tmp_path
):
    first = await node()
    files = await render(first, tmp_path / "jobs" / "j1", job())
    expected = FakeRenderer("fake:0").render(job(), tmp_path / "expected", lambda _: None)
    assert cid_of(files.directory) == cid_of(expected.directory)
    assert files.directory == tmp_path / "jobs" / "j1" / "result"
    assert list(service.exchange.iterdir()) == []
    assert stat.S_IMODE(service.socket.stat().st_mode) == 0o660
    pid = first.status()["pid"]
    assert pid == service.process.pid
    assert b"do-not-pass-on" not in environment_of(pid)
    assert b"CUBLAS_WORKSPACE_CONFIG" in environment_of(pid)
    await first.stop()
    second = await node()
    await render(second, tmp_path / "jobs" / "j2", job())
    assert second.status()["pid"] == pid
    assert service.starts == 1


async def test_a_worker_that_is_killed_or_hangs_is_started_again_and_what_it_was_given_goes_on(
    service, node, tmp_path
):
    pool = await node()
    await render(pool, tmp_path / "jobs" / "j1", job("fault:crash-once"))
    with pytest.raises(JobFailed, match=r"quarantined.*no progress"):
        await render(pool, tmp_path / "jobs" / "j2", job("fault:hang"))
    await render(pool, tmp_path / "jobs" / "j3", job())
    assert service.ends == [-signal.SIGKILL, 0, 0]


async def test_a_worker_that_its_service_manager_stops_costs_its_job_nothing(service, node, tmp_path):
    pool = await node(replace(PATIENT, progress_s=60.0))
    stuck = asyncio.create_task(render(pool, tmp_path / "jobs" / "j1", job("fault:hang")))
    for _ in range(3):
        await until(lambda: (pool.status()["slots"][0]["rendering"] or {}).get("step"))
        service.process.terminate()
        await until(lambda: not pool.ready)
    assert service.ends[:2] == [0, 0]
    assert pool.status()["quarantined"] == 0
    assert not stuck.done()
    stuck.cancel()
    await asyncio.wait([stuck])


async def test_a_worker_whose_node_goes_away_in_the_middle_of_a_job_ends(service, node, tmp_path):
    pool = await node()
    stuck = asyncio.create_task(render(pool, tmp_path / "jobs" / "j1", job("fault:hang")))
    await until(lambda: (pool.status()["slots"][0]["rendering"] or {}).get("step"))
    await pool.stop()
    await until(lambda: service.ends == [0])
    await asyncio.wait([stuck])


async def test_each_end_says_what_it_wants_of_the_other(service, node, tmp_path):
    other_profile = await node(profile="fake:20")
    assert "it has profile fake:10, resident, and the node asks for fake:20" in await problem_of(
        other_profile, "[worker]"
    )
    (answer,) = await ask(service, Hello([99], "fake:10", "resident"))
    assert answer["reason"].startswith("it speaks versions [1] of the protocol, the node [99]")
    (answer,) = await ask(service, Ping(1))
    assert "which versions" in answer["reason"]
    right = await node()
    await right.wait_ready()
    second = await node()
    assert "another node is connected" in await problem_of(second, "another")
    elsewhere = WorkerPool(
        profile="fake:10",
        data_dir=tmp_path / "elsewhere",
        settings=QUICK,
        places=(Place("0", None, Standalone(service.socket, tmp_path / "nowhere")),),
    )
    await elsewhere.start()
    assert "which this user cannot write" in await problem_of(elsewhere, "worker.exchange")
    await elsewhere.stop()


def test_only_the_user_the_operator_named_or_root_may_be_behind_the_socket(tmp_path):
    place = Standalone(tmp_path / "socket", tmp_path, 4242)
    for uid in (0, 4242):
        check_user(uid, place)
    with pytest.raises(WorkerDied, match=r"runs as user 65000, not as user 4242 \(worker.user\)$"):
        check_user(65000, place)
    with pytest.raises(WorkerDied, match=r"not as user 4242.*PrivateUsers"):
        check_user(65534, place)


async def test_the_self_check_finds_each_worker_and_says_how_to_start_one(service, node, tmp_path):
    right = await node()
    await right.wait_ready()
    told = {
        "sockets": f"{service.socket},{tmp_path}/none.sock",
        "user": USER,
        "exchange": str(service.exchange),
    }
    there, missing = await check_standalone_workers(load(environment={}, overrides={"worker": told}).worker)
    assert (there.name, there.verdict) == ("worker 0", "ok")
    assert (missing.name, missing.verdict) == ("worker 1", "problem")
    assert "systemctl start sdv-node-worker@" in missing.finding
    assert right.ready


async def test_a_second_worker_does_not_take_the_name_of_a_living_one(service):
    second = await asyncio.create_subprocess_exec(*service.command, stderr=asyncio.subprocess.PIPE)
    _, told = await second.communicate()
    assert second.returncode == 2
    assert b"another worker listens at" in told
    assert service.socket.exists()

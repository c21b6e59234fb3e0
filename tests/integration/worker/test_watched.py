"""What the watchdog of a worker's unit hears of: steps of the job at hand, not the turning of the loop."""

import asyncio
import contextlib
import os
import threading
from pathlib import Path

import pytest

from node.job.progress import Progress
from node.pipeline.results import Finished
from node.worker.listening import listen_for_a_node
from node.worker.protocol import (
    DeviceFree,
    Hello,
    Progressed,
    Ready,
    Render,
    Rendered,
    decode_from_worker,
    encode,
)
from node.worker.serving import WorkerServer
from node.worker.silence import Silence
from tests.fakes.clock import FakeClock
from tests.fakes.jobs import make_spec

pytestmark = pytest.mark.integration

PROGRESS_S = 10.0


class OnCommand:
    """A renderer that loads, steps and ends when the test says so."""

    determinism_class = "on-command"

    def __init__(self):
        self.commands = {name: threading.Semaphore(0) for name in ("load", "step", "end")}

    def load(self):
        self._wait("load")
        return self

    def start(self, spec, job_dir, on_progress, write_clip=None):
        self._wait("step")
        on_progress(Progress("still", 1, 2, 0.5))
        self._wait("end")
        return lambda: Finished(Path(job_dir), ("outputs/still.png",), self.determinism_class)

    def _wait(self, name):
        assert self.commands[name].acquire(timeout=60)


async def connected(address):
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                return await asyncio.open_unix_connection(str(address))
            await asyncio.sleep(0)


async def test_a_device_that_hangs_is_told_from_a_worker_that_waits(tmp_path):
    clock, renderer = FakeClock(), OnCommand()
    silence = Silence(clock, load_s=100.0, progress_s=PROGRESS_S)
    server = WorkerServer(
        renderer.load,
        silence=silence,
        profile="fake",
        residency="resident",
        uids=frozenset({os.geteuid()}),
        waits_for_another=True,
    )
    address = tmp_path / "w.sock"

    with listen_for_a_node(address, shared=False) as listener:
        serving = asyncio.create_task(server.serve(listener))
        reader, writer = await connected(address)

        async def heard(kind):
            async with asyncio.timeout(60):
                while not isinstance(message := decode_from_worker(await reader.readline()), kind):
                    pass
            return message

        clock.time += 101
        assert not silence.is_fine(), "loading takes too long"
        renderer.commands["load"].release()
        writer.write(encode(Hello([1], "fake", "resident")))
        await heard(Ready)
        clock.time += 10**6
        assert silence.is_fine(), "it waits for a job"

        writer.write(encode(Render("j1", make_spec().to_json(), str(tmp_path / "j1"))))
        renderer.commands["step"].release()
        await heard(Progressed)
        clock.time += PROGRESS_S
        assert silence.is_fine()
        clock.time += 1
        assert not silence.is_fine(), "no step for too long, while the loop turns"

        renderer.commands["end"].release()
        await heard(DeviceFree)
        await heard(Rendered)
        clock.time += 10**6
        assert silence.is_fine()
        serving.cancel()
        writer.close()
        await asyncio.gather(serving, return_exceptions=True)

"""A worker process is seen off whatever it, or the kernel, does meanwhile."""

import asyncio

from node.worker.process import SpawnedWorker
from node.worker.settings import WorkerSettings


class GoneAlready:
    """A process that ended without our having been told: signals find nobody."""

    pid = 4242

    def __init__(self):
        self.returncode = None
        self.stderr = None

    def terminate(self):
        raise ProcessLookupError

    kill = terminate

    async def wait(self):
        await asyncio.sleep(3600)


async def test_who_waits_for_a_worker_does_not_wait_for_ever(tmp_path):
    folder = tmp_path / "socket"
    folder.mkdir()
    worker = SpawnedWorker(GoneAlready(), folder, WorkerSettings(terminate_s=0.01))
    await worker.end("it was told to", gently=False)
    await worker.ended.wait()
    assert worker.reason == "it was told to"
    assert not folder.exists()

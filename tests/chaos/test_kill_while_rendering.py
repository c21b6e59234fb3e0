"""Real models: the node dies in the middle of a clip and goes on after the restart."""

import asyncio
import json

import pytest

from node.requester.outcome import RunState
from tests.chaos.conftest import MODULE

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.slow]
INPUTS = ("Prompt=a lighthouse in a storm", "Steps=8", "VideoSteps=8")


async def stage_reached(world, job_id, stage):
    while True:
        job = await world.get(f"/api/v1/jobs/{job_id}")
        if job is not None and job.get("progress") and job["progress"]["stage"] == stage:
            return
        await asyncio.sleep(0.02)


async def test_a_job_killed_in_its_clip_ends_with_the_cid_of_an_undisturbed_one(make_world):
    async with make_world("tiny") as world, world.requester() as party, asyncio.timeout(240):
        await world.start()
        undisturbed = await party.request(MODULE, INPUTS)

        running = asyncio.create_task(party.request(MODULE, INPUTS))
        await stage_reached(world, "j2", "clip")
        await world.kill()
        stills = world.directory / "node" / "jobs" / "j2" / "work"
        durable = {path.name: path.stat().st_mtime_ns for path in stills.rglob("*") if path.is_file()}
        await world.start()
        disturbed = await running

        assert undisturbed.state is disturbed.state is RunState.PAID
        assert disturbed.cid == undisturbed.cid
        assert any("still" in name for name in durable)
        log = [json.loads(line) for line in world.log_file.read_text().splitlines() if line.startswith("{")]
        assert any(entry.get("event") == "jobs_recovered" for entry in log)

"""The node is killed with SIGKILL at every durable boundary of a job and started again."""

import asyncio
import itertools
from collections import Counter

import pytest

from node.requester.outcome import RunState

MODULE = "sdv-pipeline:v1.1-lilypad2"
INPUTS = ("Prompt=an astronaut floating against a white background",)

PHASES = [
    "SEEN",
    "PROPOSING",
    "PROPOSED",
    "AGREED",
    "RENDERING",
    "PUBLISHING",
    "SUBMITTING",
    "SUBMITTED",
    "PAID",
]
STEPS = ("reserve", "record", "settle")
WRITES = [f"{step}:{effect}" for effect in ("propose", "submit_result") for step in STEPS]
BOUNDARIES = [f"{when}:{what}" for what in (*PHASES, *WRITES) for when in ("before", "after")]

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.slow]


async def test_after_a_kill_at_any_boundary_the_job_is_paid_once_with_the_same_cid(make_world):
    async with make_world("fake:50") as world, world.requester() as party:
        provider = world.box.address("provider")
        cids = Counter()
        for number, boundary in zip(itertools.count(1), [None, *BOUNDARIES], strict=False):
            job_id = f"j{number}"
            await world.start(*([job_id, boundary] if boundary else []))
            running = asyncio.create_task(party.request(MODULE, INPUTS))
            if boundary is not None:
                async with asyncio.timeout(60):
                    assert await world.death() == -9, f"{boundary}: {world.log_file.read_text()[-2000:]}"
                await world.start()
            async with asyncio.timeout(60):
                outcome = await running
                job = await world.reached(job_id, "PAID")
            assert outcome.state is RunState.PAID, (boundary, outcome)
            assert job["paid_wei"] == str(10**18), boundary
            cids[outcome.cid] += 1
            await world.kill()
        assert len(cids) == 1, "the same prompt gives the same CID whatever happened on the way"
        sent = Counter(await world.sent_by(provider))
        assert len(sent) == 2 * (len(BOUNDARIES) + 1)
        assert set(sent.values()) == {1}, "one agree and one addResult are mined for each deal"

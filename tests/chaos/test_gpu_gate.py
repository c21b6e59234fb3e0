"""A whole node beside a driver that a test describes: what it takes on, and what it does with what it has."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from node.app.parties import requester
from node.config import load
from node.requester.outcome import RunState
from tests.chaos.conftest import MODULE
from tests.fakes.nvml.library import StubDriver, build

pytestmark = [pytest.mark.chaos, pytest.mark.integration]
HOT, COOL = {"0.temperature": 95}, {"0.temperature": 40}


@pytest.fixture
def driver(tmp_path):
    return StubDriver(build(tmp_path / "library"), tmp_path / "gpus")


@asynccontextmanager
async def node_with(make_world, driver, profile="fake-gpu:20", **gpu):
    async with make_world(profile) as world:
        lines = "".join(f"\n{key} = {value}" for key, value in ({"poll_interval_s": 0.2} | gpu).items())
        with world.config_file.open("a") as settings:
            settings.write(f"\n[gpu]{lines}\n")
        await world.start(**{name: driver.environment[name] for name in ("LD_LIBRARY_PATH", "NVML_STUB")})
        yield world


@asynccontextmanager
async def slow_requester(world):
    """A requester who takes two seconds to choose."""
    settings = world.box.settings("requester", world.directory / "requester")
    settings["requester"] = {"gather_proposals_s": 2.0, "wait_for_proposals_s": 60.0, "matching": "propose"}
    settings["chain"] |= {"poll_interval_s": 0.05}
    async with requester(load(environment={}, overrides=settings), on_step=lambda step: None) as party:
        yield party


async def status_where(world, holds):
    while True:
        status = await world.get("/api/v1/status")
        if status is not None and holds(status):
            return status
        await asyncio.sleep(0.05)


async def test_a_node_without_a_gpu_runs_offers_nothing_and_says_why_everywhere(make_world, driver):
    driver.set({"init!": 9})
    async with node_with(make_world, driver) as world:
        await world.refuses_everything_because("profile fake-gpu:20 needs a GPU: the NVIDIA driver")
        ready = await world.get("/readyz")
        assert any("gpu: profile fake-gpu:20 needs a GPU" in reason for reason in ready["reasons"])
        metrics = await world.get("/metrics")
        assert "sdv_node_gpus 0.0" in metrics
        assert "sdv_node_gpus_open 0.0" in metrics
        assert "sdv_node_accepting 0.0" in metrics


@pytest.mark.slow
async def test_a_driver_that_hangs_hangs_alone(make_world, driver):
    driver.set({"0.memory?": 1})
    async with node_with(make_world, driver) as world:
        await world.refuses_everything_because("the NVIDIA driver has not answered for")
        world.process.terminate()
        assert await world.death() == 0


async def test_tiny_jobs_are_done_whatever_the_driver_says(make_world, driver):
    driver.set({"init!": 18})
    async with (
        node_with(make_world, driver, "fake:20") as world,
        world.requester() as party,
        asyncio.timeout(60),
    ):
        outcome = await party.request(MODULE, ("Prompt=a fox",))
        assert outcome.state is RunState.PAID
        assert "updated while it was loaded" in (await world.get("/api/v1/status"))["gpu_problem"]


async def test_an_agreed_job_waits_for_a_card_that_cools_down_and_nothing_new_is_taken_meanwhile(
    make_world, driver
):
    async with node_with(make_world, driver) as world, slow_requester(world) as party, asyncio.timeout(90):
        job = asyncio.create_task(party.request(MODULE, ("Prompt=a fox",)))
        await world.reached("j1", "PROPOSED")
        driver.set(HOT)
        waiting = await world.reached("j1", "AGREED")
        while "waits for the GPU" not in (waiting["reason"] or ""):
            waiting = await world.get("/api/v1/jobs/j1")
            await asyncio.sleep(0.05)
        assert "GPU 0 (NVIDIA Stub 24GB) is at 95 °C and pauses above 91" in waiting["reason"]
        status = await status_where(world, lambda status: status["gpus"] and not status["gpus"][0]["usable"])
        assert status["gpus"][0]["jobs"] == ["j1"]
        assert status["gpus"][0]["promised_bytes"] == 22 * 10**9
        assert status["gpus"][0]["shut"][0]["cause"] == "hot"
        second = asyncio.create_task(party.request(MODULE, ("Prompt=a hare",)))
        while "offer_waits" not in world.log_file.read_text():
            await asyncio.sleep(0.05)
        assert [what for what, _ in await world.sent_by(world.box.address("provider"))] == ["agree"]
        driver.set(COOL)
        assert (await job).state is RunState.PAID
        assert (await second).state is RunState.PAID


async def test_a_restart_gives_an_agreed_job_its_memory_again(make_world, driver):
    async with node_with(make_world, driver) as world, slow_requester(world) as party, asyncio.timeout(90):
        job = asyncio.create_task(party.request(MODULE, ("Prompt=a fox",)))
        await world.reached("j1", "PROPOSED")
        driver.set({"0.used": 10 * 10**9, "0.process.0": f"999999991 {10 * 10**9}"})
        await world.reached("j1", "AGREED")
        await world.kill()
        await world.start(**{name: driver.environment[name] for name in ("LD_LIBRARY_PATH", "NVML_STUB")})
        crowded = await status_where(world, lambda status: status.get("gpu_gate", {}).get("without_memory"))
        assert crowded["gpu_gate"]["without_memory"] == ["j1"]
        assert "end process 999999991 with 10.0 GB" in crowded["gpu_gate"]["reason"]
        driver.set({"0.used": None, "0.process.0": None})
        assert (await job).state is RunState.PAID

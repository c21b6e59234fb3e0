"""While no GPU may be used nothing is agreed to, and an agreed job waits for one within its deadline."""

import asyncio
from types import SimpleNamespace

import pytest

from node.engine.gpu_turn import GpuTurn
from node.errors import JobFailed, NotYet
from node.job.effects import Effect, EffectKind
from node.job.events import RenderStarted
from node.job.phase import Phase
from tests.fakes.clock import FakeClock
from tests.fakes.jobs import POSTED_AT, make_job

HOT = "GPU 0 is at 95 °C"
DONE = RenderStarted()


class Bench:
    """A gate that follows a script of obstacles, and a chain whose time is the clock's."""

    def __init__(self, *obstacles: str | None) -> None:
        self.obstacles = list(obstacles)
        self.clock = FakeClock(POSTED_AT)
        self.rows: dict[str, object] = {}
        self.carried: list[str] = []
        self.waits: list[tuple[str, str]] = []
        self.begun = False
        self.asked_for: list[str | None] = []
        self.turn = GpuTurn(
            self,
            self,
            self,
            needs_s=lambda _: 600.0,
            begun=lambda _: self.begun,
            on_wait=lambda job_id, reason: self.waits.append((job_id, reason)),
            clock=self.clock,
            every_s=5.0,
        )

    def _next(self):
        return self.obstacles.pop(0) if len(self.obstacles) > 1 else self.obstacles[0]

    def claim_obstacle(self, job_id=None):
        self.asked_for.append(job_id)
        return self._next()

    def start_obstacle(self):
        return self._next()

    async def head(self):
        return SimpleNamespace(timestamp=int(self.clock.time))

    async def row(self, intent_id):
        return self.rows.get(intent_id)

    async def carry_out(self, job, effect):
        self.carried.append(effect.effect_id)
        return DONE

    async def queue_for_ever(self, job, effect):
        """Carry out as a pool does whose workers are busy or barred."""
        try:
            await asyncio.Event().wait()
        finally:
            self.carried.append("cancelled")


def proposing(deadline=POSTED_AT + 600):
    return make_job(Phase.PROPOSING, deadline=deadline), Effect("j1", EffectKind.PROPOSE, 1)


def agreed(within_s=3600):
    return make_job(Phase.AGREED, deadline=POSTED_AT + within_s), Effect("j1", EffectKind.RENDER)


async def test_with_an_open_gate_a_proposal_is_sent_for_its_own_job():
    bench = Bench(None)
    assert await bench.turn.claiming(bench.carry_out)(*proposing()) is DONE
    assert bench.asked_for == ["j1"]


async def test_with_a_shut_gate_no_proposal_is_sent():
    bench = Bench(HOT)
    with pytest.raises(NotYet, match="cannot be promised now: GPU 0 is at 95"):
        await bench.turn.claiming(bench.carry_out)(*proposing())
    assert bench.carried == []


async def test_a_proposal_that_was_signed_goes_on_whatever_the_gate_says():
    bench = Bench(HOT)
    job, effect = proposing()
    bench.rows[effect.effect_id] = object()
    assert await bench.turn.claiming(bench.carry_out)(job, effect) is DONE


async def test_a_proposal_that_is_too_late_is_ended_instead_of_waiting_for_a_gpu():
    bench = Bench(HOT)
    assert await bench.turn.claiming(bench.carry_out)(*proposing(deadline=POSTED_AT - 1)) is DONE


async def test_an_agreed_job_waits_until_a_gpu_may_be_used_and_says_why():
    bench = Bench(HOT, "GPU 0 is at 94 °C", None)
    assert await bench.turn.starting(bench.carry_out)(*agreed()) is DONE
    assert bench.waits == [
        ("j1", "waits for the GPU: GPU 0 is at 95 °C"),
        ("j1", "waits for the GPU: GPU 0 is at 94 °C"),
    ]
    assert set(bench.clock.slept) == {5.0}


async def test_an_agreed_job_fails_honestly_while_there_is_time_to_say_so():
    bench = Bench(HOT)
    with pytest.raises(JobFailed, match="no GPU could be used in time: GPU 0 is at 95"):
        await bench.turn.starting(bench.carry_out)(*agreed(within_s=3600))
    waited_s = bench.clock.time - POSTED_AT
    assert 3000 < waited_s <= 3000 + 5
    assert bench.carried == []


async def test_a_wrong_estimate_does_not_give_up_a_job_at_once():
    bench = Bench(HOT, None)
    bench.turn._needs_s = lambda _: 10**6
    assert await bench.turn.starting(bench.carry_out)(*agreed()) is DONE


async def test_a_job_that_has_a_worker_or_is_rendered_already_waits_for_no_gpu():
    bench = Bench(HOT)
    bench.begun = True
    assert await bench.turn.starting(bench.carry_out)(*agreed()) is DONE
    assert bench.waits == []


async def test_a_job_in_a_queue_says_why_it_waits_and_fails_honestly_in_time():
    bench = Bench(None, HOT)
    with pytest.raises(JobFailed, match="no GPU could be used in time: GPU 0 is at 95"):
        await bench.turn.starting(bench.queue_for_ever)(*agreed(within_s=3600))
    assert bench.carried == ["cancelled"]
    assert set(bench.waits) == {("j1", "waits for the GPU: GPU 0 is at 95 °C")}
    assert 3000 < bench.clock.time - POSTED_AT <= 3000 + 5


async def test_a_job_that_has_begun_is_left_alone_when_its_gpu_is_shut_and_its_time_runs_out():
    bench = Bench(None, HOT)
    bench.begun = True
    working = asyncio.create_task(bench.turn.starting(bench.queue_for_ever)(*agreed(within_s=10)))
    while bench.clock.time < POSTED_AT + 1000:
        await asyncio.sleep(0)
    assert bench.carried == []
    assert bench.waits == []
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert bench.carried == ["cancelled"]


async def test_what_goes_wrong_while_it_is_carried_out_is_passed_on():
    bench = Bench(None)

    async def fail(job, effect):
        raise JobFailed("refused")

    with pytest.raises(JobFailed, match="refused"):
        await bench.turn.starting(fail)(*agreed())

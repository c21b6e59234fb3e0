"""One run of T1 and one of T2: a node is killed while it has deals in flight, and started again.

Both return what the invariants found. Everything random comes from the seed.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.chaos.harness.arena import Arena, Provider
from tests.chaos.harness.crowd import Crowd
from tests.chaos.harness.findings import Findings
from tests.chaos.harness.invariants import check

STATES = {
    "seen": "SEEN",
    "evaluated": "PROPOSING",
    "agree-intent": "reserve:propose",
    "agree-signed": "record:propose",
    "agree-sent": "sent:propose",
    "agree-mined": "settle:propose",
    "proposal-confirmed": "PROPOSED",
    "deal-agreed": "AGREED",
    "exec-started": "RENDERING",
    "still-done": "still",
    "frames-done": "frames",
    "encoded": "encoded",
    "manifest": "manifest",
    "rendered": "PUBLISHING",
    "CID": "cid",
    "pinned": "pinned",
    "read-back": "read-back",
    "copies-wanted": "copies-wanted",
    "copy-read": "copy-read",
    "published": "SUBMITTING",
    "result-intent": "reserve:submit_result",
    "result-signed": "record:submit_result",
    "result-sent": "sent:submit_result",
    "result-mined": "settle:submit_result",
    "final": "SUBMITTED",
    "accepted/paid": "PAID",
    "claim-due": "CLAIMING",
    "claim-intent": "reserve:claim_judge_timeout",
    "claim-signed": "record:claim_judge_timeout",
    "claim-sent": "sent:claim_judge_timeout",
    "claim-mined": "settle:claim_judge_timeout",
    "failing": "FAILING",
    "failure-intent": "reserve:submit_failure",
    "failure-signed": "record:submit_failure",
    "failure-sent": "sent:submit_failure",
    "failure-mined": "settle:submit_failure",
    "withdrawing": "WITHDRAWING",
    "withdrawal-intent": "reserve:withdraw",
    "withdrawal-signed": "record:withdraw",
    "withdrawal-sent": "sent:withdraw",
    "withdrawal-mined": "settle:withdraw",
    "hire-seen": "SEEN",
    "hire-evaluated": "AGREEING",
    "hire-intent": "reserve:agree",
    "hire-signed": "record:agree",
    "hire-sent": "sent:agree",
    "hire-mined": "settle:agree",
    "hire-agreed": "AGREED",
}
"""The durable boundaries of a job's life, named as the reliability programme does, and where each is."""

JUDGE_WINDOW_S = 86_400
AGREE_WINDOW_S = 600
DEALS = 8
MAX_KILLS = 5
LIMIT_S = 60.0


@dataclass(frozen=True)
class Boundary:
    """One side of one state."""

    state: str
    side: str

    @property
    def place(self) -> str:
        return f"{self.side}:{STATES[self.state]}"

    @property
    def claims(self) -> bool:
        return self.state.startswith("claim")

    @property
    def fails(self) -> bool:
        return self.state.startswith("fail")

    @property
    def hires(self) -> bool:
        return self.state.startswith("hire")

    @property
    def delivers(self) -> int:
        """How many results another reader must get."""
        return int(not (self.fails or self.lapses))

    @property
    def job(self) -> str:
        return "h1" if self.hires else "j1"

    @property
    def lapses(self) -> bool:
        return self.state.startswith("withdraw")


BOUNDARIES = [Boundary(state, side) for state in STATES for side in ("before", "after")]


@asynccontextmanager
async def attended(
    arena: Arena, crowd: Crowd, provider: Provider, *, limit_s: float = LIMIT_S
) -> AsyncIterator[None]:
    """Have the crowd answer while the body runs. The node is dead afterwards, whatever happened."""
    await crowd.open()
    attending = asyncio.create_task(crowd.attend())
    try:
        async with asyncio.timeout(limit_s):
            yield
    finally:
        attending.cancel()
        await asyncio.wait([attending])
        await provider.kill()
        if not attending.cancelled() and (error := attending.exception()) is not None:
            raise error


async def kill_at(arena: Arena, boundary: Boundary, seed: int) -> Findings:
    """T1: one job, the node killed exactly at the boundary, started again, the job brought to its end."""
    chance = random.Random(f"{boundary} {seed}")
    await arena.rewind()
    provider = arena.provider(
        chain={"confirmations": chance.choice((0, 0, 1, 2))},
        worker={"profile": f"fake:{chance.randint(0, 60)}"},
        market={"matching": "hire" if boundary.hires else "propose"},
    )
    crowd = Crowd(
        arena,
        agrees=not boundary.lapses,
        accepts=not boundary.claims,
        hires=provider if boundary.hires else None,
        pulse=True,
    )
    async with attended(arena, crowd, provider):
        die = ("tests.chaos.harness.hooks:die_at", [boundary.job, boundary.place])
        await provider.start(die)
        fault = "fault:refuse " if boundary.fails else ""
        await crowd.post([f"{fault}{boundary.state} {boundary.side} {seed}"])
        if boundary.lapses:
            await _until(provider, {"PROPOSED"})
            await arena.pass_time(AGREE_WINDOW_S + 1)
        if boundary.claims:
            await _until(provider, {"SUBMITTED"})
            await arena.pass_time(JUDGE_WINDOW_S + 1)
        status = await provider.node.ended
        if status != -9:
            raise AssertionError(f"{boundary}: ended with {status} instead of -9\n{provider.tail()}")
        await provider.start()
        await provider.rest("FAILED" if boundary.fails else "LAPSED" if boundary.lapses else "PAID", jobs=1)
        await crowd.ended(1)
        return await check(arena, provider, crowd.prompts)


async def random_kills(arena: Arena, seed: int) -> Findings:
    """T2: eight deals in flight, up to five kills at random moments, every deal brought to its end."""
    chance = random.Random(seed)
    await arena.rewind()
    provider = arena.provider(
        chain={"confirmations": chance.choice((0, 0, 1, 2))},
        worker={"profile": f"fake:{chance.randint(0, 40)}"},
        market={"matching": (matching := chance.choice(("propose", "hire", "both")))},
    )
    crowd = Crowd(arena, pulse=True, hires=None if matching == "propose" else provider)
    async with attended(arena, crowd, provider):
        await provider.start()
        await crowd.post([f"seed {seed} deal {number}" for number in range(DEALS)])
        kills = chance.randint(0, MAX_KILLS)
        for _ in range(kills):
            # From the fork on, so that a start is killed too: it takes about a fifth of a second.
            await asyncio.sleep(chance.uniform(0.0, 0.6))
            await provider.kill()
            await provider.launch()
        await provider.rest("PAID", jobs=DEALS)
        await crowd.ended(DEALS)
        found = await check(arena, provider, crowd.prompts)
        found.kills = kills
        return found


async def _until(provider: Provider, phases: set[str]) -> None:
    while not set(await provider.phases()) & phases and provider.node.alive:
        await asyncio.sleep(0.02)

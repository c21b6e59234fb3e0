"""T11: the machine's wall clock jumps, drifts or stands still; every deadline is one of chain time.

A run has three jobs: one is paid, one nobody agrees to, one nobody judges. While the clock is wrong nothing
may be taken back or claimed; when chain time has passed, all of it must be.
"""

import asyncio
import os
import signal
import time
from contextlib import closing
from dataclasses import dataclass

from node.chain import interface
from tests.chaos.harness.arena import Arena, Provider
from tests.chaos.harness.crowd import Crowd
from tests.chaos.harness.findings import Findings
from tests.chaos.harness.invariants import check
from tests.chaos.harness.kills import AGREE_WINDOW_S, JUDGE_WINDOW_S, attended

HOUR_S, DAY_S = 3600, 86_400
TIMEOUTS = {
    interface.TIMEOUT_AGREE.selector: "timeoutAgree",
    interface.TIMEOUT_JUDGE_RESULT.selector: "timeoutJudgeResult",
}
SETTLING_BLOCKS = 10
SLEWED_S = 0.1
"""At most so much does a slewed clock gain in a run."""


@dataclass(frozen=True)
class WrongClock:
    """How the wall clock goes wrong: a jump, and seconds per second from then on."""

    name: str
    jump_s: float = 0.0
    rate: float = 1.0
    before_s: float = 0.0
    """How far off it is already when the node starts."""
    suspended_s: int = 0


CLOCKS = [
    WrongClock("one second ahead", 1.0),
    WrongClock("one second back", -1.0),
    WrongClock("one hour ahead", HOUR_S),
    WrongClock("one hour back", -HOUR_S),
    WrongClock("one day ahead", DAY_S),
    WrongClock("one day back", -DAY_S),
    WrongClock("back over a deadline", -2 * DAY_S, before_s=2 * DAY_S),
    WrongClock("slewed by NTP", rate=1.0005),
    WrongClock("suspended for an hour", HOUR_S, suspended_s=HOUR_S),
]


async def wrong_clock(arena: Arena, clock: WrongClock, seed: int) -> Findings:
    """One run; ``seed`` names the prompts."""
    await arena.rewind()
    provider = arena.provider()
    names = [f"{clock.name} {seed} {fate}" for fate in ("paid", "unanswered", "unjudged")]
    crowd = Crowd(arena, silent={names[1]}, unjudged={names[2]}, pulse=True)
    change = provider.directory / "clock"
    async with attended(arena, crowd, provider):
        hook = ("tests.chaos.harness.hooks:wrong_clock", [str(change), clock.before_s])
        await provider.start(hook)
        posted_at = time.time()
        await crowd.post(names)
        await _phases(provider, {"PAID": 1, "PROPOSED": 1, "SUBMITTED": 1})
        if clock.suspended_s:
            await _suspend(arena, provider, clock.suspended_s)
        changed_at = time.time()
        change.write_text(f"{clock.jump_s} {clock.rate}")
        head = (await arena.market.chain.head()).number
        while (await arena.market.chain.head()).number < head + SETTLING_BLOCKS:
            await asyncio.sleep(0.02)
        early = await _timeouts_sent(arena, provider)
        late_window = clock.suspended_s > AGREE_WINDOW_S
        if not late_window:
            await arena.pass_time(AGREE_WINDOW_S + 1)
        await _phases(provider, {"PAID": 1, "LAPSED": 1, "SUBMITTED": 1})
        lapsed_at = time.time()
        between = await _timeouts_sent(arena, provider)
        await arena.pass_time(JUDGE_WINDOW_S + 1)
        await _phases(provider, {"PAID": 2, "LAPSED": 1})
        await crowd.ended(3)
        found = await check(arena, provider, crowd.prompts)
    found.check((provider.directory / "clock.told").exists(), "T11", "the node never read a wrong time")
    off = clock.before_s
    _written(provider, "SEEN", found, posted_at + off, changed_at + off)
    off += clock.jump_s
    _written(provider, "LAPSED", found, changed_at + off, lapsed_at + off + SLEWED_S)
    if not late_window:
        found.check(early == [], "T11", f"{early} before their time")
    found.check(between == ["timeoutAgree"], "T11", f"{between} where only the proposal was due")
    sent = await _timeouts_sent(arena, provider)
    found.check(sent == ["timeoutAgree", "timeoutJudgeResult"], "T11", f"{sent} in the end")
    reverted = await _reverted(arena, provider)
    found.check(reverted == 0, "T11", f"{reverted} transactions reverted")
    return found


def _written(provider: Provider, phase: str, found: Findings, earliest: float, latest: float) -> None:
    """Check that what the journal has as the time of a phase is the wrong time."""
    with closing(provider.journal()) as journal:
        query = "SELECT min(at), max(at) FROM events WHERE phase = ?"
        first, last = journal.execute(query, (phase,)).fetchone()
    text = f"{phase} was written down at {first} to {last}, not between {earliest} and {latest}"
    found.check(earliest <= first <= last <= latest, "T11", text)


async def _suspend(arena: Arena, provider: Provider, seconds: int) -> None:
    """Stop the node as a sleeping machine does; its monotonic clock goes on by a moment only."""
    os.kill(provider.node.pid, signal.SIGSTOP)
    await arena.pass_time(seconds)
    os.kill(provider.node.pid, signal.SIGCONT)


async def _phases(provider: Provider, wanted: dict[str, int]) -> None:
    while await provider.phases() != wanted:
        if not provider.node.alive:
            raise AssertionError(f"the node ended with {provider.node.ended.result()}:\n{provider.tail()}")
        await asyncio.sleep(0.03)


async def _timeouts_sent(arena: Arena, provider: Provider) -> list[str]:
    return [
        TIMEOUTS[transaction.data[:4]]
        for transaction in await _mined(arena, provider)
        if transaction.data[:4] in TIMEOUTS
    ]


async def _reverted(arena: Arena, provider: Provider) -> int:
    receipts = [await arena.market.chain.receipt(sent.hash) for sent in await _mined(arena, provider)]
    return sum(1 for receipt in receipts if receipt is None or not receipt.ok)


async def _mined(arena: Arena, provider: Provider):
    head = await arena.market.chain.head()
    blocks = [await arena.market.chain.block_transactions(number) for number in range(head.number + 1)]
    return [sent for block in blocks for sent in block if sent.sender == provider.address]

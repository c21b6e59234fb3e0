"""A slow answer gets a second try beside it; both end within the limit."""

import asyncio

import pytest

from node.chain.hedge import hedged
from node.chain.jsonrpc import RpcError, TimedOut
from node.errors import Unreachable


class Tries:
    """Answers in order: a value, an error, or an event to wait for first."""

    def __init__(self, *answers) -> None:
        self.answers = list(answers)
        self.limits: list[float] = []
        self.cancelled = 0

    async def __call__(self, limit_s: float):
        self.limits.append(limit_s)
        answer = self.answers[len(self.limits) - 1]
        try:
            if isinstance(answer, asyncio.Event):
                await answer.wait()
                return "late"
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_a_quick_answer_is_asked_for_once():
    tries = Tries("0x1")
    assert await hedged(tries, 8.0) == "0x1"
    assert tries.limits == [8.0]


@pytest.mark.parametrize("failure", [Unreachable("reset"), RpcError(3, "execution reverted")])
async def test_a_quick_failure_is_told_at_once(failure: Exception):
    tries = Tries(failure)
    with pytest.raises(type(failure)):
        await hedged(tries, 8.0)
    assert len(tries.limits) == 1


async def test_a_slow_answer_is_overtaken_by_a_second_try_and_given_up():
    tries = Tries(asyncio.Event(), "0x2")
    assert await hedged(tries, 0.04) == "0x2"
    assert tries.limits == [0.04, pytest.approx(0.03)]
    assert tries.cancelled == 1


async def test_a_refusal_of_the_second_try_is_an_answer():
    with pytest.raises(RpcError):
        await hedged(Tries(asyncio.Event(), RpcError(3, "execution reverted")), 0.04)


async def test_a_failed_second_try_leaves_the_first_one_its_time():
    release = asyncio.Event()
    asyncio.get_running_loop().call_later(0.03, release.set)
    assert await hedged(Tries(release, Unreachable("reset")), 0.04) == "late"


async def test_the_caller_who_gives_up_ends_both_tries():
    tries = Tries(asyncio.Event(), asyncio.Event())
    asking = asyncio.create_task(hedged(tries, 0.04))
    while len(tries.limits) < 2:
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert tries.cancelled == 2


async def test_two_silent_tries_are_told_as_the_first_one():
    async def silent(limit_s: float):
        raise TimedOut(f"limit {limit_s:g}")

    with pytest.raises(TimedOut, match="limit 8"):
        await hedged(silent, 8.0)

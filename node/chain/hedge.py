"""A second try beside one that takes long, for questions that may be asked twice without harm.

Most slow answers are slow by chance (one machine of many, one lost packet): whoever asks again after a while,
without giving the first try up, waits far less for the slowest of many answers.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from node.errors import Unreachable

_AFTER = 0.25
"""The share of the time limit after which the second try begins."""


async def hedged(ask: Callable[[float], Awaitable[Any]], limit_s: float) -> Any:
    """Return the first answer of at most two tries; both end within ``limit_s``.

    A refusal is an answer. Raises the first try's Unreachable when both fail.
    """
    after_s = limit_s * _AFTER
    first = asyncio.ensure_future(ask(limit_s))
    try:
        await asyncio.wait((first,), timeout=after_s)
    except asyncio.CancelledError:
        await _drop(first)
        raise
    if first.done():
        return first.result()
    second = asyncio.ensure_future(ask(limit_s - after_s))
    try:
        waiting = {first, second}
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for answer in done:
                if not isinstance(answer.exception(), Unreachable):
                    return answer.result()
        return first.result()
    finally:
        await _drop(first, second)


async def _drop(*tries: asyncio.Future[Any]) -> None:
    for unneeded in tries:
        unneeded.cancel()
    await asyncio.gather(*tries, return_exceptions=True)

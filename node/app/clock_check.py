"""Whether this machine's clock agrees with others': the RPC endpoints' own, and the head of the chain."""

import asyncio
import statistics
import time
from datetime import UTC
from email.utils import parsedate_to_datetime

import aiohttp

from node.app.checks import Check, problem
from node.config import DEVELOPMENT_CHAINS, ChainSection

TIMEOUT_S = 5.0
WARN_S, WRONG_S = 3.0, 30.0
REMEDY = "set the clock by network time: timedatectl set-ntp true"


async def check_clock(section: ChainSection, head_timestamp: int) -> Check:
    """How far is this clock from that of the endpoints' hosts? A head from the future tells of it, too."""
    urls = [url for url in section.rpc_urls if url.startswith("http")]
    found = await asyncio.gather(*map(_offset_s, urls))
    offsets = [offset for offset in found if offset is not None]
    # A development chain may have been wound forward on purpose.
    ahead_s = 0.0 if section.chain_id in DEVELOPMENT_CHAINS else head_timestamp - time.time()
    return judge_clock(offsets, ahead_s)


def judge_clock(offsets_s: list[float], head_ahead_s: float) -> Check:
    """Return the check of a clock: ``offsets_s`` is how far it is ahead of each host, to about a second."""
    if head_ahead_s > WRONG_S:
        return problem("time", f"the chain's head is {head_ahead_s:.0f} s ahead of this clock", REMEDY)
    if not offsets_s:
        return Check("time", "skipped", "no endpoint tells the time")
    offset_s = statistics.median(offsets_s)
    way = "ahead of" if offset_s > 0 else "behind"
    finding = f"{abs(offset_s):.0f} s {way} the clocks of {len(offsets_s)} endpoints"
    if abs(offset_s) > WRONG_S:
        return problem("time", finding, REMEDY)
    if abs(offset_s) > WARN_S:
        return Check("time", "warning", finding, REMEDY)
    return Check("time", "ok", f"within {max(1, round(abs(offset_s)))} s of {len(offsets_s)} endpoints")


async def _offset_s(url: str) -> float | None:
    """Return how far this clock is ahead of a server's ``Date``, in whole seconds; None if it has none."""
    try:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            asked_at = time.time()
            async with session.head(url, allow_redirects=False) as answer:
                told = parsedate_to_datetime(answer.headers.get("Date", ""))
            middle = (asked_at + time.time()) / 2
    except (aiohttp.ClientError, TimeoutError, ValueError, OSError):
        return None
    return middle - (told.replace(tzinfo=UTC).timestamp() + 0.5)

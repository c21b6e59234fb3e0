"""What a provider says of itself over HTTP: where its gateway is and how far the job is.

Nothing here is believed: addresses are checked before they are used, answers are bounded in time and size,
numbers are clamped and text is made safe to print. The outcome of a job never depends on it.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp

from node.destinations import Reach
from node.errors import NodeError
from node.job.foreign_json import read_json
from node.job.phase import Phase
from node.job.progress import Progress
from node.requester.steps import printable
from node.types import DealId, JobId

MAX_URL_CHARACTERS = 256
MAX_REPLY_BYTES = 64 * 1024
MAX_STEPS = 1_000_000
MAX_NUMBER = 1e15
MAX_LEFT_S = 30 * 86400.0
POLL_TIMEOUT_S = 3.0
BETWEEN = frozenset({Phase.PUBLISHING, Phase.SUBMITTING})
"""Phases between the rendering and the result on chain."""


class BadProviderUrl(NodeError):
    """The address a provider published is not one to connect to."""


def gateway_url(text: str, reach: Reach) -> str:
    """Return the provider's public address without a trailing slash. Raises BadProviderUrl.

    Allowed are http and https with a host within reach and an optional port and path: no user name, query or
    fragment.
    """
    shown = printable(text, 80)
    if not text or len(text) > MAX_URL_CHARACTERS:
        raise BadProviderUrl(f"the provider's address {shown!r} is empty or longer than {MAX_URL_CHARACTERS}")
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        raise BadProviderUrl(f"the provider's address {shown!r} holds characters that no address has")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise BadProviderUrl(f"the provider's address {shown!r} is malformed: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise BadProviderUrl(f"the provider's address {shown!r} is not http:// or https:// with a host")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise BadProviderUrl(f"the provider's address {shown!r} has a user name, a query or a fragment")
    if (objection := reach.objection(parts.hostname)) is not None:
        raise BadProviderUrl(f"the provider's address {shown!r} is refused: {objection}")
    return text.rstrip("/")


@dataclass(frozen=True, slots=True)
class Report:
    """What a provider says of one deal: how far it is, or why it does not take it.

    ``publishing``: the result is rendered and is being stored, copied and read back. ``left_s``: how long it
    expects the rendering to take still.
    """

    progress: Progress | None
    refused: str | None = None
    publishing: bool = False
    left_s: float | None = None


class ProviderStatus:
    """Asks providers' nodes what became of a deal, within reach. ``close`` it when done."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._session: aiohttp.ClientSession | None = None

    async def report(self, url: str, job_id: JobId, deal_id: DealId) -> Report | None:
        """Return what the provider says of a deal, or None if it says nothing in a form we understand.

        ``job_id`` is the provider's name of the job; what it says there of another deal is left out.
        """
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=self._reach.connector(),
                timeout=aiohttp.ClientTimeout(total=POLL_TIMEOUT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            )
        address = f"{url}/api/v1/jobs/{job_id}"
        try:
            async with self._session.get(address, allow_redirects=False) as response:
                if response.status != 200:
                    return None
                body = await _read_bounded(response.content)
        except (aiohttp.ClientError, OSError, ValueError):
            return None
        return None if body is None else read_report(body, deal_id)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


async def _read_bounded(content: aiohttp.StreamReader) -> bytes | None:
    body = b""
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > MAX_REPLY_BYTES:
            return None
    return body


def read_report(body: bytes, deal_id: DealId) -> Report | None:
    """Return what a job's status document says of a deal, or None if it does not speak of it."""
    try:
        document = read_json(body)
    except ValueError:
        return None
    if not isinstance(document, dict) or document.get("deal_id", deal_id) != deal_id:
        return None
    refused = None
    if document.get("phase") == Phase.REFUSED:
        reason = document.get("reason")
        refused = printable(reason, 200) if isinstance(reason, str) else "it gives no reason"
    publishing = document.get("phase") in [*BETWEEN]
    progress = None if publishing else _progress(document.get("progress"))
    return Report(progress, refused, publishing, _left_s(document.get("estimate")))


def _progress(progress: object) -> Progress | None:
    if not isinstance(progress, dict):
        return None
    stage, fraction = progress.get("stage"), progress.get("fraction")
    step, steps = _count(progress.get("step")), _count(progress.get("steps"))
    if not isinstance(stage, str) or step is None or steps is None:
        return None
    share = _number(fraction)
    if share is None:
        return None
    return Progress(printable(stage, 40), min(step, steps), steps, min(max(share, 0.0), 1.0))


def _left_s(estimate: object) -> float | None:
    left_s = _number(estimate.get("left_s")) if isinstance(estimate, dict) else None
    return None if left_s is None else min(max(left_s, 0.0), MAX_LEFT_S)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # A whole number may be too large for a float.
    return float(value) if -MAX_NUMBER < value < MAX_NUMBER else None


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_STEPS:
        return None
    return value

"""What a provider says of itself over HTTP: where its gateway is and how far the job is.

Nothing here is believed: addresses are checked before they are used, answers are bounded in time and size,
numbers are clamped and text is made safe to print. The outcome of a job never depends on it.
"""

import math
from urllib.parse import urlsplit

import aiohttp

from node.errors import NodeError
from node.job.progress import Progress
from node.requester.foreign_json import read_json
from node.requester.steps import printable

MAX_URL_CHARACTERS = 256
MAX_REPLY_BYTES = 64 * 1024
MAX_STEPS = 1_000_000
POLL_TIMEOUT_S = 3.0


class BadProviderUrl(NodeError):
    """The address a provider published is not one to connect to."""


def gateway_url(text: str) -> str:
    """Return the provider's public address without a trailing slash. Raises BadProviderUrl.

    Allowed are http and https with a host and an optional port and path: no user name, query or fragment.
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
    return text.rstrip("/")


class ProviderStatus:
    """Asks providers' nodes for the progress of a job. ``close`` it when done."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def progress(self, url: str, job_number: int) -> Progress | None:
        """Return how far the job is, or None if the provider does not say so in a form we understand."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=POLL_TIMEOUT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            )
        address = f"{url}/api/v1/jobs/j{job_number}"
        try:
            async with self._session.get(address, allow_redirects=False) as response:
                if response.status != 200:
                    return None
                body = await _read_bounded(response.content)
        except (aiohttp.ClientError, OSError, ValueError):
            return None
        return None if body is None else read_progress(body)

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


def read_progress(body: bytes) -> Progress | None:
    """Return the progress in a job's status document, or None if there is none."""
    try:
        document = read_json(body)
    except ValueError:
        return None
    progress = document.get("progress") if isinstance(document, dict) else None
    if not isinstance(progress, dict):
        return None
    stage, fraction = progress.get("stage"), progress.get("fraction")
    step, steps = _count(progress.get("step")), _count(progress.get("steps"))
    if not isinstance(stage, str) or step is None or steps is None:
        return None
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not math.isfinite(fraction):
        return None
    return Progress(printable(stage, 40), min(step, steps), steps, min(max(float(fraction), 0.0), 1.0))


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_STEPS:
        return None
    return value

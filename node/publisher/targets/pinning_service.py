"""A remote service that fetches and pins results, asked by the IPFS Pinning Service API, version 1.

The service fetches from the peers it is told (``origins``) or finds; nothing is uploaded. A request that was
made before this process died is found again by its CID and followed, never made twice.
Source: the IPFS Pinning Service API specification 1.0.0 (PinStatus, Failure, pagination, statuses).
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol
from urllib.parse import quote

import aiohttp

from node.chain.keystore import Password
from node.clock import Clock
from node.errors import NodeError, Unreachable
from node.job.foreign_json import read_json
from node.publisher.cid import BlockId
from node.publisher.dag import BlockSource
from node.publisher.targets.target import TargetBusy, TargetRefuses, retry_after_s, said
from node.types import JobId

MAX_ADDRESSES = 20
"""Of origins and of delegates, by the specification."""

STATUSES = ("queued", "pinning", "pinned", "failed")
_MAX_ANSWER_BYTES = 256 * 1024
_FIRST_POLL_S, _LONGEST_POLL_S = 1.0, 30.0
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,256}")
_DELEGATE = re.compile(r"(?:/[0-9A-Za-z.:_-]{1,253}){2,12}/p2p/[0-9A-Za-z]{20,100}")
_MEET_S = 10.0
_TIMEOUT = aiohttp.ClientTimeout(total=60.0, sock_connect=10.0)


class Peer(Protocol):
    """This node's own libp2p peer; ``EmbeddedNode``."""

    def addresses(self) -> tuple[str, ...]:
        """Return the multiaddresses under which it is reached, none while it is down."""
        ...

    async def connect(self, address: str) -> str:
        """Connect to a peer and return its id. Raises a NodeError."""
        ...


class PinningServiceTarget:
    """One service at ``endpoint``, without a slash at its end. Meets ``Target``.

    ``origins`` are multiaddresses of peers that have the results; if there are none, those of ``peer``.
    """

    def __init__(
        self,
        name: str,
        endpoint: str,
        token: Password,
        *,
        origins: Sequence[str],
        peer: Peer | None,
        clock: Clock,
    ) -> None:
        self.name = name
        self._endpoint = endpoint
        self._token = token
        self._origins = origins
        self._peer = peer
        self._clock = clock

    async def put(
        self,
        job_id: JobId,
        root: BlockId,
        store: BlockSource,  # noqa: ARG002 - the service fetches by itself
    ) -> None:
        """Ask for a pin and wait until the service has the whole DAG. Raises as ``Target.put``."""
        async with self._session() as session:
            found = await self._find(session, root)
            if found is None or found["status"] == "failed":
                wish = {"cid": root.to_cid(), "name": f"sdv-node {job_id}", "origins": self._told_origins()}
                path = "pins" if found is None else f"pins/{_path_of(found)}"
                found = self._checked(await self._ask(session, "POST", path, body=wish), root)
                await self._meet(found.get("delegates"))
            pause_s = _FIRST_POLL_S
            while found["status"] in {"queued", "pinning"}:
                await self._clock.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_POLL_S)
                found = self._checked(await self._ask(session, "GET", f"pins/{_path_of(found)}"), root)
            if found["status"] == "failed":
                raise Unreachable(f"{self.name} could not pin {root}: {_why(found)}")

    async def holds(self, root: BlockId) -> bool:
        """Return whether the service says that it has pinned the whole DAG."""
        async with self._session() as session:
            found = await self._find(session, root)
            return found is not None and found["status"] == "pinned"

    async def ask_nothing(self) -> None:
        """See whether the service answers and takes the token. Raises as ``put``."""
        async with self._session() as session:
            await self._ask(session, "GET", "pins", {"limit": "1"})

    async def _find(self, session: aiohttp.ClientSession, root: BlockId) -> dict[str, Any] | None:
        """Return the newest request for this CID that did not fail, else a failed one, else None."""
        query = {"cid": root.to_cid(), "status": ",".join(STATUSES), "limit": "10"}
        answer = await self._ask(session, "GET", "pins", query)
        results = answer.get("results")
        if not isinstance(results, list):
            raise TargetRefuses(f"{self.name} does not answer as a pinning service: check its endpoint")
        found = [self._checked(result, root) for result in results[:10]]
        alive = [result for result in found if result["status"] != "failed"]
        return next(iter([*alive, *found]), None)

    def _told_origins(self) -> list[str]:
        known = self._origins or (self._peer.addresses() if self._peer is not None else ())
        return [*known][:MAX_ADDRESSES]

    async def _meet(self, delegates: object) -> None:
        """Connect to the service's own peers, so that they fetch at once; nothing depends on it."""
        if self._peer is None or not isinstance(delegates, list):
            return
        addresses = [
            one for one in delegates[:MAX_ADDRESSES] if isinstance(one, str) and _DELEGATE.fullmatch(one)
        ]
        try:
            async with asyncio.timeout(_MEET_S):
                met = await asyncio.gather(*map(self._peer.connect, addresses), return_exceptions=True)
        except TimeoutError:
            return
        for error in met:
            if isinstance(error, BaseException) and not isinstance(error, NodeError):
                raise error

    def _checked(self, status: object, root: BlockId) -> dict[str, Any]:
        """Return a PinStatus in which all that is used later is as it has to be."""
        pin = status.get("pin") if isinstance(status, dict) else None
        if not isinstance(status, dict) or not isinstance(pin, dict):
            raise TargetRefuses(f"{self.name} does not answer as a pinning service: check its endpoint")
        if (cid := pin.get("cid")) != root.to_cid():
            pinned = said(cid) if isinstance(cid, str) else "nothing that has a CID"
            raise TargetRefuses(f"{self.name} pins {pinned} instead of {root}: that CID is never reported")
        request_id = status.get("requestid")
        if status.get("status") not in STATUSES or not (
            isinstance(request_id, str) and _REQUEST_ID.fullmatch(request_id)
        ):
            raise TargetRefuses(f"{self.name} does not answer as a pinning service: check its endpoint")
        return status

    async def _ask(
        self,
        session: aiohttp.ClientSession,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: object = None,
    ) -> dict[str, Any]:
        data = bytearray()
        try:
            async with session.request(
                method,
                f"{self._endpoint}/{path}",
                params=query,
                data=None if body is None else json.dumps(body).encode(),
                headers={"Content-Type": "application/json"} if body is not None else None,
                allow_redirects=False,
            ) as answer:
                async for piece in answer.content.iter_any():
                    data += piece
                    if len(data) > _MAX_ANSWER_BYTES:
                        raise TargetRefuses(f"{self.name} answers with more than {_MAX_ANSWER_BYTES} bytes")
                self._check(answer, bytes(data))
        except TimeoutError as error:
            raise Unreachable(f"{self.name} did not answer in time") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unreachable(f"{self.name} broke off ({type(error).__name__})") from error
        try:
            document = read_json(bytes(data))
        except ValueError as error:
            raise TargetRefuses(f"{self.name} does not answer with JSON: check its endpoint") from error
        if not isinstance(document, dict):
            raise TargetRefuses(f"{self.name} does not answer as a pinning service: check its endpoint")
        return document

    def _check(self, answer: aiohttp.ClientResponse, data: bytes) -> None:
        status = answer.status
        if status in {200, 202}:
            return
        told = _failure(data)
        if status in {401, 403}:
            raise TargetRefuses(f"{self.name} does not take the token: check its token_file. {told}".rstrip())
        if status in {402, 409, 413}:
            raise TargetRefuses(f"{self.name} answers {status}: see what its account allows. {told}".rstrip())
        if status == 429:
            wait_s = retry_after_s(answer.headers.get("Retry-After"))
            raise TargetBusy(f"{self.name} asks for {wait_s:g} s between requests", wait_s)
        if status >= 500:
            raise Unreachable(f"{self.name} answers {status}. {told}".rstrip())
        raise TargetRefuses(f"{self.name} answers {status}: check its endpoint. {told}".rstrip())

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[aiohttp.ClientSession]:
        async with aiohttp.ClientSession(
            timeout=_TIMEOUT,
            headers={"Authorization": f"Bearer {self._token.reveal()}", "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        ) as session:
            yield session


def _path_of(status: Mapping[str, Any]) -> str:
    return quote(str(status["requestid"]), safe="")


def _why(status: Mapping[str, Any]) -> str:
    info = status.get("info")
    return said(json.dumps(info)) if info else "it does not say why"


def _failure(data: bytes) -> str:
    try:
        document = read_json(data)
    except ValueError:
        return ""
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        return ""
    return f"It says: {said(error.get('details') or error.get('reason') or '')}"

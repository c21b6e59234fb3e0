"""A signer in another process or on another machine, asked over JSON-RPC. The key never comes here.

Speaks to signers with the methods of Ethereum nodes (``eth_signTransaction``: Web3Signer) and with Clef's own
(``account_signTransaction``); which one it is shows in the first answer. What comes back is checked by
whoever asked (``payload.check_signed``). Facts: Ethereum JSON-RPC, Clef's external API, EIP-1474 error codes.
"""

import asyncio
import json
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import structlog

from node.chain.hexadecimal import data as hex_bytes
from node.errors import Misconfigured, RefusedByPolicy, Retryable, Unreachable
from node.job.foreign_json import read_json
from node.types import Address

TIMEOUT_S = 120.0
"""A signer may wait for a person or for a slow device."""

_CONNECT_S = 5.0
_MAX_REPLY_BYTES = 256 * 1024
_MAX_SAID = 200
_METHOD_NOT_FOUND = -32601
# EIP-1474: internal error, resource unavailable, limit exceeded. Everything else is the signer's decision.
_PASSING = frozenset({-32603, -32002, -32005})
_FLAVOURS = (
    ("eth_signTransaction", "eth_sign"),
    ("account_signTransaction", "account_signData"),
)


class RemoteSigner:
    """Signs by asking ``url`` (http, https, or unix for a socket) for the account's signature.

    Only the signer's host is ever shown: its address may hold a password or a token.
    """

    def __init__(self, url: str, address: Address, *, timeout_s: float = TIMEOUT_S) -> None:
        parts = urlsplit(url)
        if parts.scheme == "unix" and parts.path:
            self._socket: Path | None = Path(parts.path)
            self.name = f"unix://{parts.path}"
        elif parts.scheme in {"http", "https"} and parts.hostname:
            self._socket = None
            self.name = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
        else:
            raise Misconfigured("wallet.remote_signer must begin with http://, https:// or unix:///")
        self._url = url
        self._address = Address(address.lower())
        self._timeout_s = timeout_s
        self._methods: tuple[str, str] | None = None
        self._ids = count(1)
        self._silent = False
        self._log = structlog.get_logger()

    @property
    def address(self) -> Address:
        """The account, in lower case."""
        return self._address

    async def sign(self, tx: dict[str, Any]) -> bytes:
        """Return what the signer says are the raw signed bytes.

        Raises RefusedByPolicy in the signer's words if it refuses, Unreachable (to be tried again) if it does
        not answer in time or answers nonsense.
        """
        request = {
            "from": self._address,
            "to": "0x" + bytes(tx["to"]).hex(),
            "data": "0x" + bytes(tx["data"]).hex(),
            **{
                name: hex(tx[name])
                for name in ("chainId", "nonce", "value", "gas", "maxFeePerGas", "maxPriorityFeePerGas")
            },
        }
        answer = await self._ask(0, [request], [request])
        # An Ethereum node gives the bytes themselves or, like Clef, an object that holds them.
        raw = answer.get("raw") if isinstance(answer, dict) else answer
        return self._bytes(raw, "a transaction")

    async def sign_message(self, message: bytes) -> bytes:
        """Return the EIP-191 signature of 65 bytes (r, s, v); raises as ``sign`` does."""
        text = "0x" + message.hex()
        answer = await self._ask(1, [self._address, text], ["text/plain", self._address, text])
        signature = self._bytes(answer, "a message")
        if len(signature) != 65:
            raise Unreachable(f"the signer {self.name} answered with a signature of {len(signature)} bytes")
        # Some signers count the recovery id from 0, the convention counts from 27.
        last = signature[64]
        return signature[:64] + bytes([last + 27 if last < 27 else last])

    def __repr__(self) -> str:
        return f"RemoteSigner({self.name}, {self._address})"

    async def _ask(self, which: int, node_params: list[Any], clef_params: list[Any]) -> Any:
        """Return the result of the signing method the signer has, learning which one that is."""
        try:
            for methods in _FLAVOURS if self._methods is None else (self._methods,):
                params = clef_params if methods is _FLAVOURS[1] else node_params
                answer = await self._request(methods[which], params)
                failure = answer.get("error")
                if not failure:
                    self._methods, self._silent = methods, False
                    return answer.get("result")
                if _code(failure) != _METHOD_NOT_FOUND:
                    raise self._failure(failure)
            raise Misconfigured(
                f"the signer {self.name} signs nothing: it knows neither {_FLAVOURS[0][which]} nor "
                f"{_FLAVOURS[1][which]}, check wallet.remote_signer"
            )
        except Retryable as problem:
            if not self._silent:
                self._silent = True
                self._log.warning("signer_waits", signer=self.name, problem=str(problem))
            raise

    def _failure(self, failure: Any) -> Retryable | RefusedByPolicy:
        said = str(failure.get("message", "") if isinstance(failure, dict) else failure)[:_MAX_SAID]
        if _code(failure) in _PASSING:
            return Unreachable(f"the signer {self.name} cannot sign now: {said!r}")
        return RefusedByPolicy(f"the signer {self.name} refused to sign: {said!r}")

    def _bytes(self, raw: object, what: str) -> bytes:
        try:
            return hex_bytes(raw, "signature")
        except Retryable:
            raise Unreachable(
                f"the signer {self.name} did not answer with the bytes of {what}: check that it is a signer"
            ) from None

    async def _request(self, method: str, params: list[Any]) -> dict[str, Any]:
        number = next(self._ids)
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        problem = ""
        raw = b""
        try:
            async with asyncio.timeout(self._timeout_s):
                raw = await (self._over_socket(request) if self._socket else self._over_http(request))
        except TimeoutError:
            problem = f"no answer within {self._timeout_s:g} s"
        except aiohttp.ClientResponseError as error:
            problem = f"HTTP status {error.status}"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            problem = type(error).__name__
        if problem:
            # Outside the handler: the causes of such errors may show the address with its password.
            raise Unreachable(f"the signer {self.name} cannot be asked ({problem}): check that it runs")
        try:
            answer = read_json(raw)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or answer.get("id") != number:
            raise Unreachable(f"the signer {self.name} answered {method} with something else than JSON-RPC")
        return answer

    async def _over_http(self, request: dict[str, Any]) -> bytes:
        timeout = aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=_CONNECT_S)
        # A connection for each signature: they are rare, and a kept one may be dead when it is needed.
        async with (
            aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session,
            # A redirect would send the transaction, and the password, to where nobody asked for.
            session.post(self._url, json=request, allow_redirects=False) as reply,
        ):
            if "json" not in reply.headers.get("Content-Type", ""):
                reply.raise_for_status()
            return await _at_most(reply.content, _MAX_REPLY_BYTES)

    async def _over_socket(self, request: dict[str, Any]) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self._socket, limit=_MAX_REPLY_BYTES)
        try:
            writer.write(json.dumps(request).encode() + b"\n")
            await writer.drain()
            return await reader.readline()
        finally:
            writer.close()


async def _at_most(content: aiohttp.StreamReader, limit: int) -> bytes:
    raw = bytearray()
    async for part in content.iter_chunked(64 * 1024):
        raw += part
        if len(raw) > limit:
            raise ValueError("the answer is too large")
    return bytes(raw)


def _code(failure: Any) -> int:
    code = failure.get("code") if isinstance(failure, dict) else None
    return code if isinstance(code, int) else 0

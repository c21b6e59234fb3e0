"""Kubo's RPC API through ipfshttpclient's session: calls that block, bounded in time and in what they take.

The library's own ``request`` reads errors and answers without a bound, its ``connect`` refuses every Kubo of
today and its ``dag.imprt`` fails: what is used of it is the client, its session and its multipart encoding.
Facts: Kubo's RPC reference (every call is a POST; errors are JSON with ``Message``), ipfshttpclient 0.7.0.
"""

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import requests
from ipfshttpclient import Client, multipart
from urllib3.connection import HTTPConnection, HTTPSConnection

from node.chain.keystore import Password
from node.errors import Unreachable
from node.job.foreign_json import read_json
from node.publisher.targets.in_thread import Stop
from node.publisher.targets.target import TargetBusy, TargetRefuses, retry_after_s, said

_CHUNK_BYTES = 1 << 20
_CONNECT_S = 10.0
_SILENCE_S = 60.0
_MAX_ANSWER_BYTES = 256 * 1024
_MAX_ERROR_BYTES = 16 * 1024


class Abandoned(Unreachable):
    """The caller gave up while the call was under way."""


class KuboRpc:
    """One daemon at ``api``, an http or https address. ``basic`` is a user and a password.

    A call is silent for ``_SILENCE_S`` at most; its connection is cut when ``stop`` is set. All raise
    Unreachable, TargetBusy or TargetRefuses; no error shows a credential.
    """

    def __init__(
        self, api: str, *, token: Password | None = None, basic: tuple[str, Password] | None = None
    ) -> None:
        parts = urlsplit(api)
        self.shown = f"{parts.scheme}://{parts.hostname}:{parts.port or _port(parts.scheme)}"
        self._api = api
        self._token = token
        self._basic = basic

    def call(self, path: str, params: Mapping[str, str], stop: Stop) -> list[dict[str, Any]]:
        """Return the JSON objects that a call answers with, one from each line."""
        return self._documents(path, params, None, {}, stop)

    def upload(
        self, path: str, params: Mapping[str, str], pieces: Iterable[bytes], stop: Stop
    ) -> list[dict[str, Any]]:
        """Send the pieces as one file, while they come, and return the JSON objects of the answer."""
        file = _File(pieces, stop)
        body, headers = multipart.stream_files(file, chunk_size=_CHUNK_BYTES)
        return self._documents(path, params, body, headers, stop)

    def download(self, path: str, params: Mapping[str, str], stop: Stop) -> Iterator[bytes]:
        """Yield what a call answers with."""
        with self._answer(path, params, None, {}, stop) as answer:
            yield from self._pieces(answer, stop)

    def _documents(
        self,
        path: str,
        params: Mapping[str, str],
        body: Iterable[bytes] | None,
        headers: Mapping[str, str],
        stop: Stop,
    ) -> list[dict[str, Any]]:
        data = bytearray()
        with self._answer(path, params, body, headers, stop) as answer:
            for piece in self._pieces(answer, stop):
                data += piece
                if len(data) > _MAX_ANSWER_BYTES:
                    raise TargetRefuses(f"{self.shown} answers with more than {_MAX_ANSWER_BYTES} bytes")
        try:
            documents = [read_json(line) for line in bytes(data).splitlines() if line.strip()]
        except ValueError as error:
            raise TargetRefuses(f"{self.shown} does not answer as Kubo does: is it a Kubo API?") from error
        if not all(isinstance(document, dict) for document in documents):
            raise TargetRefuses(f"{self.shown} does not answer as Kubo does: is it a Kubo API?")
        for document in documents:
            if document.get("Type") == "error":
                raise Unreachable(f"{self.shown} fails. {_message(document)}")
        return documents

    def _pieces(self, answer: requests.Response, stop: Stop) -> Iterator[bytes]:
        with self._translated():
            for piece in answer.iter_content(_CHUNK_BYTES):
                if stop.is_set():
                    raise Abandoned(f"{self.shown} was given up on")
                yield piece
        # The library ends an answer quietly whose trailer tells of an error: what is missing shows by itself.

    @contextmanager
    def _answer(
        self,
        path: str,
        params: Mapping[str, str],
        body: Iterable[bytes] | None,
        headers: Mapping[str, str],
        stop: Stop,
    ) -> Iterator[requests.Response]:
        if stop.is_set():
            raise Abandoned(f"{self.shown} was given up on")
        client = Client(_multiaddress(self._api), chunk_size=_CHUNK_BYTES, session=True)
        try:
            _, session = client._client._access_session()  # noqa: SLF001 - its public calls have no bounds
            session.trust_env = False
            session.auth = None
            # Its own adapter and its schemes for address families do not fit the urllib3 of today.
            session.family = socket.AF_UNSPEC
            # Even unfollowed, a redirect's whole body would be read, and an odd address in it would raise.
            session.get_redirect_target = lambda _: None
            sent = {**headers, "Accept-Encoding": "identity"}
            if self._token is not None:
                sent["Authorization"] = f"Bearer {self._token.reveal()}"
            auth = None if self._basic is None else (self._basic[0], self._basic[1].reveal())
            with stop.cutting() as add, self._translated():
                for scheme in ("http://", "https://"):
                    session.mount(scheme, _Adapter(add))
                with session.post(
                    f"{self._api}/api/v0/{path}",
                    params=dict(params),
                    data=body,
                    headers=sent,
                    auth=auth,
                    timeout=(_CONNECT_S if body is None else _SILENCE_S, _SILENCE_S),
                    stream=True,
                    allow_redirects=False,
                ) as answer:
                    self._check(answer)
                    yield answer
        finally:
            client.close()

    def _check(self, answer: requests.Response) -> None:
        status = answer.status_code
        if status == 200:
            return
        if status in {401, 403}:
            raise TargetRefuses(
                f"{self.shown} answers {status}: it does not take the node's credentials, "
                "check its token_file, or its user and password_file"
            )
        if status == 413:
            raise TargetRefuses(f"{self.shown} answers 413: raise what the proxy before it takes at once")
        if status in {429, 503}:
            wait_s = retry_after_s(answer.headers.get("Retry-After"))
            raise TargetBusy(f"{self.shown} answers {status}: it asks for {wait_s:g} s", wait_s)
        told = self._told(answer)
        if status >= 500:
            raise Unreachable(f"{self.shown} answers {status}. {told}")
        raise TargetRefuses(f"{self.shown} answers {status}: is it a Kubo API? {told}")

    def _told(self, answer: requests.Response) -> str:
        """Return a sentence with what an error's body says, bounded."""
        data = bytearray()
        for piece in answer.iter_content(4096):
            data += piece
            if len(data) > _MAX_ERROR_BYTES:
                return f"It says more than {_MAX_ERROR_BYTES} bytes about it."
        try:
            return _message(read_json(bytes(data)))
        except ValueError:
            return _message({"Message": bytes(data).decode("utf-8", "replace")})

    @contextmanager
    def _translated(self) -> Iterator[None]:
        # The library's texts hold the whole request: only their kind is told.
        try:
            yield
        except requests.Timeout as error:
            raise Unreachable(f"{self.shown} did not answer in time") from error
        except (requests.RequestException, OSError, ValueError) as error:
            raise Unreachable(f"{self.shown} broke off ({type(error).__name__})") from error


class _Adapter(requests.adapters.HTTPAdapter):
    """Tells ``add`` of each socket, before anything is sent on it."""

    def __init__(self, add: Callable[[socket.socket], None]) -> None:
        self._add = add
        super().__init__()

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Return the pool of connections for a request."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = partial(_Tls if pool.scheme == "https" else _Plain, add=self._add)
        return pool


class _Told:
    def __init__(self, *args: Any, add: Callable[[socket.socket], None], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._add = add

    def _new_conn(self) -> socket.socket:
        connection: socket.socket = super()._new_conn()  # type: ignore[misc] # beside urllib3's classes only
        self._add(connection)
        return connection


class _Plain(_Told, HTTPConnection):
    pass


class _Tls(_Told, HTTPSConnection):
    pass


class _File:
    """A file object over pieces that are made while they are sent. Its relative name is all that is told."""

    name = "result.car"

    def __init__(self, pieces: Iterable[bytes], stop: Stop) -> None:
        self._pieces = iter(pieces)
        self._stop = stop

    def read(self, _size: int) -> bytes:
        """Return the next piece that is not empty, b"" after the last one."""
        if self._stop.is_set():
            raise Abandoned("the upload was given up on")
        return next((piece for piece in self._pieces if piece), b"")


def _message(document: object) -> str:
    message = document.get("Message") if isinstance(document, dict) else None
    told = said(message) if isinstance(message, str) else ""
    return f"It says: {told}" if told else "It does not say why."


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def _multiaddress(api: str) -> str:
    parts = urlsplit(api)
    host = parts.hostname or ""
    kind = "ip6" if ":" in host else "ip4" if host.replace(".", "").isdecimal() else "dns"
    return f"/{kind}/{host}/tcp/{parts.port or _port(parts.scheme)}/{parts.scheme}"

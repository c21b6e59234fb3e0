"""Files from a Hugging Face hub or a mirror of one: pinned revision, resumed, hashed while they arrive.

Only HTTP of the client library is used: its own downloads start anew after an interruption and look for
tokens by themselves. Imports no torch; the client library is part of the extra ``gpu``.
"""

import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

from node import __version__
from node.errors import Fatal, Misconfigured, Unreachable
from node.pipeline.weights.records import read_chunks
from node.pipeline.weights.secrets import CREDENTIAL, VARIABLE, Token
from node.pipeline.weights.sources import PinnedFile, Source

DEFAULT_ENDPOINT = "https://huggingface.co"
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_GIT_BLOB = re.compile(r"[0-9a-f]{40}")
_MAX_GIT_BLOB_BYTES = 64 << 20
_MAX_BYTES = 64 * 10**9
_DENIED = (401, 403)
_GONE = (404, 410)


@dataclass(frozen=True, slots=True)
class Offered:
    """What a hub says of a file: ``sha256`` or ``git_blob`` (the SHA-1 of git), as far as it tells."""

    location: str
    size_bytes: int | None
    sha256: str
    git_blob: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that is here, with the hash of the bytes that were read."""

    file: PinnedFile
    path: Path
    size_bytes: int
    sha256: str


class WrongFile(Fatal):
    """Not the bytes that were pinned. The text names the file, what was expected and what was found."""


def check_endpoint(endpoint: str, token: Token | None) -> str:
    """Return the address of a hub without its trailing slash.

    Raises Misconfigured unless it is http or https, without credentials in it, and fit to be told the token.
    """
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Misconfigured(f"{endpoint!r} is not the address of a hub: https://HOST is expected")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise Misconfigured("the address of a hub holds no credentials or parameters: give a token in a file")
    if token is not None and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise Misconfigured(f"a token is not sent over plain http to {parts.hostname}: use https")
    return endpoint.rstrip("/")


class Hub:
    """A hub or a mirror that speaks the same protocol."""

    def __init__(self, endpoint: str = DEFAULT_ENDPOINT, token: Token | None = None) -> None:
        self.endpoint = check_endpoint(endpoint, token)
        self._token = token
        try:
            from huggingface_hub.utils.tqdm import disable_progress_bars
        except ImportError as error:
            raise Misconfigured(
                "downloads need the packages of the extra gpu: install sdv-node[gpu]"
            ) from error
        disable_progress_bars()
        # Its warnings quote signed addresses.
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)

    def look_up(self, source: Source, file: PinnedFile) -> Offered:
        """Ask for a file's size and hash at the pinned revision.

        Raises Unreachable if the hub does not answer, Fatal if it refuses or lacks the file, WrongFile if it
        offers another one.
        """
        from huggingface_hub.file_download import get_hf_file_metadata, hf_hub_url

        url = hf_hub_url(source.repository, file.path, revision=source.revision, endpoint=self.endpoint)
        metadata = self._ask(
            source,
            file.path,
            lambda: get_hf_file_metadata(url, token=self._secret(), endpoint=self.endpoint),
        )
        etag = str(metadata.etag or "").lower()
        offered = Offered(
            location=str(metadata.location),
            size_bytes=metadata.size,
            sha256=etag if _SHA256.fullmatch(etag) else "",
            git_blob=etag if _GIT_BLOB.fullmatch(etag) else "",
        )
        where = f"{source.repository}/{file.path} at {self.endpoint}"
        if metadata.commit_hash not in {None, source.revision}:
            raise WrongFile(f"{where} is of revision {metadata.commit_hash}, {source.revision} was asked for")
        if file.sha256 and offered.sha256 and offered.sha256 != file.sha256:
            raise WrongFile(f"{where} has SHA-256 {offered.sha256}, expected {file.sha256}")
        if file.size_bytes and offered.size_bytes not in {None, file.size_bytes}:
            raise WrongFile(f"{where} has {offered.size_bytes} bytes, expected {file.size_bytes}")
        if not file.sha256 and not (offered.sha256 or offered.git_blob):
            raise WrongFile(
                f"{where} has no hash that its bytes could be compared with, use another endpoint"
            )
        return offered

    def fetch(
        self,
        source: Source,
        file: PinnedFile,
        offered: Offered,
        target: Path,
        on_bytes: Callable[[int], None],
    ) -> Fetched:
        """Download a file to ``target``, going on where an earlier attempt broke off.

        Raises WrongFile if the bytes are not the expected ones (they are removed), Unreachable if the
        connection breaks for good (they are kept), OSError if the disk fails.
        """
        from huggingface_hub.file_download import http_get

        target.parent.mkdir(parents=True, exist_ok=True)
        size = file.size_bytes or offered.size_bytes
        # A part of other bytes than the ones offered now has another name and is never gone on with.
        mark = (file.sha256 or offered.sha256 or offered.git_blob)[:16]
        partial = target.with_name(f"{target.name}.{mark}.part")
        headers = {"user-agent": f"sdv-node/{__version__}", "accept-encoding": "identity"}
        # A content network gets a signed address and must not see the token.
        if self._token is not None and self._is_own(offered.location):
            headers["authorization"] = f"Bearer {self._token.text}"
        with partial.open("r+b" if partial.exists() else "w+b") as raw:
            sink = _Sink(raw, size or _MAX_BYTES, on_bytes)
            start = sink.resume()
            if size is None or start < size:
                self._ask(
                    source,
                    file.path,
                    lambda: http_get(
                        offered.location,
                        cast("BinaryIO", sink),
                        resume_size=start,
                        headers=headers,
                        expected_size=size,
                    ),
                )
            found = sink.sha256
        expected = file.sha256 or offered.sha256
        count = partial.stat().st_size
        if expected and found != expected:
            partial.unlink()
            raise WrongFile(
                f"{source.repository}/{file.path} from {self.endpoint}: SHA-256 {found} was found and "
                f"{expected} expected: the file was removed, pull again"
            )
        if not expected and (blob := _git_blob(partial)) != offered.git_blob:
            partial.unlink()
            raise WrongFile(
                f"{source.repository}/{file.path} from {self.endpoint}: git blob {blob} was found and "
                f"{offered.git_blob} expected: the file was removed, pull again"
            )
        partial.rename(target)
        return Fetched(file, target, count, found)

    def _secret(self) -> str | bool:
        # False, because with None the library would look for a token of its own.
        return self._token.text if self._token else False

    def _is_own(self, location: str) -> bool:
        there, here = urlsplit(location), urlsplit(self.endpoint)
        return (there.scheme, there.netloc) == (here.scheme, here.netloc)

    def _ask(self, source: Source, name: str, ask: Callable[[], Any]) -> Any:
        """Call the library and say in our words what went wrong.

        The library's errors carry requests with their headers: none of them is chained.
        """
        import httpx2
        from huggingface_hub.errors import (
            FileMetadataError,
            HfHubHTTPError,
            OfflineModeIsEnabled,
        )

        where = f"{source.repository}/{name} at {self.endpoint}"
        try:
            return ask()
        except OfflineModeIsEnabled:
            raise Unreachable(
                "HF_HUB_OFFLINE forbids downloads: unset it, or give a directory with --from"
            ) from None
        except HfHubHTTPError as error:
            status = error.response.status_code
            code = error.response.headers.get("X-Error-Code", "")
        except FileMetadataError:
            raise Fatal(f"{self.endpoint} does not answer as a hub does: check the address") from None
        except httpx2.HTTPError as error:
            raise Unreachable(
                f"{where} was not reached ({type(error).__name__}): what is here is kept, pull again to go on"
            ) from None
        except _TooLong as error:
            raise WrongFile(f"{where}: {error}") from None
        except OSError as error:
            if error.errno is not None:
                raise
            # The library's own complaint that the transfer ended early.
            raise Unreachable(f"{where} ended early: what is here is kept, pull again to go on") from None
        if status in _DENIED or code in {"GatedRepo", "RepoNotFound"}:
            raise Fatal(self._denied(source, status)) from None
        if status in _GONE:
            raise Fatal(f"{where}: there is no such file at revision {source.revision}") from None
        raise Unreachable(f"{where} answered {status}: what is here is kept, pull again to go on") from None

    def _denied(self, source: Source, status: int) -> str:
        steps = (
            f"accept the licence at {source.page}, make a token that may read it"
            if source.gated
            else (f"make a token that may read {source.page}")
        )
        given = f"the token of {self._token.origin} was refused" if self._token else "no token was given"
        return (
            f"{source.repository} is not open to us ({status}, {given}): {steps}, and give it with "
            f"--token-file FILE, the systemd credential {CREDENTIAL} or the environment variable {VARIABLE}"
        )


class _TooLong(Exception):
    """More bytes came than the file has."""


class _Sink:
    """A file that hashes what is written to it and never grows beyond its limit."""

    def __init__(self, file: BinaryIO, limit: int, on_bytes: Callable[[int], None]) -> None:
        self._file = file
        self._limit = limit
        self._on_bytes = on_bytes
        self._digest = hashlib.sha256()
        self._size = 0

    @property
    def sha256(self) -> str:
        """The hash of everything in the file."""
        return self._digest.hexdigest()

    def resume(self) -> int:
        """Hash what an earlier attempt left, and return how much it is."""
        self._file.seek(0, 2)
        if self._file.tell() > self._limit:
            self._file.truncate(0)
        self._file.seek(0)
        while chunk := self._file.read(1 << 20):
            self._count(chunk)
        return self._size

    def write(self, chunk: bytes) -> int:
        """Append a piece."""
        if self._size + len(chunk) > self._limit:
            raise _TooLong(f"more than the {self._limit} bytes that were expected")
        self._file.write(chunk)
        self._count(chunk)
        return len(chunk)

    def tell(self) -> int:
        """Return how much is in the file."""
        return self._size

    def seek(self, place: int) -> int:
        """Begin anew; the only place that is asked for, by a server that cannot go on in the middle."""
        if place != 0:
            raise ValueError("a download begins anew or goes on, nothing else")
        self._on_bytes(-self._size)
        self._digest, self._size = hashlib.sha256(), 0
        return self._file.seek(0)

    def truncate(self) -> int:
        """Cut the file at the place that was sought."""
        return self._file.truncate(self._size)

    def _count(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        self._size += len(chunk)
        self._on_bytes(len(chunk))


def _git_blob(path: Path) -> str:
    """Return the hash by which git, and a hub for its small files, names a content."""
    size = path.stat().st_size
    if size > _MAX_GIT_BLOB_BYTES:
        raise WrongFile(f"{path.name} has {size} bytes and only a git hash: use another endpoint")
    digest = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    for chunk in read_chunks(path):
        digest.update(chunk)
    return digest.hexdigest()

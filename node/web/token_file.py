"""The operator's token: a random text in a file that its owner alone can read.

The file is the truth. It is looked at with every use, so that a new token counts at once, whoever wrote it.
"""

import contextlib
import hmac
import os
import re
import secrets
import stat
from pathlib import Path
from typing import Final

from node.errors import Misconfigured

FILE_NAME: Final = "http-token"
TOKEN_BYTES: Final = 32
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]{32,256}")


class TokenFile:
    """A node's token. No token leaves this class but through ``read``; nothing here goes to a log."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._seen: tuple[int, int, int, int] | None = None
        self._token: str | None = None

    def ensure(self) -> None:
        """Make the file if there is none. Raises Misconfigured if there is one that cannot be used."""
        if not os.path.lexists(self.path):
            self.renew()
        self.read()

    def renew(self) -> str:
        """Put a new token in the place of the old one and return it."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        beside = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}")
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, token.encode() + b"\n")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            beside.replace(self.path)
        except OSError as error:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise Misconfigured(f"the token file {self.path} cannot be written: {error.strerror}") from error
        return token

    def read(self) -> str:
        """Return the token. Raises Misconfigured, saying what is wrong with the file."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise Misconfigured(f"the token file {self.path} cannot be read: {error.strerror}") from error
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Misconfigured(f"the token file {self.path} is not a file: remove it, a new one is made")
            if status.st_mode & 0o077:
                raise Misconfigured(
                    f"others can read the token file {self.path}: chmod 600 it, then make a new token with "
                    "sdv-node dashboard --rotate"
                )
            text = os.read(descriptor, 1024)
        finally:
            os.close(descriptor)
        token = text.decode("ascii", "replace").strip()
        if not _TOKEN.fullmatch(token):
            raise Misconfigured(
                f"the token file {self.path} holds no token: it must be one line of 32 to 256 letters, "
                "digits and ._~+/=-; sdv-node dashboard --rotate writes a new one"
            )
        return token

    def version(self) -> tuple[int, int, int, int] | None:
        """Return what changes whenever the file does, None while it is not to be had."""
        try:
            status = os.lstat(self.path)
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode

    def matches(self, offered: str) -> bool:
        """Whether this is the token. Compared in constant time; an unusable file matches nothing."""
        version = self.version()
        if version is None or version != self._seen:
            self._seen = version
            try:
                self._token = self.read()
            except Misconfigured:
                self._token = None
        return self._token is not None and hmac.compare_digest(self._token.encode(), offered.encode())

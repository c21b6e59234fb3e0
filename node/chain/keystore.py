"""Keys on disk: keystore V3 files (scrypt) and the files that hold their passwords.

Checks that nobody else on the machine can read either. Facts: Web3 Secret Storage Definition, version 3.
"""

import json
import os
import stat
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from eth_account import Account

from node.addresses import NoAddress, parse_address
from node.chain.signer import LocalSigner
from node.errors import Misconfigured
from node.types import Address

SCRYPT_COST = 2**18
"""Memory and time to try one password: 256 MiB, about a second."""

DEVNET_SCRYPT_COST = 2**12
"""For throw-away keys of development networks only."""

_COST_LIMITS = {
    "n": ("a scrypt cost", 2**20),
    "r": ("a scrypt block size", 16),
    "p": ("a scrypt parallelism", 16),
    "c": ("a PBKDF2 count", 10**7),
    "dklen": ("a derived key", 64),
}
_MAX_FILE_BYTES = 16 * 1024
_CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class WrongPassword(Misconfigured):
    """The password does not fit; the text shows neither it nor the key."""


def create_keystore(
    path: Path, password: str, *, key: bytes | None = None, scrypt_cost: int = SCRYPT_COST
) -> Address:
    """Write a keystore with mode 0600 for a new key, or for ``key``, and return its address.

    Raises Misconfigured if the file exists: a key is never overwritten.
    """
    if not password:
        raise Misconfigured("the keystore password is empty: choose one and write it into the password file")
    account = Account.create() if key is None else Account.from_key(key)
    content = json.dumps(account.encrypt(password, kdf="scrypt", iterations=scrypt_cost), indent=2)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise Misconfigured(
            f"{path} exists already: a key is never overwritten, choose another file"
        ) from error
    except OSError as error:
        raise Misconfigured(f"keystore {path} cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return Address(account.address.lower())


def keystore_address(path: Path) -> Address:
    """Return the address a keystore names, without the password."""
    address = _parse_keystore(_read_private(path, "keystore"), path).get("address")
    if not isinstance(address, str):
        raise Misconfigured(f"keystore {path} names no address: import the key again with this version")
    return _normal_address(path, address)


class Password:
    """What opens a keystore; shown by nothing. ``source`` says where it came from."""

    __slots__ = ("__text", "source")

    def __init__(self, text: str, source: str) -> None:
        self.__text = text
        self.source = source

    def reveal(self) -> str:
        """Return the password itself, for the key derivation alone."""
        return self.__text

    def __repr__(self) -> str:
        return f"Password({self.source})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a password cannot be pickled or copied")

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        self.__reduce__()


def read_password(path: Path, *, name: str = "password file", service_credential: bool = False) -> Password:
    """Return the password in a file. Raises Misconfigured if it is missing, or readable by others.

    ``name`` is what the file is called then. systemd gives a service its credentials by access lists, which
    the mode shows as bits of the group.
    """
    forbidden = 0o037 if service_credential else 0o077
    text = _read_private(path, name, forbidden).rstrip("\r\n")
    return Password(text, f"the password in {path}")


def load_signer(path: Path, password: Password) -> LocalSigner:
    """Decrypt a keystore; takes about a second.

    Raises Misconfigured, in words that show neither key nor password, when the file is missing, readable by
    others, damaged, or the password does not fit.
    """
    keystore = _parse_keystore(_read_private(path, "keystore"), path)
    signer = LocalSigner(_decrypt(keystore, path, password))
    named = keystore.get("address")
    if isinstance(named, str) and _normal_address(path, named) != signer.address:
        raise Misconfigured(f"keystore {path} names {named}, but holds the key of {signer.address}")
    return signer


def read_key(path: Path, ask: Callable[[], Password]) -> bytes:
    """Return the key in a file: 32 bytes in hex, or a keystore whose password ``ask`` gives.

    Raises Misconfigured if others can read the file, or if it holds neither.
    """
    return key_from_text(_read_private(path, "key file"), path, ask)


def key_from_text(text: str, source: Path, ask: Callable[[], Password]) -> bytes:
    """Return the key a text holds, see ``read_key``; ``source`` is named in errors, the text never is."""
    if len(text) > _MAX_FILE_BYTES:
        raise Misconfigured(f"{source} is larger than {_MAX_FILE_BYTES} bytes: a key is much shorter")
    stripped = text.strip()
    if stripped.startswith("{"):
        return _decrypt(_parse_keystore(stripped, source), source, ask())
    digits = stripped.removeprefix("0x").removeprefix("0X")
    if len(digits) != 64 or any(digit not in string.hexdigits for digit in digits):
        raise Misconfigured(
            f"{source} holds no key: it must be 64 hex digits, with or without 0x, or a version 3 keystore"
        )
    key = bytes.fromhex(digits)
    if not 0 < int.from_bytes(key) < _CURVE_ORDER:
        raise Misconfigured(f"{source} holds no key: its number is zero or too large, so it opens no account")
    return key


def _decrypt(keystore: dict[str, Any], path: Path, password: Password) -> bytes:
    _check_costs(keystore, path)
    problem: Misconfigured | None = None
    key = b""
    try:
        key = bytes(Account.decrypt(keystore, password.reveal()))
    except ValueError:
        problem = WrongPassword(f"{password.source} does not open keystore {path}")
    except (KeyError, TypeError, NotImplementedError, OverflowError, MemoryError):
        problem = Misconfigured(f"keystore {path} is not a version 3 keystore that this node can read")
    if problem is not None:
        # Outside the handler, so that no traceback carries the frames that held the password.
        raise problem
    return key


def _check_costs(keystore: dict[str, Any], path: Path) -> None:
    """Refuse a file that would have us compute for hours or fill the memory."""
    parameters = keystore["crypto"].get("kdfparams", {})
    if not isinstance(parameters, dict):
        return
    for name, (words, limit) in _COST_LIMITS.items():
        cost = parameters.get(name, 0)
        if not isinstance(cost, int) or not 0 <= cost <= limit:
            raise Misconfigured(f"keystore {path} asks for {words} of {cost!r:.40}, at most {limit} is run")


def _normal_address(path: Path, address: str) -> Address:
    # Keystores mostly leave the 0x out.
    try:
        return parse_address(address if address[:2] in {"0x", "0X"} else f"0x{address}")
    except NoAddress as problem:
        raise Misconfigured(f"keystore {path} names {address!r:.60} as its address: {problem}") from None


def _parse_keystore(text: str, path: Path) -> dict[str, Any]:
    try:
        keystore = json.loads(text)
    except (ValueError, RecursionError):
        raise Misconfigured(f"keystore {path} is not JSON") from None
    if (
        not isinstance(keystore, dict)
        or keystore.get("version") != 3
        or not isinstance(keystore.get("crypto"), dict)
    ):
        raise Misconfigured(f"keystore {path} is not a version 3 keystore")
    return keystore


def _read_private(path: Path, name: str, forbidden: int = 0o077) -> str:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise Misconfigured(f"{name} {path} cannot be read: {error.strerror}") from error
    if mode & forbidden:
        raise Misconfigured(
            f"{name} {path} has mode {mode:04o}: others on this machine can use it, run chmod 600 {path}"
        )
    if len(content) > _MAX_FILE_BYTES:
        raise Misconfigured(f"{name} {path} is larger than {_MAX_FILE_BYTES} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Misconfigured(f"{name} {path} is not UTF-8 text") from None

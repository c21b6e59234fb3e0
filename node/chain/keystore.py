"""Keys on disk: keystore V3 files (scrypt) and the files that hold their passwords.

Checks that nobody else on the machine can read either. Facts: Web3 Secret Storage Definition, version 3.
"""

import json
import os
import stat
from pathlib import Path
from typing import Any

from eth_account import Account

from node.chain.signer import LocalSigner
from node.errors import Misconfigured
from node.types import Address

SCRYPT_COST = 2**18
"""Memory and time to try one password: 256 MiB, about a second."""

DEVNET_SCRYPT_COST = 2**12
"""For throw-away keys of development networks only."""

_MAX_SCRYPT_COST = 2**20
_MAX_FILE_BYTES = 16 * 1024


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
    address = _read_keystore(path).get("address")
    if not isinstance(address, str):
        raise Misconfigured(f"keystore {path} names no address: import the key again with this version")
    return _normal_address(path, address)


def load_signer(path: Path, password_file: Path) -> LocalSigner:
    """Decrypt a keystore; takes about a second.

    Raises Misconfigured, in words that show neither key nor password, when a file is missing, readable by
    others, damaged, or the password does not fit.
    """
    keystore = _read_keystore(path)
    password = _read_private(password_file, "password file").rstrip("\r\n")
    parameters = keystore.get("crypto", {}).get("kdfparams", {})
    cost = parameters.get("n", 0) if isinstance(parameters, dict) else 0
    if not isinstance(cost, int) or cost > _MAX_SCRYPT_COST:
        raise Misconfigured(
            f"keystore {path} asks for a scrypt cost of {cost}, at most {_MAX_SCRYPT_COST} is run"
        )
    problem = ""
    key = b""
    try:
        key = bytes(Account.decrypt(keystore, password))
    except ValueError:
        problem = f"the password in {password_file} does not open keystore {path}"
    except (KeyError, TypeError, NotImplementedError):
        problem = f"keystore {path} is not a version 3 keystore that this node can read"
    if problem:
        # Outside the handler, so that no traceback carries the frames that held the password.
        raise Misconfigured(problem)
    signer = LocalSigner(key)
    named = keystore.get("address")
    if isinstance(named, str) and _normal_address(path, named) != signer.address:
        raise Misconfigured(f"keystore {path} names {named}, but holds the key of {signer.address}")
    return signer


def _normal_address(path: Path, address: str) -> Address:
    digits = address.lower().removeprefix("0x")
    if len(digits) != 40 or any(digit not in "0123456789abcdef" for digit in digits):
        raise Misconfigured(f"keystore {path} names {address!r:.60}, which is not an address")
    return Address("0x" + digits)


def _read_keystore(path: Path) -> dict[str, Any]:
    try:
        keystore = json.loads(_read_private(path, "keystore"))
    except ValueError as error:
        raise Misconfigured(f"keystore {path} is not JSON") from error
    if (
        not isinstance(keystore, dict)
        or keystore.get("version") != 3
        or not isinstance(keystore.get("crypto"), dict)
    ):
        raise Misconfigured(f"keystore {path} is not a version 3 keystore")
    return keystore


def _read_private(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise Misconfigured(f"{name} {path} cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise Misconfigured(
            f"{name} {path} has mode {mode:04o}: others on this machine can use it, run chmod 600 {path}"
        )
    if len(content) > _MAX_FILE_BYTES:
        raise Misconfigured(f"{name} {path} is larger than {_MAX_FILE_BYTES} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Misconfigured(f"{name} {path} is not UTF-8 text") from None

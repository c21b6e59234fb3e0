"""The key that makes this node the same peer after every restart: one file, readable by its owner only.

The file holds the private key as libp2p's ``PrivateKey`` protobuf in base64, the form in which Kubo's
``PrivKey`` has it, so that an identity can be carried from one to the other. Source: the libp2p peer-ids
specification.
"""

import base64
import os
import stat
from pathlib import Path

from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.serialization import deserialize_private_key
from libp2p.peer.id import ID

from node.errors import Misconfigured
from node.publisher.blockstore import sync_folder

MAX_KEY_FILE_BYTES = 8192


def load_or_create(path: Path) -> KeyPair:
    """Return the key in ``path``; the first time, make an Ed25519 key and keep it there.

    Raises Misconfigured if the file is not a key, or if others than its owner can read it.
    """
    try:
        return _read(path)
    except FileNotFoundError:
        _create(path)
        # Read again: if two processes made a key at once, both use the one that got the name.
        return _read(path)


def peer_id_of(key_pair: KeyPair) -> str:
    """Return the peer id as text, the one that stands in multiaddrs."""
    return ID.from_pubkey(key_pair.public_key).to_base58()


def _read(path: Path) -> KeyPair:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Misconfigured(f"the peer key {path} cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise Misconfigured(f"the peer key {path} is open to other users: chmod 600 {path}")
        content = file.read(MAX_KEY_FILE_BYTES)
    try:
        private_key = deserialize_private_key(base64.b64decode(content.strip(), validate=True))
        return KeyPair(private_key, private_key.get_public_key())
    except Exception:  # noqa: BLE001 - each key type fails in its own way, and no message may repeat the key
        raise Misconfigured(
            f"the peer key {path} is damaged: restore it, or remove it to get a new peer id"
        ) from None


def _create(path: Path) -> None:
    content = base64.b64encode(create_new_key_pair().private_key.serialize()) + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)

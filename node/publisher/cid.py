"""Content identifiers in binary and as text.

Knows SHA-256 with the codecs raw and dag-pb, as CIDv1 in base32 and CIDv0 in base58btc; everything else is
refused, because the node could not check it. Beside these stand identity CIDs, which hold their block in
themselves and are only ever read out. Source: the multiformats CID specification and its code table.
"""

import base64
import hashlib
from dataclasses import dataclass

import base58

from node.publisher.errors import InvalidCid
from node.types import Cid

RAW = 0x55
DAG_PB = 0x70
DIGEST_BYTES = 32
_V0_PREFIX = b"\x12\x20"
_V1_PREFIXES = {RAW: bytes((1, RAW)) + _V0_PREFIX, DAG_PB: bytes((1, DAG_PB)) + _V0_PREFIX}
_CODECS = {prefix: codec for codec, prefix in _V1_PREFIXES.items()}
_V0_BYTES = 34
_V1_BYTES = 36
_V0_CHARACTERS = 46
_V1_CHARACTERS = 59
_INLINE_PREFIX = bytes((1, RAW, 0))
_MAX_INLINE_BYTES = 127
"""One byte of length; Kubo and others take 128 at most."""


@dataclass(frozen=True, slots=True)
class BlockId:
    """The identifier of one IPFS block: what it is (codec) and the SHA-256 digest of its bytes."""

    codec: int
    digest: bytes
    version: int = 1

    def to_bytes(self) -> bytes:
        """Return the binary CID, as links and CAR sections hold it."""
        return (_V0_PREFIX if self.version == 0 else _V1_PREFIXES[self.codec]) + self.digest

    def to_cid(self) -> Cid:
        """Return the CID as text."""
        if self.version == 0:
            return Cid(base58.b58encode(self.to_bytes()).decode("ascii"))
        return Cid("b" + base64.b32encode(self.to_bytes()).decode("ascii").lower().rstrip("="))

    def __str__(self) -> str:
        return self.to_cid()


class InlineBlockId(BlockId):
    """An identity CID of codec raw: ``digest`` is the block itself, and it stands in no store."""

    __slots__ = ()

    def to_bytes(self) -> bytes:
        """Return the binary CID."""
        return _INLINE_PREFIX + bytes((len(self.digest),)) + self.digest


def hash_block(codec: int, block: bytes | memoryview, version: int = 1) -> BlockId:
    """Return the identifier that these bytes have under a codec."""
    return BlockId(codec, hashlib.sha256(block).digest(), version)


def read_block_id(data: bytes | memoryview) -> tuple[BlockId, int]:
    """Return the binary CID at the start of ``data`` and its length. Raises InvalidCid."""
    if bytes(data[:2]) == _V0_PREFIX and len(data) >= _V0_BYTES:
        return BlockId(DAG_PB, bytes(data[2:_V0_BYTES]), 0), _V0_BYTES
    codec = _CODECS.get(bytes(data[:4]))
    if codec is None or len(data) < _V1_BYTES:
        raise InvalidCid(
            f"{bytes(data[:_V1_BYTES]).hex()} is no CID this node can check: "
            "allowed are CIDv0 and CIDv1 with codec raw or dag-pb and SHA-256"
        )
    return BlockId(codec, bytes(data[4:_V1_BYTES])), _V1_BYTES


def decode_block_id(data: bytes | memoryview) -> BlockId:
    """Return the binary CID that fills ``data`` exactly. Raises InvalidCid."""
    block_id, length = read_block_id(data)
    if length != len(data):
        raise InvalidCid(f"{len(data) - length} bytes follow the CID {block_id}: there may be none")
    return block_id


def parse_inline_cid(text: str) -> InlineBlockId | None:
    """Return the block that an identity CID in base32 holds, None if the text is no such CID."""
    data = text[1:].upper()
    if not text.startswith("b") or len(text) > 2 * (_MAX_INLINE_BYTES + len(_INLINE_PREFIX)):
        return None
    try:
        binary = base64.b32decode(data + "=" * (-len(data) % 8))
    except ValueError:
        return None
    block_id = InlineBlockId(RAW, binary[len(_INLINE_PREFIX) + 1 :])
    if not binary.startswith(_INLINE_PREFIX) or len(block_id.digest) > _MAX_INLINE_BYTES:
        return None
    return block_id if block_id.to_cid() == text else None


def parse_cid(text: str) -> BlockId:
    """Return the identifier that a CID as text stands for. Raises InvalidCid."""
    try:
        if text.startswith("Qm") and len(text) == _V0_CHARACTERS:
            block_id = decode_block_id(base58.b58decode(text))
        elif text.startswith("b") and len(text) == _V1_CHARACTERS and text.isascii() and text == text.lower():
            block_id = decode_block_id(base64.b32decode(text[1:].upper() + "=" * 6))
        else:
            raise InvalidCid(
                f"{text[:80]!r} is no CID this node can check: "
                "allowed are CIDv1 in lower-case base32 (59 characters) and CIDv0 (46 characters, Qm...)"
            )
    except ValueError as error:
        raise InvalidCid(f"{text!r} is no CID: {error}") from error
    if block_id.to_cid() != text:
        raise InvalidCid(f"{text!r} is no CID in its one canonical form: expected {block_id}")
    return block_id

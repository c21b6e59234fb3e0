"""CAR version 1: a stream of blocks with their CIDs, written and read without holding more than one block.

The reader takes one root, known beforehand, and leaves checking hashes to its caller.
Source: the IPLD CARv1 specification; its header is the DAG-CBOR map of ``roots`` and ``version``.
"""

from collections.abc import Iterable, Iterator

from node.publisher.cid import BlockId, read_block_id
from node.publisher.errors import BadContent, InvalidCid
from node.publisher.varint import MAX_VARINT_BYTES, decode_varint, encode_varint

MEDIA_TYPE = "application/vnd.ipld.car"
_CBOR_MAP_OF_2 = b"\xa2"
_CBOR_ROOTS = b"\x65roots\x81"
_CBOR_CID_TAG = b"\xd8\x2a"
_CBOR_SHORT = 24
"""Byte strings shorter than this have their length in their first byte."""
_CBOR_VERSION_1 = b"\x67version\x01"
_MAX_CID_BYTES = 36


def car_header(root: BlockId) -> bytes:
    """Return the header of a CAR with this one root, its length in front."""
    # In DAG-CBOR a CID is a byte string that starts with the identity multibase prefix, a zero byte.
    link = b"\x00" + root.to_bytes()
    length = bytes((0x40 + len(link),)) if len(link) < _CBOR_SHORT else bytes((0x58, len(link)))
    body = _CBOR_MAP_OF_2 + _CBOR_ROOTS + _CBOR_CID_TAG + length + link + _CBOR_VERSION_1
    return encode_varint(len(body)) + body


def write_car(root: BlockId, blocks: Iterable[tuple[BlockId, bytes]]) -> Iterator[bytes]:
    """Yield a CAR in pieces of at most one block."""
    yield car_header(root)
    for block_id, block in blocks:
        binary = block_id.to_bytes()
        yield encode_varint(len(binary) + len(block)) + binary
        if block:
            yield block


class CarReader:
    """Cuts a CAR that arrives in pieces of any size into its sections."""

    def __init__(self, root: BlockId, *, max_block_bytes: int) -> None:
        self._header: bytes | None = car_header(root)
        self._root = root
        self._max_block_bytes = max_block_bytes
        self._buffer = bytearray()

    def feed(self, piece: bytes) -> Iterator[tuple[BlockId, bytes]]:
        """Yield the sections that this piece completes, hashes unchecked. Raises BadContent."""
        self._buffer += piece
        if self._header is not None:
            if len(self._buffer) < len(self._header):
                return
            if not self._buffer.startswith(self._header):
                raise BadContent(f"this is no CAR of version 1 whose one root is {self._root}")
            del self._buffer[: len(self._header)]
            self._header = None
        while (section := self._section()) is not None:
            yield section

    def finish(self) -> None:
        """Say that no more pieces follow. Raises BadContent if the CAR ends inside a section."""
        if self._header is not None or self._buffer:
            raise BadContent("the CAR is cut off")

    def _section(self) -> tuple[BlockId, bytes] | None:
        start = self._buffer[:MAX_VARINT_BYTES]
        if len(start) < MAX_VARINT_BYTES and all(byte & 0x80 for byte in start):
            return None
        length, offset = decode_varint(start)
        if length > self._max_block_bytes + _MAX_CID_BYTES:
            raise BadContent(f"the CAR has a section of {length} bytes: the limit is {self._max_block_bytes}")
        if len(self._buffer) < offset + length:
            return None
        section = bytes(self._buffer[offset : offset + length])
        del self._buffer[: offset + length]
        try:
            block_id, cid_bytes = read_block_id(section)
        except InvalidCid as error:
            raise BadContent(f"the CAR has a section without a usable CID: {error}") from error
        return block_id, section[cid_bytes:]

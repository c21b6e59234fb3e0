"""Unsigned LEB128 integers as multiformats and protobuf write them.

Strict on purpose: one number has one encoding, so a changed byte can never decode to the same value.
Source: the unsigned-varint specification (shortest form) and protobuf's base-128 encoding, up to 64 bits.
"""

from node.publisher.errors import BadContent

MAX_VARINT_BYTES = 10


def encode_varint(value: int) -> bytes:
    """Return the shortest encoding of a number in [0, 2**64)."""
    if not 0 <= value < 1 << 64:
        raise ValueError(f"a varint holds 0 to 2**64 - 1, got {value}")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_varint(data: bytes | bytearray | memoryview, offset: int = 0) -> tuple[int, int]:
    """Return (value, offset after it). Raises BadContent if it is cut, too long or not in shortest form."""
    value = 0
    for index in range(MAX_VARINT_BYTES):
        if offset + index >= len(data):
            raise BadContent("a number ends before its last byte")
        byte = data[offset + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if byte == 0 and index > 0:
                raise BadContent("a number is not written in its shortest form")
            if value >= 1 << 64:
                raise BadContent("a number is larger than 64 bits")
            return value, offset + index + 1
    raise BadContent("a number is larger than 64 bits")

"""The two wire types of protobuf that IPFS messages use: numbers and byte strings.

Source: the protobuf encoding specification, wire types 0 (VARINT) and 2 (LEN).
"""

from collections.abc import Iterator

from node.publisher.errors import BadContent
from node.publisher.varint import decode_varint, encode_varint

VARINT = 0
BYTES = 2


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (field number, value) in the order they stand. Raises BadContent for what cannot be read."""
    offset = 0
    while offset < len(data):
        tag, offset = decode_varint(data, offset)
        field, wire_type = tag >> 3, tag & 7
        value, offset = decode_varint(data, offset)
        if wire_type == VARINT:
            yield field, value
        elif wire_type == BYTES:
            if value > len(data) - offset:
                raise BadContent(f"field {field} says {value} bytes, {len(data) - offset} are left")
            yield field, data[offset : offset + value]
            offset += value
        else:
            raise BadContent(f"field {field} has wire type {wire_type}: allowed are 0 and 2")


def bytes_field(field: int, value: bytes) -> bytes:
    """Return a byte string or message as a field with a number below 16."""
    return bytes_header(field, len(value)) + value


def bytes_header(field: int, length: int) -> bytes:
    """Return what stands before a byte string of ``length`` bytes, so that large ones need not be copied."""
    return bytes((field << 3 | BYTES,)) + encode_varint(length)


def number_field(field: int, value: int) -> bytes:
    """Return a number in [0, 2**64) as a field with a number below 16."""
    return bytes((field << 3 | VARINT,)) + encode_varint(value)

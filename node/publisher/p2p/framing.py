"""Messages on a stream: a length before each, bounds on how long it is and how long it takes."""

from collections.abc import Callable
from typing import Any, cast

import trio
from libp2p.abc import INetStream
from libp2p.network.stream.exceptions import StreamEOF, StreamReset

from node.publisher.errors import BadContent
from node.publisher.varint import decode_varint

READ_BYTES = 1 << 16
BODY_TIMEOUT_S = 60.0
"""From a message's length to its last byte."""
_MAX_LENGTH_BYTES = 4
# What one yamux frame and one noise message hold: anything larger costs a second, tiny one of each.
_WRITE_BYTES = 65_535 - 16 - 12


class MessageReader:
    """Reads the messages of one stream."""

    def __init__(self, stream: INetStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def next_length(self, limit: Callable[[], int]) -> int | None:
        """Wait for the next message, however long; return its length, or None at the stream's end.

        Raises BadContent if it is longer than ``limit`` allows at that moment.
        """
        while True:
            length = self._take_length()
            if length is not None:
                if length > limit():
                    raise BadContent(f"a message has {length} bytes: allowed are {limit()}")
                return length
            if not await self._fill():
                return None

    async def body(self, length: int) -> bytes:
        """Return the bytes of a message. Raises BadContent if they do not come."""
        with trio.move_on_after(BODY_TIMEOUT_S) as deadline:
            while len(self._buffer) < length:
                if not await self._fill():
                    raise BadContent("the stream ended inside a message")
        if deadline.cancelled_caught:
            raise BadContent(f"a message of {length} bytes took more than {BODY_TIMEOUT_S:.0f} s")
        message = bytes(memoryview(self._buffer)[:length])
        del self._buffer[:length]
        return message

    def _take_length(self) -> int | None:
        end = next((i for i, byte in enumerate(self._buffer[:_MAX_LENGTH_BYTES]) if byte < 0x80), None)
        if end is None:
            if len(self._buffer) >= _MAX_LENGTH_BYTES:
                raise BadContent("the length of a message is not one")
            return None
        length, _ = decode_varint(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        return length

    async def _fill(self) -> bool:
        try:
            data = await self._stream.read(READ_BYTES)
        except (StreamEOF, StreamReset):
            data = await self._rest()
        self._buffer += data
        return bool(data)

    async def _rest(self) -> bytes:
        # Over QUIC py-libp2p can tell of the end before it has given out what came together with the end.
        stream = getattr(self._stream, "muxed_stream", None)
        if not getattr(stream, "_receive_buffer", None):
            return b""
        return bytes(await cast("Any", stream).read(READ_BYTES))


async def write_message(stream: INetStream, message: bytes) -> None:
    """Write a message with its length. Cancelling it leaves the whole connection useless: close it then."""
    for start in range(0, len(message), _WRITE_BYTES):
        await stream.write(message[start : start + _WRITE_BYTES])

"""Agreeing on a stream's protocol with peers that have said all and read nothing, or that say no text.

Kubo sends blocks on a stream that it closes at once. Over QUIC that stops this side's writing before the
protocol is agreed on; py-libp2p then gives up the stream, and what was sent on it is lost.
"""

from typing import Any

from libp2p.abc import IMultiselectCommunicator
from libp2p.custom_types import StreamHandlerFn, TProtocol
from libp2p.protocol_muxer.exceptions import MultiselectCommunicatorError
from libp2p.protocol_muxer.multiselect import DEFAULT_NEGOTIATE_TIMEOUT, Multiselect


class PatientMultiselect(Multiselect):
    """Agrees also when the peer no longer reads the answer."""

    async def negotiate(
        self, communicator: IMultiselectCommunicator, negotiate_timeout: int = DEFAULT_NEGOTIATE_TIMEOUT
    ) -> tuple[TProtocol | None, StreamHandlerFn | None]:
        """Return the protocol that the peer has named, and its handler."""
        return await super().negotiate(_WithoutAnswers(communicator), negotiate_timeout)


class _WithoutAnswers(IMultiselectCommunicator):
    """Reads as ever, and leaves out what the peer would not read."""

    def __init__(self, communicator: IMultiselectCommunicator) -> None:
        self._communicator = communicator

    async def write(self, msg_str: str) -> None:
        if _peer_stopped_reading(self._communicator):
            return
        try:
            await self._communicator.write(msg_str)
        except MultiselectCommunicatorError:
            if not _peer_stopped_reading(self._communicator):
                raise

    async def read(self) -> str:
        try:
            return await self._communicator.read()
        except UnicodeDecodeError as error:
            raise MultiselectCommunicatorError("what the peer names is not UTF-8") from error


def _peer_stopped_reading(communicator: Any) -> bool:
    # The QUIC library knows first, py-libp2p a moment later; writing in between would reset the stream.
    stream = getattr(getattr(communicator, "read_writer", None), "muxed_stream", None)
    if getattr(stream, "_write_closed", False):
        return True
    connection = getattr(getattr(stream, "_connection", None), "_quic", None)
    known = getattr(connection, "_streams", {}).get(int(getattr(stream, "stream_id", -1)))
    return getattr(getattr(known, "sender", None), "_reset_error_code", None) is not None

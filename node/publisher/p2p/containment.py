"""What breaks in py-libp2p because of one peer ends that peer's stream or connection, never the host.

py-libp2p runs the tasks of all peers in nurseries of the host, and lets through what a handler did not
expect: one exception ends every connection. So each of its ways into a nursery is closed here.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

import trio
from libp2p.abc import IMuxedStream
from libp2p.network.connection import swarm_connection
from libp2p.utils.connection_shutdown import is_expected_connection_shutdown

CLOSE_TIMEOUT_S = 2.0

_log = logging.getLogger(__name__)


class Containment:
    """Counts what was contained in one host, and contains what its network starts in the background."""

    def __init__(self) -> None:
        self.faults = 0

    def contain_network(self, network: Any) -> None:
        """Contain the tasks of a network of py-libp2p, from before it runs."""
        network.containment = self
        transports = network.transport_manager
        pass_on = transports.set_background_nursery

        def set_background_nursery(nursery: trio.Nursery) -> None:
            pass_on(_ContainingNursery(nursery, self))

        transports.set_background_nursery = set_background_nursery

    def contain_identify(self, host: Any) -> None:
        """Contain the tasks in which a host of py-libp2p asks peers who they are: system tasks of trio."""
        host._identify_task_entry = self.around(host._identify_task_entry)  # noqa: SLF001 - no other way in

    def around(self, work: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[None]]:
        """Return a function that does the same and raises nothing."""

        async def contained(*arguments: object, **options: object) -> None:
            try:
                await work(*arguments, **options)
            except Exception as error:  # noqa: BLE001 - py-libp2p: those of every layer
                self.note(error)

        return contained

    def note(self, error: Exception) -> None:
        """Count a fault. It is a peer's doing, so it is not news for the log, which peers could fill."""
        if is_expected_connection_shutdown(error):
            return
        self.faults += 1
        _log.debug("contained", exc_info=error)


class _ContainingNursery:
    """The nursery as transports use it."""

    def __init__(self, nursery: trio.Nursery, containment: Containment) -> None:
        self._nursery = nursery
        self._containment = containment

    def start_soon(self, work: Callable[..., Awaitable[object]], *arguments: object) -> None:
        self._nursery.start_soon(self._containment.around(work), *arguments)

    @property
    def cancel_scope(self) -> trio.CancelScope:
        return self._nursery.cancel_scope


class ContainedConn(swarm_connection.SwarmConn):
    """A connection that keeps the faults of its streams to them, and its own to itself."""

    async def start(self) -> None:
        """Handle the peer's streams until the connection ends."""
        try:
            await super().start()
        except Exception as error:  # noqa: BLE001 - as above
            _containment_of(self).note(error)
            # Who adds the connection waits for its start, even if that has failed.
            self.event_started.set()
            await quietly(self.close)

    async def _handle_muxed_stream(self, muxed_stream: IMuxedStream) -> None:
        try:
            await super()._handle_muxed_stream(muxed_stream)
        except Exception as error:  # noqa: BLE001 - as above
            _containment_of(self).note(error)
            await quietly(muxed_stream.reset)


def _containment_of(connection: swarm_connection.SwarmConn) -> Containment:
    return cast("Containment", cast("Any", connection.swarm).containment)


# py-libp2p makes connections by this name; it takes no other class.
swarm_connection.SwarmConn = ContainedConn  # type: ignore[misc]


async def quietly(end: Callable[[], Awaitable[object]]) -> None:
    """Close or reset what may have ended already, in whichever way."""
    with trio.move_on_after(CLOSE_TIMEOUT_S):
        try:
            await end()
        except Exception as error:  # noqa: BLE001 - as above
            _log.debug("ending", exc_info=error)

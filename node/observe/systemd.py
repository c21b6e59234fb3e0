"""Telling systemd how the service is: ready, stopping, status text, watchdog.

Owns the notification protocol of sd_notify(3): one datagram of ``KEY=value`` lines to the socket named by
NOTIFY_SOCKET. Without that variable every call does nothing, so the node runs the same outside systemd.
"""

import os
import socket
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from node.clock import Clock


class Notifier:
    """The service's voice towards systemd."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # "@" marks a socket of the abstract namespace, which the kernel names with a leading zero byte.
        self._address: Final = "\0" + address[1:] if address.startswith("@") else address
        self._log: Final = structlog.get_logger()
        meant_for_us = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environ.get("WATCHDOG_USEC", "")
        self.watchdog_s: Final = int(usec) / 1e6 if address and meant_for_us and usec.isdecimal() else None
        """How often systemd wants to hear from us in seconds; None when it does not watch."""

    def ready(self, status: str = "") -> None:
        """Say that the start is complete. Call it once the node can do its work, not before."""
        self._send("READY=1", *_status(status))

    def stopping(self, status: str = "") -> None:
        """Say that the shutdown has begun."""
        self._send("STOPPING=1", *_status(status))

    def status(self, text: str) -> None:
        """Set the line that ``systemctl status`` shows."""
        self._send(*_status(text))

    def watchdog(self) -> None:
        """Say that the service makes progress."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address or not lines:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.connect(self._address)
                channel.sendall("\n".join(lines).encode())
        except OSError as error:
            # Losing this line must not stop a node that holds deals; systemd acts on the silence itself.
            self._log.warning("systemd_not_notified", problem=str(error), lines=lines)


async def feed_watchdog(notifier: Notifier, is_alive: Callable[[], bool], clock: Clock) -> None:
    """Tell systemd three times per watchdog period that we progress, for as long as ``is_alive`` says so.

    Returns at once when systemd does not watch; otherwise runs until it is cancelled.
    """
    if notifier.watchdog_s is None:
        return
    while True:
        if is_alive():
            notifier.watchdog()
        await clock.sleep(notifier.watchdog_s / 3)


def _status(text: str) -> tuple[str, ...]:
    # A line break would start a new variable of the protocol.
    return (f"STATUS={' '.join(text.split())}",) if text else ()

"""What systemd is told, over a real datagram socket."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from node.observe.systemd import Notifier, feed_watchdog
from tests.fakes.clock import FakeClock


@pytest.fixture(params=["path", "abstract"])
def listening(request, tmp_path: Path):
    name = f"sdv-node-test-{os.getpid()}"
    shown, bound = (f"@{name}", f"\0{name}") if request.param == "abstract" else (str(tmp_path / "n"),) * 2
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service_manager:
        service_manager.bind(bound)
        service_manager.setblocking(False)
        yield shown, service_manager


def heard(service_manager: socket.socket) -> list[bytes]:
    messages = []
    while True:
        try:
            messages.append(service_manager.recv(4096))
        except BlockingIOError:
            return messages


def test_ready_stopping_status_and_watchdog_are_sent_as_the_protocol_says(listening):
    address, service_manager = listening
    notifier = Notifier({"NOTIFY_SOCKET": address})
    notifier.ready("serving on http://127.0.0.1:8470")
    notifier.status("rendering j17")
    notifier.watchdog()
    notifier.stopping()
    assert heard(service_manager) == [
        b"READY=1\nSTATUS=serving on http://127.0.0.1:8470",
        b"STATUS=rendering j17",
        b"WATCHDOG=1",
        b"STOPPING=1",
    ]


def test_a_status_text_cannot_smuggle_in_another_variable(listening):
    address, service_manager = listening
    Notifier({"NOTIFY_SOCKET": address}).status("harmless\nMAINPID=1")
    assert heard(service_manager) == [b"STATUS=harmless MAINPID=1"]


def test_without_systemd_nothing_is_sent_and_nothing_fails():
    notifier = Notifier({})
    notifier.ready()
    notifier.stopping()
    assert notifier.watchdog_s is None


def test_a_socket_that_is_gone_does_not_stop_the_node(tmp_path):
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({"WATCHDOG_USEC": "90000000"}, 90.0),
        ({"WATCHDOG_USEC": "90000000", "WATCHDOG_PID": str(os.getpid())}, 90.0),
        ({"WATCHDOG_USEC": "90000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "rubbish"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_period_is_read_if_it_is_meant_for_this_process(extra, expected):
    assert Notifier({"NOTIFY_SOCKET": "/run/x"} | extra).watchdog_s == expected


async def test_the_watchdog_is_fed_only_while_the_node_makes_progress(listening):
    address, service_manager = listening
    notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "90000000"})
    clock = FakeClock()
    asked = 0
    enough = asyncio.Event()

    def is_alive() -> bool:
        nonlocal asked
        asked += 1
        if asked == 7:
            enough.set()
        return asked not in {3, 4, 7}

    feeding = asyncio.create_task(feed_watchdog(notifier, is_alive, clock))
    await enough.wait()
    feeding.cancel()
    await asyncio.gather(feeding, return_exceptions=True)
    assert len(heard(service_manager)) == 4
    assert set(clock.slept) == {30.0}


async def test_nothing_is_fed_when_systemd_does_not_watch():
    await feed_watchdog(Notifier({}), lambda: True, FakeClock())

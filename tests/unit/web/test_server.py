"""The HTTP port: taking it, refusing with a sentence, and letting go of it in time."""

import asyncio
import socket

import pytest

from node.errors import Misconfigured
from node.web.app import listen, serve, serve_on


async def get(port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_port_zero_is_served_on_a_free_port_that_is_told(app):
    shutdown = asyncio.Event()
    told: asyncio.Future = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(app, "127.0.0.1", 0, shutdown, on_listening=told.set_result))
    listener = await told
    assert listener.port > 0
    assert listener.url == f"http://127.0.0.1:{listener.port}"
    answer = await get(listener.port, "/livez")
    assert answer.startswith(b"HTTP/1.1 200")
    shutdown.set()
    await asyncio.wait_for(serving, 60)


async def test_a_port_in_use_is_one_sentence_that_names_the_port_and_the_setting(app):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(Misconfigured) as refusal:
            await serve(app, "127.0.0.1", port, asyncio.Event())
    assert str(refusal.value) == (
        f"port {port} on 127.0.0.1 is in use by another program: "
        "set http.port to a free port, or stop that program"
    )


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("203.0.113.77", 0, "is not an address of this machine: set http.host"),
        ("no such host", 0, "http.host 'no such host'"),
        ("127.0.0.1", 70000, "http.port 70000 is not a port"),
        ("127.0.0.1", -1, "http.port -1 is not a port"),
    ],
)
def test_an_address_that_cannot_be_had_names_the_setting(host, port, words):
    with pytest.raises(Misconfigured, match=words):
        listen(host, port)


async def test_an_open_live_view_does_not_hold_up_the_shutdown(app):
    listener = listen("127.0.0.1", 0)
    shutdown = asyncio.Event()
    serving = asyncio.create_task(serve_on(app, listener, shutdown))
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await reader.readuntil(b"event: status")
    shutdown.set()
    await asyncio.wait_for(serving, 60)
    writer.close()


async def test_a_reader_that_never_reads_its_answer_does_not_hold_up_the_shutdown(make_app, source):
    source.set_status(modules=["x" * 64] * 500_000)  # more than the buffers of two sockets hold
    app = make_app()
    listener = listen("127.0.0.1", 0)
    shutdown = asyncio.Event()
    serving = asyncio.create_task(serve_on(app, listener, shutdown))
    stalled = socket.create_connection(("127.0.0.1", listener.port))
    stalled.setblocking(False)
    stalled.sendall(b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
    first = await asyncio.get_running_loop().sock_recv(stalled, 16)
    assert first.startswith(b"HTTP/1.1 200")
    shutdown.set()
    await asyncio.wait_for(serving, 30)
    stalled.close()


async def test_the_port_is_free_again_after_the_shutdown(app):
    listener = listen("127.0.0.1", 0)
    shutdown = asyncio.Event()
    serving = asyncio.create_task(serve_on(app, listener, shutdown))
    await get(listener.port, "/livez")
    shutdown.set()
    await asyncio.wait_for(serving, 60)
    listen("127.0.0.1", listener.port).socket.close()

"""The HTTP port: taking it, refusing with a sentence, and letting go of it in time."""

import asyncio
import socket

import pytest

from node.errors import Misconfigured
from node.web import server
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


async def test_the_oldest_connection_that_asks_for_nothing_gives_way_to_a_new_one(app, monkeypatch):
    monkeypatch.setattr(server, "most_connections", lambda: 3)
    listener = listen("127.0.0.1", 0)
    shutdown = asyncio.Event()
    serving = asyncio.create_task(serve_on(app, listener, shutdown))
    stream, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await stream.readuntil(b"event: status")
    slow = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(5)]
    for _, sender in slow:
        sender.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow:")
    async with asyncio.timeout(60):
        for reader, _ in slow[:3]:
            assert await reader.read() == b""
        last, sender = slow[-1]
        sender.write(b" 1\r\nConnection: close\r\n\r\n")
        assert (await last.read()).startswith(b"HTTP/1.1 200")
    assert not stream.at_eof()
    for _, sender in [*slow, (stream, writer)]:
        sender.close()
    shutdown.set()
    await serving


async def test_a_request_whose_headers_never_end_is_cut_off_and_one_too_long_is_refused(app, monkeypatch):
    monkeypatch.setattr(server, "_HEADERS_WITHIN_S", 0.05)
    listener = listen("127.0.0.1", 0)
    shutdown = asyncio.Event()
    serving = asyncio.create_task(serve_on(app, listener, shutdown))
    reader, slow = await asyncio.open_connection("127.0.0.1", listener.port)
    slow.write(b"GET /livez HTTP/1.1\r\nHost:")
    reader_of_long, long = await asyncio.open_connection("127.0.0.1", listener.port)
    long.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 40_000)
    async with asyncio.timeout(60):
        assert await reader.read() == b""
        assert (await reader_of_long.read()).startswith(b"HTTP/1.1 431")
    for sender in (slow, long):
        sender.close()
    shutdown.set()
    await serving


async def test_http_2_is_not_spoken(app):
    listener = listen("127.0.0.1", 0)
    shutdown = asyncio.Event()
    serving = asyncio.create_task(serve_on(app, listener, shutdown))
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n")
    writer.write(b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n")
    answer = await reader.readuntil(b"\r\n\r\n")
    rest = b"" if b" 505 " in answer else await reader.read(200)
    assert b" 200 " not in answer
    assert b"reasons" not in rest
    writer.close()
    shutdown.set()
    await serving

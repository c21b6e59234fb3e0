"""Whose socket is at the other end: the kernel's tables, as text and for real."""

import asyncio
import os
import socket

import pytest

from node.web.local_user import find_owner, is_own_process, plain_address, socket_owner

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
V4 = "   1: 0100007F:C350 0100007F:2116 01 00000000:00000000 00:00000000 00000000  1001        0 {inode} 1\n"
V6 = (
    "   1: 00000000000000000000000001000000:C350 00000000000000000000000001000000:2116 01 "
    "00000000:00000000 00:00000000 00000000  1002        0 77 1\n"
)
MAPPED = V6.replace("00000000000000000000000001000000", "0000000000000000FFFF00000100007F")
PEER, OWN = ("127.0.0.1", 50000), ("127.0.0.1", 8470)


@pytest.mark.parametrize(
    ("table", "peer", "own", "owner"),
    [
        (V4.format(inode=77), PEER, OWN, 1001),
        (V4.format(inode=77), ("::ffff:127.0.0.1", 50000), OWN, 1001),
        (MAPPED, PEER, ("::ffff:127.0.0.1", 8470), 1002),
        (V6, ("::1", 50000), ("::1", 8470), 1002),
        (V4.format(inode=77), OWN, PEER, None),
        (V4.format(inode=77), ("127.0.0.1", 50001), OWN, None),
        (V4.format(inode=0), PEER, OWN, None),
        ("   1: 0100007F\n", PEER, OWN, None),
        (V4.format(inode=77), ("not an address", 50000), OWN, None),
    ],
)
def test_the_owner_stands_in_the_row_of_the_peers_own_open_socket(table, peer, own, owner):
    assert find_owner(HEAD + table, peer, own) == owner


def test_an_address_of_ipv4_that_is_mapped_into_ipv6_is_the_same_address():
    assert str(plain_address("::ffff:127.0.0.1")) == "127.0.0.1"
    assert plain_address("localhost") is None


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_the_kernel_tells_our_own_connections(host):
    seen = asyncio.Queue()

    async def meet(_reader, writer):
        ends = (writer.get_extra_info("peername")[:2], writer.get_extra_info("sockname")[:2])
        seen.put_nowait((*ends, writer))

    try:
        server = await asyncio.start_server(meet, host, 0)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    async with server:
        client = socket.create_connection(server.sockets[0].getsockname()[:2])
        peer, own, writer = await seen.get()
        assert socket_owner(peer, own) == os.geteuid()
        assert is_own_process(peer, own)
        # A stranger that closes at once must not be taken for uid 0, which closed sockets are shown with.
        client.close()
        assert socket_owner(peer, own) is None
        writer.close()
        await writer.wait_closed()

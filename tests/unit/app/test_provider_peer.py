"""What a provider's status says of its IPFS node is used only if it has the form of an address."""

import pytest

from node.app.provider_peer import MAX_ADDRESSES, ProviderPeer, read_addresses, within_reach
from node.destinations import Reach
from node.errors import Unreachable
from tests.ports import free_port

PEER = "12D3KooWJ12p4CUPtB49wvk5tfBNdTv2jL6DKpZSUEsX6opMPaMq"
TCP = f"/ip4/203.0.113.7/tcp/4001/p2p/{PEER}"
QUIC = f"/ip4/203.0.113.7/udp/4001/quic-v1/p2p/{PEER}"


def test_addresses_over_tcp_go_first():
    assert read_addresses({"ipfs": {"addresses": [QUIC, TCP]}}) == (TCP, QUIC)


async def test_on_a_public_market_only_public_addresses_are_dialled():
    private = [f"/ip4/10.0.0.1/tcp/4001/p2p/{PEER}", f"/ip6/::1/tcp/4001/p2p/{PEER}"]
    local = f"/dns4/localhost/tcp/4001/p2p/{PEER}"
    told = {"ipfs": {"addresses": [*private, local, "/ip4/9.9.9.9/tcp/4001/p2p/" + PEER]}}
    addresses = read_addresses(told)
    assert await within_reach(addresses, Reach.ANY) == addresses
    assert await within_reach(addresses, Reach.PUBLIC) == (f"/ip4/9.9.9.9/tcp/4001/p2p/{PEER}",)


async def test_a_provider_that_is_down_is_not_said_to_name_no_node(tmp_path):
    url = f"http://127.0.0.1:{free_port()}"
    async with ProviderPeer(url, tmp_path, Reach.ANY, {}) as peer:
        with pytest.raises(Unreachable, match=f"{url} cannot be reached"):
            await peer.open()


def test_there_are_never_more_than_a_few():
    assert len(read_addresses({"ipfs": {"addresses": [TCP] * 1000}})) == MAX_ADDRESSES


@pytest.mark.parametrize(
    "status",
    [
        None,
        [],
        {},
        {"ipfs": None},
        {"ipfs": {"enabled": False}},
        {"ipfs": {"addresses": "/ip4/1.2.3.4"}},
        {"ipfs": {"addresses": [1, None, {}, "", "/ip4/1.2.3.4/tcp/1", f"http://x/p2p/{PEER}"]}},
        {"ipfs": {"addresses": [f"/unix/tmp/socket/p2p/{PEER}", TCP + "\n", "x" * 10_000]}},
    ],
)
def test_anything_else_is_no_address(status):
    assert read_addresses(status) == ()

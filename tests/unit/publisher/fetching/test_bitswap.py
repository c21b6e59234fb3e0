"""A bitswap peer as a source: whatever is wrong with it is its own trouble, told with its address."""

import pytest

from node.errors import Misconfigured, Unreachable
from node.publisher.cid import RAW, hash_block
from node.publisher.fetching.bitswap import BitswapSource
from node.publisher.fetching.sources import NotHere
from node.publisher.p2p.errors import BlocksNotFound, P2pUnavailable, PeerUnreachable, PortalClosed

ADDRESS = "/ip4/203.0.113.7/tcp/4001/p2p/12D3KooWJ12p4CUPtB49wvk5tfBNdTv2jL6DKpZSUEsX6opMPaMq"
BLOCK = hash_block(RAW, b"block")


class Node:
    def __init__(self, error=None):
        self.error = error

    async def fetch(self, block_ids, peers, sink):
        if self.error is not None:
            raise self.error
        sink(block_ids[0], b"block")


async def test_a_block_is_had():
    assert await BitswapSource(Node(), [ADDRESS]).block(BLOCK) == b"block"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BlocksNotFound("not there"), NotHere),
        (PeerUnreachable("no answer"), Unreachable),
        (P2pUnavailable("starting"), Unreachable),
        (PortalClosed("ended"), Unreachable),
        (Misconfigured("no multiaddress"), Unreachable),
    ],
)
async def test_what_is_wrong_with_a_peer_never_ends_a_download(error, kind):
    with pytest.raises(kind) as raised:
        await BitswapSource(Node(error), [ADDRESS]).block(BLOCK)
    assert type(raised.value) is kind or isinstance(raised.value, PeerUnreachable)
    assert str(error) in str(raised.value)

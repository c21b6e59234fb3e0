"""A download from a gateway and a bitswap peer at once."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from node.app.delivery import GatewayDelivery
from node.destinations import Reach
from node.errors import Unreachable
from node.publisher.blockstore import BlockStore
from node.publisher.cid import parse_cid
from node.publisher.fetch_limits import FetchLimits
from node.publisher.fetching.bitswap import BitswapSource
from node.publisher.fetching.download import fetch
from node.publisher.unixfs import cid_of, import_path
from tests.integration.ipfs.nodes import make_tree, peer, publish, stored

pytestmark = pytest.mark.integration
PEER_ID = "12D3KooWJ12p4CUPtB49wvk5tfBNdTv2jL6DKpZSUEsX6opMPaMq"
BAD_ADDRESS = "/ip4/999.1.1.1/tcp/70000/p2p/12D3KooWnobody"
NOBODY = f"/ip4/127.0.0.1/tcp/9/p2p/{PEER_ID}"


async def test_a_tree_is_downloaded_from_a_peer(tmp_path):
    async with peer(tmp_path / "a") as provider, peer(tmp_path / "b") as requester:
        root = publish(provider, make_tree(tmp_path / "tree"))
        source = BitswapSource(requester, provider.addresses())
        told = []
        await fetch([], root.to_cid(), tmp_path / "copy", on_progress=told.append, peers=[source])
        assert cid_of(tmp_path / "copy") == root.to_cid()
        assert told[-1].blocks == len(stored(provider.store))
        assert (await provider.stats()).served_blocks == len(stored(provider.store))


async def test_a_peer_makes_up_for_a_gateway_that_is_down(tmp_path, unused_tcp_port):
    async with peer(tmp_path / "a") as provider, peer(tmp_path / "b") as requester:
        root = publish(provider, make_tree(tmp_path / "tree"))
        source = BitswapSource(requester, provider.addresses())
        down = f"http://127.0.0.1:{unused_tcp_port}"
        await fetch([down], root.to_cid(), tmp_path / "copy", FetchLimits(attempts=1), peers=[source])
        assert cid_of(tmp_path / "copy") == root.to_cid()


class Provider:
    """A provider's HTTP port: its status names its IPFS node, its gateway does not deliver."""

    def __init__(self, addresses, gateway_status, body=b""):
        self.asked = []

        async def status(request):
            return web.json_response({"ipfs": {"addresses": list(addresses)}})

        async def gateway(request):
            self.asked.append(request.path_qs)
            return web.Response(status=gateway_status, body=body)

        app = web.Application()
        app.router.add_get("/api/v1/status", status)
        app.router.add_get("/ipfs/{cid}", gateway)
        self.server = TestServer(app)


@pytest.mark.parametrize(("status", "body"), [(502, b""), (200, b"a lie")])
async def test_what_a_gateway_does_not_deliver_comes_from_the_peer_that_its_status_names(
    tmp_path, status, body
):
    async with peer(tmp_path / "a") as node:
        root = publish(node, make_tree(tmp_path / "tree"))
        provider = Provider(node.addresses(), status, body)
        async with provider.server as server:
            told = []
            delivery = GatewayDelivery(Reach.ANY, tmp_path / "requester")
            url = str(server.make_url("")).rstrip("/")
            await delivery.fetch(
                url, [], root.to_cid(), tmp_path / "copy", lambda *bytes_: told.append(bytes_)
            )
    assert cid_of(tmp_path / "copy") == root.to_cid()
    assert provider.asked
    assert told[-1][0] == told[-1][1]


@pytest.mark.parametrize(
    "addresses", [[], [BAD_ADDRESS], [NOBODY]], ids=["none", "malformed", "nobody there"]
)
async def test_a_peer_that_cannot_be_asked_is_left_out_by_name(tmp_path, addresses):
    tree = make_tree(tmp_path / "tree")
    store = BlockStore(tmp_path / "store", floor_bytes=0)
    root = import_path(tree, store)
    app = web.Application()

    async def block(request):
        await asyncio.sleep(0.3)
        return web.Response(body=store.get(parse_cid(request.match_info["cid"])))

    async def status(request):
        return web.json_response({"ipfs": {"addresses": addresses}})

    app.router.add_get("/ipfs/{cid}", block)
    app.router.add_get("/api/v1/status", status)
    async with TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")
        with capture_logs() as logs:
            await GatewayDelivery(Reach.ANY, tmp_path / "requester").fetch(
                url, [], root, tmp_path / "copy", lambda *_: None
            )
    assert cid_of(tmp_path / "copy") == root
    dropped = [log for log in logs if log["event"] == "source_dropped"]
    assert [log["source"] for log in dropped] == [f"the IPFS node of {url}"]


async def test_without_peers_a_gateway_that_does_not_deliver_is_unreachable(tmp_path):
    async with peer(tmp_path / "a") as node:
        root = publish(node, make_tree(tmp_path / "tree"))
        async with Provider(node.addresses(), 404).server as server:
            url = str(server.make_url("")).rstrip("/")
            with pytest.raises(Unreachable, match="404"):
                await GatewayDelivery(Reach.ANY).fetch(
                    url, [], root.to_cid(), tmp_path / "copy", lambda *_: None
                )

"""A DHT client that breaks on what a peer answers is replaced, and what was provided is provided again."""

from types import SimpleNamespace

import pytest
import trio
from libp2p.tools.anyio_service import Service

from node.publisher.cid import RAW, hash_block
from node.publisher.p2p import providers

BOOTSTRAP = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWJ12p4CUPtB49wvk5tfBNdTv2jL6DKpZSUEsX6opMPaMq"
BLOCK = hash_block(RAW, b"a block")


class FragileDht(Service):
    """A DHT client that breaks when it is told to."""

    made: list["FragileDht"]

    def __init__(self, host, mode):
        self.told = []
        self.break_now = trio.Event()
        self.made.append(self)

    async def run(self):
        await self.break_now.wait()
        raise LookupError("an answer that was not expected")

    async def add_peer(self, peer_id, *, skip_server_mode_check):
        return True

    async def provide(self, cid):
        self.told.append(cid)
        return True


class QuietHost(SimpleNamespace):
    libp2p = None

    async def connect(self, address):
        return address


@pytest.fixture
def made(monkeypatch):
    FragileDht.made = []
    monkeypatch.setattr(providers, "KadDHT", FragileDht)
    monkeypatch.setattr(providers, "ANEW_AFTER_S", 0)
    return FragileDht.made


def test_a_dht_client_that_breaks_is_replaced_and_told_again_what_was_provided(made):
    async def run():
        subject = providers.Providers(QuietHost(), (BOOTSTRAP,))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(subject.run)
            assert await subject.provide(BLOCK)
            made[0].break_now.set()
            with trio.fail_after(60):
                while len(made) < 2 or not made[1].told:
                    await trio.sleep(0.001)
            assert await subject.provide(BLOCK)
            nursery.cancel_scope.cancel()

    trio.run(run)
    assert made[0].told == [BLOCK.to_cid()]
    assert made[1].told == [BLOCK.to_cid()] * 2

"""Who has to go when too many connections have not shown yet who they are."""

import pytest
import trio
import trio.testing

from node.publisher.p2p import inbound
from node.publisher.p2p.inbound import Inbound


class Socket:
    """A connection from an address; whether it was closed."""

    def __init__(self, address):
        self._address = address
        self.closed = False

    def get_remote_address(self):
        return (self._address, 4001)

    async def close(self):
        await trio.lowlevel.checkpoint()
        self.closed = True


class Peer(Socket):
    """What a handshake makes of a connection."""

    peer_id = "somebody"

    @property
    def muxed_conn(self):
        return self


class Network:
    """Finishes the handshakes of those who are not silent."""

    def __init__(self):
        self.connections = []

    async def upgrade_inbound_raw_conn(self, raw, listening_on):
        if raw.stream.silent:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        peer = Peer(raw.stream.get_remote_address()[0])
        self.connections.append(peer)
        return peer

    def get_connections(self, peer_id):
        return self.connections


def arrivals(*addresses, silent=True):
    made = [Socket(address) for address in addresses]
    for one in made:
        one.silent = silent
    return made


def after(monkeypatch, scene, *, per_address=2, unfinished=4, connections=10):
    """Let sockets come one after another and return once everything has settled."""
    monkeypatch.setattr(inbound, "MAX_UNFINISHED_PER_ADDRESS", per_address)
    monkeypatch.setattr(inbound, "MAX_UNFINISHED", unfinished)
    network = Network()
    subject = Inbound(network, connections)

    async def run():
        async with trio.open_nursery() as nursery:
            for one in scene:
                nursery.start_soon(subject.handle, one, None)
                await trio.testing.wait_all_tasks_blocked()
            told = [one.closed for one in scene]
            nursery.cancel_scope.cancel()
        return told

    return trio.run(run), network


def test_an_address_that_has_used_up_its_share_is_refused(monkeypatch):
    scene = arrivals("10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2")
    assert after(monkeypatch, scene)[0] == [False, False, True, False]


def test_silent_connections_of_many_addresses_keep_nobody_out(monkeypatch):
    mob = arrivals(*(f"10.0.0.{n // 2}" for n in range(4)))
    honest = arrivals("192.0.2.1", silent=False)
    closed, network = after(monkeypatch, mob + honest)
    assert closed == [True, False, False, False, False]
    assert [one.get_remote_address()[0] for one in network.connections] == ["192.0.2.1"]


def test_an_address_with_one_handshake_is_not_the_one_that_makes_room(monkeypatch):
    scene = arrivals("192.0.2.1", "10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.3")
    assert after(monkeypatch, scene)[0] == [False, True, False, False, False]


@pytest.mark.parametrize(("connections", "let_in"), [(1, 1), (10, 3)])
def test_who_has_shown_who_he_is_is_never_put_out_for_another(monkeypatch, connections, let_in):
    scene = arrivals("10.0.0.1", "10.0.0.2", "10.0.0.3", silent=False)
    closed, _ = after(monkeypatch, scene, connections=connections)
    assert closed == [False] * let_in + [True] * (3 - let_in)

"""Over several endpoints: at which block state is read, which reads stay together, who gets signed bytes."""

import asyncio

import pytest

from node.chain.client import Chain
from node.chain.hexadecimal import BadReply
from node.chain.jsonrpc import EndpointLost, RpcError
from node.errors import Unreachable
from tests.fakes.endpoints import DEAD, World


class TestStateReads:
    """State is read at a numbered block that is never older than one that was seen."""

    async def test_latest_becomes_the_newest_block_seen(self):
        world = World(1)
        await world.pool.call("eth_call", [{"to": "0x"}, "latest"])
        await world.pool.call("eth_getBalance", ["0x", "latest"])
        await world.pool.call("eth_estimateGas", [{"to": "0x"}])
        assert world.endpoints[0].asked == [
            ("eth_getBlockByNumber", ["latest", False]),
            ("eth_call", [{"to": "0x"}, "0x64"]),
            ("eth_getBalance", ["0x", "0x64"]),
            ("eth_estimateGas", [{"to": "0x"}, "0x64"]),
        ]

    async def test_numbers_hashes_and_pending_stay_as_they_are(self):
        world = World(1)
        for block in ("0x5", "pending", {"blockHash": "0x"}):
            await world.pool.call("eth_getTransactionCount", ["0x", block])
        assert [params[1] for _, params in world.endpoints[0].asked] == [
            "0x5",
            "pending",
            {"blockHash": "0x"},
        ]

    async def test_the_head_is_asked_for_again_after_a_second(self):
        world = World(1)
        await world.pool.call("eth_getBalance", ["0x", "latest"])
        world.grow()
        world.clock.time += 1.5
        await world.pool.call("eth_getBalance", ["0x", "latest"])
        assert world.endpoints[0].asked[-1] == ("eth_getBalance", ["0x", "0x65"])

    async def test_a_lagging_machine_does_not_set_the_reads_back(self):
        world = World(1)
        chain = Chain(world.pool)
        await chain.head()
        world.endpoints[0].head = 80
        await chain.head()
        await world.pool.call("eth_getBalance", ["0x", "latest"])
        assert world.endpoints[0].asked[-1] == ("eth_getBalance", ["0x", "0x64"])

    async def test_a_receipt_shows_a_newer_block(self):
        world = World(1)
        await world.pool.call("eth_getBalance", ["0x", "latest"])
        world.endpoints[0].answers["eth_getTransactionReceipt"] = {"blockNumber": "0x66"}
        await world.pool.call("eth_getTransactionReceipt", ["0x"])
        await world.pool.call("eth_getBalance", ["0x", "latest"])
        assert world.endpoints[0].asked[-1] == ("eth_getBalance", ["0x", "0x66"])

    async def test_a_height_that_nobody_reaches_again_is_forgotten(self):
        world = World(1)
        chain = Chain(world.pool)
        await chain.head()
        world.endpoints[0].head = 50
        for _ in range(4):
            world.clock.time += 100
            await chain.head()
        await world.pool.call("eth_getBalance", ["0x", "latest"])
        assert world.endpoints[0].asked[-1] == ("eth_getBalance", ["0x", "0x32"])


class TestPinned:
    """Reads that belong together come from one endpoint."""

    async def test_a_view_stays_with_its_endpoint(self):
        world = World()
        view = world.pool.pinned()
        await view.call("eth_x", [])
        world.endpoints[0].next.append(RpcError(-32000, "header not found"))
        assert await view.call("eth_x", []) == "https://e0"
        assert world.endpoints[1].asked == []

    async def test_a_view_whose_endpoint_fails_says_that_another_is_there(self):
        world = World()
        view = world.pool.pinned()
        world.endpoints[0].down = DEAD
        with pytest.raises(EndpointLost):
            await view.call("eth_x", [])
        assert await world.pool.pinned().call("eth_x", []) == "https://e1"

    async def test_without_another_endpoint_the_failure_itself_is_told(self):
        world = World(1)
        world.endpoints[0].down = DEAD
        with pytest.raises(Unreachable) as caught:
            await world.pool.pinned().call("eth_x", [])
        assert caught.value is DEAD

    async def test_an_endpoint_whose_logs_do_not_fit_is_passed_over(self):
        world = World()
        world.endpoints[0].answers["eth_getLogs"] = [{"address": "0x"}]
        with pytest.raises(BadReply):
            await Chain(world.pool).logs(1, 2, [], [])
        assert world.states() == ["failing", "new"]


class TestBroadcast:
    """Signed bytes go to every sound endpoint; the first acceptance counts."""

    async def test_every_sound_endpoint_gets_the_same_bytes(self):
        world = World(3)
        world.endpoints[2].down = DEAD
        with pytest.raises(Unreachable):
            await world.pool.attempt(world.pool.endpoints[2], "eth_x", [])
        await world.pool.call("eth_sendRawTransaction", ["0xab"])
        await world.pool.close()
        sent = [("eth_sendRawTransaction", ["0xab"]) in endpoint.asked for endpoint in world.endpoints]
        assert sent == [True, True, False]

    @pytest.mark.parametrize("lie", ["nonce too low", "transaction underpriced", "already known"])
    async def test_a_lie_does_not_outweigh_an_acceptance(self, lie: str):
        world = World()
        world.endpoints[0].down = RpcError(-32000, lie)
        assert await world.pool.call("eth_sendRawTransaction", ["0xab"]) == "https://e1"

    async def test_a_silent_endpoint_is_not_waited_for(self):
        world = World()
        world.endpoints[0].hangs = asyncio.Event()
        assert await world.pool.call("eth_sendRawTransaction", ["0xab"]) == "https://e1"
        await world.pool.close()

    async def test_without_an_acceptance_being_known_already_says_most(self):
        world = World()
        world.endpoints[0].down = RpcError(-32000, "transaction underpriced")
        world.endpoints[1].down = RpcError(-32000, "already known")
        with pytest.raises(RpcError, match="already known"):
            await world.pool.call("eth_sendRawTransaction", ["0xab"])

    async def test_when_nobody_answers_it_is_unreachable(self):
        world = World()
        for endpoint in world.endpoints:
            endpoint.down = DEAD
        with pytest.raises(Unreachable, match="refused"):
            await world.pool.call("eth_sendRawTransaction", ["0xab"])

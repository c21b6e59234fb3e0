"""The fault-injecting proxy does what it says: otherwise the tests behind it would show nothing."""

import asyncio
import json

import aiohttp
import pytest
import pytest_asyncio

from node.chain.devnet import DEPLOYER, dev_signer
from node.chain.hexadecimal import BadReply
from node.chain.rpc import Rpc, RpcError
from node.errors import Unreachable
from tests.faults.rpc import BEHIND, OTHER_CHAIN, Fault, FaultProxy

pytestmark = pytest.mark.integration
QUERY = {"fromBlock": "0x0", "toBlock": "latest"}


@pytest_asyncio.fixture
async def proxy(devnet):
    async with FaultProxy(devnet.url, seed=1, late_s=0.3) as served:
        yield served


@pytest_asyncio.fixture
async def rpc(proxy):
    client = Rpc(proxy.url, timeout_s=0.2)
    yield client
    await client.close()


async def test_without_faults_it_answers_as_the_endpoint_behind_it(devnet, rpc):
    for method, params in (("eth_chainId", []), ("eth_getLogs", [QUERY])):
        assert await rpc.call(method, params) == await devnet.rpc.call(method, params)


@pytest.mark.parametrize("kind", [Fault.TIMEOUT, Fault.HANG, Fault.HTTP_429, Fault.HTTP_500])
async def test_a_failing_endpoint_gives_no_answer(proxy, rpc, kind):
    proxy.rates = {kind: 1.0}
    with pytest.raises(Unreachable):
        await rpc.call("eth_chainId", [])
    assert proxy.struck == {kind: 1}


async def test_a_cut_answer_is_no_json(proxy, rpc):
    proxy.rates = {Fault.CUT_JSON: 1.0}
    with pytest.raises(BadReply):
        await rpc.call("eth_chainId", [])


async def test_a_struck_connection_reaches_another_chain(proxy, rpc):
    proxy.rates = {Fault.WRONG_CHAIN: 1.0}
    assert int(await rpc.call("eth_chainId", []), 16) == OTHER_CHAIN
    assert await rpc.call("eth_getLogs", [QUERY]) == []


@pytest.mark.parametrize(("kind", "blocks"), BEHIND.items())
async def test_a_lagging_endpoint_sees_one_old_block_in_every_answer(devnet, proxy, rpc, kind, blocks):
    await devnet.mine(blocks + 5)
    head = (await devnet.chain.head()).number
    proxy.rates = {kind: 1.0}
    block = await rpc.call("eth_getBlockByNumber", ["latest", False])
    assert int(block["number"], 16) == head - blocks
    assert await rpc.call("eth_getBlockByNumber", [hex(head), False]) is None
    address = dev_signer(DEPLOYER).address
    old = await devnet.rpc.call("eth_getTransactionCount", [address, hex(head - blocks)])
    assert await rpc.call("eth_getTransactionCount", [address, "latest"]) == old
    with pytest.raises(RpcError, match="header not found"):
        await rpc.call("eth_getTransactionCount", [address, hex(head)])


async def test_logs_are_lost_or_doubled(devnet, proxy, rpc):
    everything = await devnet.rpc.call("eth_getLogs", [QUERY])
    proxy.rates = {Fault.LOGS_MISSING: 1.0}
    assert len(await rpc.call("eth_getLogs", [QUERY])) < len(everything)
    proxy.rates = {Fault.LOGS_TWICE: 1.0}
    assert len(await rpc.call("eth_getLogs", [QUERY])) == 2 * len(everything)


async def test_a_mined_transaction_has_no_receipt_for_a_while(devnet, proxy, rpc):
    sender = dev_signer(DEPLOYER).address
    sent = await devnet.rpc.call("eth_sendTransaction", [{"from": sender, "to": sender, "value": "0x1"}])
    proxy.rates = {Fault.RECEIPT_NULL: 1.0}
    assert await rpc.call("eth_getTransactionReceipt", [sent]) is None
    proxy.rates = {}
    assert (await rpc.call("eth_getTransactionReceipt", [sent]))["transactionHash"] == sent


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Fault.NONCE_TOO_LOW, "nonce too low"),
        (Fault.ALREADY_KNOWN, "already known"),
        (Fault.UNDERPRICED, "underpriced"),
    ],
)
async def test_a_transaction_is_refused_with_a_lie_and_goes_nowhere(proxy, rpc, kind, words):
    proxy.rates = {kind: 1.0}
    with pytest.raises(RpcError, match=words):
        await rpc.call("eth_sendRawTransaction", ["0x00"])


async def test_large_log_queries_are_refused_in_the_given_words(devnet, proxy, rpc):
    await devnet.mine(5)
    proxy.max_log_blocks = 2
    with pytest.raises(RpcError, match="more than 10000 results"):
        await rpc.call("eth_getLogs", [QUERY])
    head = (await devnet.chain.head()).number
    assert await rpc.call("eth_getLogs", [{"fromBlock": hex(head - 1), "toBlock": hex(head)}]) == []


async def test_rates_are_met_and_a_seed_repeats_them(devnet):
    struck = []
    for _ in range(2):
        async with FaultProxy(devnet.url, seed=5) as proxy:
            client = Rpc(proxy.url)
            proxy.rates = {Fault.HTTP_500: 0.2}
            failures = 0
            for _ in range(100):
                try:
                    await client.call("eth_chainId", [])
                except Unreachable:
                    failures += 1
            await client.close()
            struck.append(failures)
    assert struck[0] == struck[1]
    assert 8 < struck[0] < 35


async def test_a_websocket_passes_requests_and_pushes_and_can_be_broken(devnet, proxy):
    async with aiohttp.ClientSession() as session, session.ws_connect(proxy.ws_url) as socket:
        await socket.send_str(
            json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]})
        )
        subscription = (await socket.receive_json(timeout=60))["result"]
        await devnet.mine()
        push = await socket.receive_json(timeout=60)
        assert push["params"]["subscription"] == subscription
        await socket.send_str(json.dumps({"jsonrpc": "2.0", "id": 2, "method": "eth_chainId", "params": []}))
        assert (await socket.receive_json(timeout=60))["result"] == hex(devnet.chain_id)
        await proxy.drop_sockets()
        async with asyncio.timeout(60):
            assert (await socket.receive()).type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}


async def test_it_can_go_away_and_come_back_at_the_same_address(proxy, rpc):
    await proxy.stop()
    with pytest.raises(Unreachable):
        await rpc.call("eth_chainId", [])
    await proxy.start()
    assert await rpc.call("eth_chainId", []) is not None

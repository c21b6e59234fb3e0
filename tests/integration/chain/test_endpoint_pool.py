"""The pool against real endpoints that fail: failover, fail-back, wrong chains, half-open sockets."""

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest
import pytest_asyncio

from node.chain.anvil import Anvil
from node.chain.client import Chain
from node.chain.endpoints import EndpointPool
from node.chain.logs import ConfirmedLogs
from node.chain.rpc import Rpc
from node.chain.survey import Survey, watched
from node.errors import Misconfigured, Unreachable
from tests.fakes.clock import FakeClock
from tests.faults.rpc import Fault, FaultProxy

pytestmark = pytest.mark.integration
ALL = 1.0


@pytest_asyncio.fixture
async def proxies(devnet):
    async with FaultProxy(devnet.url, seed=1) as first, FaultProxy(devnet.url, seed=2) as second:
        yield first, second


@asynccontextmanager
async def opened(*urls, clock=None, **settings):
    pool = EndpointPool(urls, clock=clock, **settings)
    try:
        yield pool
    finally:
        await pool.close()


def states(pool):
    return [report.state for report in pool.reports()]


@pytest.mark.parametrize(
    "kind", [Fault.TIMEOUT, Fault.HANG, Fault.HTTP_429, Fault.HTTP_500, Fault.CUT_JSON, Fault.WRONG_ID]
)
@pytest.mark.parametrize("scheme", ["url", "ws_url"])
async def test_a_failing_endpoint_is_replaced_within_the_call(proxies, kind, scheme):
    first, second = proxies
    first.rates = {kind: ALL}
    async with opened(getattr(first, scheme), second.url, timeout_s=0.3) as pool:
        assert (await Chain(pool).head()).number >= 0
        assert pool.name == second.url
        assert second.struck == {}


async def test_it_comes_back_to_the_preferred_endpoint(proxies):
    first, second = proxies
    clock = FakeClock()
    async with opened(first.url, second.url, clock=clock) as pool:
        survey = Survey(pool, depth=2)
        await first.stop()
        await Chain(pool).head()
        assert pool.name == second.url
        await first.start()
        clock.time += 1
        await survey.look()
        assert states(pool) == ["up", "up"]
        await Chain(pool).head()
        assert pool.name == second.url
        clock.time += 60
        await Chain(pool).head()
        assert pool.name == first.url


async def test_an_endpoint_of_another_chain_is_told_and_never_used(devnet, proxies):
    first, second = proxies
    first.rates = {Fault.WRONG_CHAIN: ALL}
    async with opened(first.url, second.url, chain_id=devnet.chain_id) as pool:
        assert await pool.open() == devnet.chain_id
        assert states(pool) == ["wrong chain", "up"]
        report = pool.reports()[0]
        assert first.url in str(report.problem)
        assert "987654" in str(report.problem)
        await asyncio.gather(*(Chain(pool).head() for _ in range(20)))
        assert first.asked.keys() <= {"eth_chainId"}


async def test_a_connection_that_leads_to_another_chain_gives_no_answer(devnet, proxies):
    first, _ = proxies
    async with opened(first.url, chain_id=devnet.chain_id) as pool:
        chain = Chain(pool)
        await chain.head()
        await first.drop_sockets()
        first.rates = {Fault.WRONG_CHAIN: ALL}
        with pytest.raises(Unreachable, match="serves chain 987654"):
            await chain.head()
        first.rates = {}
        assert (await chain.head()).hash != "0x" + "00" * 32


async def test_when_all_endpoints_are_of_another_chain_the_start_is_refused(devnet, proxies):
    first, second = proxies
    async with opened(first.url, second.ws_url, chain_id=421614) as pool:
        with pytest.raises(Misconfigured) as refused:
            await pool.open()
    for told in (first.url, second.ws_url, "421614", str(devnet.chain_id)):
        assert told in str(refused.value)


async def test_an_endpoint_far_behind_is_set_aside(devnet, proxies):
    first, second = proxies
    await devnet.mine(40)
    first.rates = {Fault.HEAD_20: ALL}
    async with opened(first.url, second.url) as pool:
        await Survey(pool, depth=2).look()
        assert states(pool) == ["behind", "up"]
        assert (await Chain(pool).head()).number == (await devnet.chain.head()).number


async def test_two_real_chains_that_disagree_are_both_not_believed(devnet, proxies):
    first, _ = proxies
    other = Anvil(chain_id=devnet.chain_id)
    await other.start()
    rpc = Rpc(other.url)
    try:
        # As long as the first one: a shorter chain would count as an endpoint that lags.
        await rpc.call("anvil_mine", [hex((await devnet.chain.head()).number)])
        async with FaultProxy(other.url) as fork, opened(first.url, fork.url) as pool:
            await Survey(pool, depth=2).look()
            with pytest.raises(Unreachable, match="disagree about block"):
                await Chain(pool).head()
    finally:
        await rpc.close()
        await other.stop()


async def test_a_half_open_socket_is_given_up_and_the_next_one_answers(devnet, proxies):
    first, _ = proxies
    for scheme in (first.url, first.ws_url):
        async with opened(scheme, timeout_s=0.2) as pool:
            await Chain(pool).head()
            first.rates = {Fault.HANG: ALL}
            with pytest.raises(Unreachable, match="did not answer"):
                await Chain(pool).head()
            assert states(pool) == ["failing"]
            first.rates = {}
            await Chain(pool).head()
            assert states(pool) == ["up"]


async def test_a_push_ends_a_wait_and_a_broken_socket_is_made_anew(devnet, proxies):
    first, _ = proxies
    async with opened(first.ws_url) as pool, asyncio.timeout(30), watched(pool, depth=2):
        while first.asked["eth_subscribe"] < 1:
            await asyncio.sleep(0.01)
        await _rings(pool, devnet)
        await first.drop_sockets()
        await pool.bell.wait(20)
        while first.asked["eth_subscribe"] < 2:
            await asyncio.sleep(0.01)
        await _rings(pool, devnet)
        # The pool itself gives a connection up whose endpoint was silent twice.
        await pool.endpoints[0].transport.close()
        while first.asked["eth_subscribe"] < 3:
            await asyncio.sleep(0.01)
        await _rings(pool, devnet)


async def _rings(pool, devnet):
    """Mine until the bell rings: the answer to the subscription may still be on its way."""
    waiting = asyncio.create_task(pool.bell.wait(60))
    while not waiting.done():
        await devnet.mine()
        await asyncio.sleep(0.02)


async def test_without_pushes_a_wait_ends_by_itself(proxies):
    first, _ = proxies
    first.mute_pushes = True
    async with opened(first.ws_url) as pool:
        await pool.bell.wait(0.05)
        assert (await Chain(pool).head()).number >= 0


async def test_a_reply_of_many_megabytes_comes_over_a_websocket(devnet, proxies):
    first, _ = proxies
    return_three_megabytes = "0x63002dc6c06000f3"  # PUSH4 3000000, PUSH1 0, RETURN
    await devnet.rpc.call("anvil_setCode", ["0x" + "77" * 20, return_three_megabytes])
    async with opened(first.ws_url) as pool:
        output = await pool.call("eth_call", [{"to": "0x" + "77" * 20}, "latest"])
        assert output == "0x" + "00" * 3_000_000


@pytest.mark.parametrize(
    "refusal",
    [
        (-32005, "query returned more than 10000 results"),
        (-32614, "eth_getLogs is limited to a 10,000 range"),
        (-32000, "something nobody has heard of"),
    ],
)
async def test_logs_are_read_in_ranges_that_the_endpoint_bears(devnet, proxies, refusal):
    first, second = proxies
    first.max_log_blocks = second.max_log_blocks = 7
    first.log_refusal = second.log_refusal = refusal
    await devnet.mine(40)
    async with opened(first.url, second.url) as pool:
        head = await Chain(pool).head()
        logs = ConfirmedLogs(
            Chain(pool), [devnet.addresses.storage], [], confirmations=0, cursor=None, start_block=0
        )
        last = -1
        while last < head.number:
            batch = await logs.next()
            assert batch is not None
            last = batch.last.number
        assert states(pool) == ["up", "new"]


async def test_logs_that_are_left_out_by_one_endpoint_come_from_the_other(devnet, proxies):
    first, second = proxies
    first.rates = {Fault.LOGS_MISSING: ALL}
    async with opened(first.url, second.url) as pool:
        head = await devnet.chain.head()
        reader = ConfirmedLogs(
            Chain(pool), [devnet.addresses.token], [], confirmations=0, cursor=None, start_block=0
        )
        last, logs = -1, 0
        while last < head.number:
            # The reading that notices it is given up, unless another endpoint takes its place meanwhile.
            with suppress(Unreachable):
                batch = await reader.next()
                last, logs = batch.last.number, logs + len(batch.logs)
        assert first.struck[Fault.LOGS_MISSING] > 0
        assert logs == len(await devnet.chain.logs(0, head.number, [devnet.addresses.token], []))
        assert pool.name == second.url

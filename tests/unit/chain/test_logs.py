"""The log reader hands out every confirmed log once, in order, and never passes over a reorganisation."""

import pytest

from node.chain.client import Chain
from node.chain.events import DEAL_STATE_CHANGE
from node.chain.hexadecimal import BadReply
from node.chain.logs import ConfirmedLogs, Cursor, ReorgDetected
from node.chain.rpc import RpcError
from node.errors import Unreachable
from node.types import Address
from tests.fakes.chain import FakeNode

STORAGE = Address("0x" + "5a" * 20)


def reader(node: FakeNode, *, confirmations: int = 2, cursor: Cursor | None = None, start: int = 0):
    return ConfirmedLogs(
        Chain(node),
        [STORAGE],
        [DEAL_STATE_CHANGE],
        confirmations=confirmations,
        cursor=cursor,
        start_block=start,
    )


def mine_with_log(node: FakeNode, mark: int) -> None:
    node.mine()
    node.add_log({"address": STORAGE, "topics": [DEAL_STATE_CHANGE], "data": f"0x{mark:064x}"})


async def drain(logs: ConfirmedLogs) -> list[int]:
    marks: list[int] = []
    while (batch := await logs.next()) is not None:
        marks += [int.from_bytes(log.data) for log in batch.logs]
    return marks


async def test_logs_come_once_in_order_and_only_when_confirmed():
    node = FakeNode()
    for mark in range(5):
        mine_with_log(node, mark)
    logs = reader(node)
    assert await drain(logs) == [0, 1, 2]
    node.mine()
    assert await drain(logs) == [3]
    node.mine(10)
    assert await drain(logs) == [4]


async def test_a_batch_names_its_last_block_and_the_head():
    node = FakeNode()
    node.mine(7)
    batch = await reader(node).next()
    assert batch is not None
    assert (batch.last.number, batch.head.number) == (5, 7)
    assert batch.last.hash == node.blocks[5].hash


async def test_reading_goes_on_behind_a_stored_cursor():
    node = FakeNode()
    for mark in range(6):
        mine_with_log(node, mark)
    batch = await reader(node).next()
    assert batch is not None
    cursor = Cursor(batch.last.number, batch.last.hash)
    node.mine(2)
    assert await drain(reader(node, cursor=cursor)) == [4, 5]


async def test_nothing_before_the_start_block_is_read():
    node = FakeNode()
    for mark in range(6):
        mine_with_log(node, mark)
    assert await drain(reader(node, confirmations=0, start=4)) == [3, 4, 5]


async def test_a_start_block_in_the_future_is_waited_for():
    node = FakeNode()
    node.mine(3)
    assert await reader(node, start=10).next() is None


async def test_an_idle_reader_asks_for_the_head_and_nothing_else():
    node = FakeNode()
    node.mine(5)
    logs = reader(node)
    await drain(logs)
    node.asked.clear()
    assert await logs.next() is None
    assert node.asked == ["eth_getBlockByNumber"]


async def test_ranges_shrink_until_the_endpoint_bears_them():
    node = FakeNode()
    for mark in range(300):
        mine_with_log(node, mark)
    node.logs_per_answer = 7
    assert await drain(reader(node, confirmations=0)) == list(range(300))


async def test_an_endpoint_that_refuses_a_single_block_shows_its_error():
    node = FakeNode()
    for _ in range(3):
        node.mine()
    mine_with_log(node, 1)
    mine_with_log(node, 2)
    node.logs_per_answer = 0
    logs = reader(node, confirmations=0)
    with pytest.raises(RpcError, match="returned more than"):
        await drain(logs)


async def test_a_silent_endpoint_makes_the_next_range_smaller():
    node = FakeNode()
    node.mine(100)
    logs = reader(node, confirmations=0)
    original = node._eth_get_logs

    def too_slow(query):
        if int(query["toBlock"], 16) - int(query["fromBlock"], 16) > 20:
            raise Unreachable("timed out")
        return original(query)

    node._eth_get_logs = too_slow
    failures = 0
    batch = None
    while batch is None:
        try:
            batch = await logs.next()
        except Unreachable:
            failures += 1
    assert 1 <= failures < 10
    assert batch.last.number < 30


async def test_a_reorganisation_below_the_cursor_is_never_passed_over():
    node = FakeNode()
    node.mine(10)
    logs = reader(node)
    await drain(logs)
    expected = node.blocks[8].hash
    node.reorg(5)
    node.mine()
    with pytest.raises(ReorgDetected) as caught:
        await logs.next()
    assert caught.value.number == 8
    assert (caught.value.expected, caught.value.found) == (expected, node.blocks[8].hash)


async def test_a_reorganisation_is_noticed_without_new_blocks():
    node = FakeNode()
    node.mine(10)
    logs = reader(node, confirmations=0)
    await drain(logs)
    node.reorg(1)
    with pytest.raises(ReorgDetected):
        await logs.next()


async def test_a_reorganisation_while_down_is_noticed_by_the_stored_cursor():
    node = FakeNode()
    node.mine(10)
    cursor = Cursor(8, node.blocks[8].hash)
    node.reorg(4)
    with pytest.raises(ReorgDetected):
        await reader(node, cursor=cursor).next()


async def test_a_reorganisation_above_the_confirmed_blocks_changes_nothing():
    node = FakeNode()
    for mark in range(10):
        mine_with_log(node, mark)
    logs = reader(node, confirmations=3)
    assert await drain(logs) == list(range(7))
    node.reorg(3)
    node.mine(4)
    assert await drain(logs) == []


async def test_an_endpoint_behind_the_cursor_is_waited_for():
    node = FakeNode()
    node.mine(10)
    cursor = Cursor(8, node.blocks[8].hash)
    del node.blocks[6:]
    assert await reader(node, cursor=cursor).next() is None


async def test_a_reorganisation_during_the_read_gives_no_mixed_batch():
    node = FakeNode()
    for mark in range(6):
        mine_with_log(node, mark)
    logs = reader(node, confirmations=1)
    original = node._eth_get_logs

    def reorganise(query):
        found = original(query)
        node._eth_get_logs = original
        node.reorg(3)
        node.mine()
        return found

    node._eth_get_logs = reorganise
    assert await logs.next() is None
    assert await drain(logs) == [0, 1, 2]


@pytest.mark.parametrize(
    "damage",
    [
        {"data": "0xzz"},
        {"data": None},
        {"topics": None},
        {"topics": [["0x00"]]},
        {"blockNumber": "0xffff"},
        {"blockNumber": None},
        {"logIndex": "x"},
        {"address": 5},
        {"transactionHash": None},
    ],
)
async def test_a_log_that_is_none_is_a_bad_reply(damage: dict):
    node = FakeNode()
    mine_with_log(node, 1)
    node.blocks[-1].logs[0] |= damage
    with pytest.raises(BadReply):
        await reader(node, confirmations=0).next()

"""The log reader hands out every confirmed log once, in order, and never passes over a reorganisation."""

import pytest

from node.chain.client import Chain
from node.chain.completeness import MOST_BLOCKS
from node.chain.events import DEAL_STATE_CHANGE
from node.chain.hexadecimal import BadReply
from node.chain.jsonrpc import ReplyTooLarge
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


async def test_a_reader_that_starts_with_nothing_new_says_once_what_time_it_is():
    node = FakeNode()
    node.mine(5)
    logs = reader(node, cursor=Cursor(3, node.blocks[3].hash))
    batch = await logs.next()
    assert batch is not None
    assert (batch.logs, batch.last.number, batch.head.number, batch.caught_up) == ((), 3, 5, True)
    assert await logs.next() is None


async def test_only_the_batch_that_reaches_the_confirmed_head_is_caught_up():
    node = FakeNode()
    node.mine(1200)
    logs = reader(node)
    assert [(await logs.next()).caught_up for _ in range(2)] == [False, True]


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


async def test_a_flood_is_read_in_answers_of_a_bounded_size():
    node = FakeNode()
    for mark in range(800):
        node.mine()
        for _ in range(40):
            node.add_log({"address": STORAGE, "topics": [DEAL_STATE_CHANGE], "data": f"0x{mark:064x}"})
    logs = reader(node, confirmations=0)
    sizes = []
    while (batch := await logs.next()) is not None:
        sizes.append(len(batch.logs))
    assert sum(sizes) == 800 * 40
    assert len(sizes) > 2
    assert max(sizes[1:]) <= 4_000, "the first answer teaches how crowded the blocks are"


async def test_an_answer_cut_for_its_size_is_asked_for_in_parts_at_once():
    node = FakeNode()
    for mark in range(300):
        mine_with_log(node, mark)
    original = node._eth_get_logs
    cut = []

    def too_long(query):
        logs = original(query)
        if len(logs) > 20:
            cut.append(len(logs))
            raise ReplyTooLarge("too long")
        return logs

    node._eth_get_logs = too_long
    assert await drain(reader(node, confirmations=0)) == list(range(300))
    assert len(cut) <= 6, "each cut answer was paid for"


async def test_a_batch_that_was_of_no_use_is_handed_out_again():
    node = FakeNode()
    mine_with_log(node, 1)
    logs = reader(node, confirmations=0)
    first = await logs.next()
    logs.again()
    assert await logs.next() == first
    mine_with_log(node, 2)
    assert (await logs.next()).logs[0].data == (2).to_bytes(32)
    logs.again()
    assert await drain(logs) == [2]


async def test_a_node_that_fell_back_a_little_reads_in_ranges_that_are_checked_for_completeness():
    node = FakeNode()
    node.mine(1_000)
    logs = reader(node, confirmations=0)
    sizes, last = [], -1
    while (batch := await logs.next()) is not None:
        behind = 1_000 - last
        sizes.append((behind, batch.last.number - last))
        last = batch.last.number
    assert last == 1_000
    assert sizes[0][1] > MOST_BLOCKS
    assert all(blocks <= MOST_BLOCKS for behind, blocks in sizes if behind <= 4 * MOST_BLOCKS)


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


async def test_a_reorganisation_before_the_last_block_of_a_range_is_read_is_never_passed_over():
    node = FakeNode()
    node.mine(10)
    logs = reader(node)
    await drain(logs)
    node.mine(3)
    original = node._eth_get_block_by_number

    def reorganise(number, full):
        if number == hex(11):
            node._eth_get_block_by_number = original
            node.reorg(8)
        return original(number, full)

    node._eth_get_block_by_number = reorganise
    with pytest.raises(ReorgDetected) as caught:
        await logs.next()
    assert caught.value.number == 8


async def test_a_reorganisation_is_measured_to_the_newest_block_seen_on_the_lost_fork():
    node = FakeNode()
    node.mine(10)
    logs = reader(node)
    await drain(logs)
    node.reorg(5)
    node.mine(40)
    with pytest.raises(ReorgDetected) as caught:
        await logs.next()
    assert caught.value.head_number == 10


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

"""Logs that an endpoint leaves out of a short range are noticed; a false alarm costs nothing."""

from typing import Any

import pytest
from eth_utils.crypto import keccak

from node.chain.client import Chain
from node.chain.completeness import MOST_BLOCKS, MOST_LOGS, LogFilter
from node.chain.hexadecimal import BadReply
from node.chain.jsonrpc import RpcError
from node.types import Address

MARKET = Address("0x" + "aa" * 20)
OTHER = "0x" + "bb" * 20
TOPIC, FOREIGN = "0x" + "11" * 32, "0x" + "22" * 32


def bloom_of(*values: str) -> int:
    """The yellow paper's filter, written down once more and differently."""
    bits = 0
    for value in values:
        words = [keccak(bytes.fromhex(value[2:]))[at : at + 2] for at in (0, 2, 4)]
        for word in words:
            bits |= 2 ** (int(word.hex(), 16) % 2048)
    return bits


class Blocks:
    """An endpoint whose getLogs leaves out the (block, index) pairs in ``hidden`` and repeats ``doubled``."""

    def __init__(self) -> None:
        self.logs: list[dict[str, Any]] = []
        self.hidden: set[tuple[int, int]] = set()
        self.doubled = False
        self.receipts = True
        self.extra_bloom = 0
        self.without_bloom = False
        self.missing: set[int] = set()
        self.missing_once: set[int] = set()
        self.asked: list[str] = []

    def add(self, block: int, index: int, address: str = MARKET, topic: str = TOPIC) -> None:
        self.logs.append(
            {
                "address": address,
                "topics": [topic],
                "data": "0x",
                "blockNumber": hex(block),
                "blockHash": f"0x{block:064x}",
                "transactionHash": "0x" + "77" * 32,
                "logIndex": hex(index),
            }
        )

    async def call(self, method: str, params: Any) -> Any:
        self.asked.append(method)
        match method:
            case "eth_getBlockByNumber":
                return self._header(int(params[0], 16))
            case "eth_getBlockReceipts":
                if not self.receipts:
                    raise RpcError(-32601, "method not found")
                number = params[0]
                return [{"logs": [log for log in self.logs if log["blockNumber"] == number]}]
        query = params[0]
        found = [log for log in self.logs if self._matches(log, query)]
        return [log for log in found for _ in range(2)] if self.doubled else found

    def _header(self, number: int) -> dict[str, Any] | None:
        if number in self.missing | self.missing_once:
            self.missing_once.discard(number)
            return None
        bits = self.extra_bloom
        for log in self.logs:
            if int(log["blockNumber"], 16) == number:
                bits |= bloom_of(log["address"], *log["topics"])
        header = {"hash": f"0x{number:064x}", "number": hex(number)}
        return header if self.without_bloom else header | {"logsBloom": f"0x{bits:0512x}"}

    def _matches(self, log: dict[str, Any], query: dict[str, Any]) -> bool:
        number, index = int(log["blockNumber"], 16), int(log["logIndex"], 16)
        if "blockHash" in query:
            here = log["blockHash"] == query["blockHash"]
        else:
            here = int(query["fromBlock"], 16) <= number <= int(query["toBlock"], 16)
            here = here and (number, index) not in self.hidden
        return here and log["address"] in query["address"] and log["topics"][0] in query["topics"][0]


async def read(blocks: Blocks, first: int = 1, last: int = 10) -> list[tuple[int, int]]:
    logs = await Chain(blocks).logs(first, last, [MARKET], [TOPIC])
    return [(log.block_number, log.log_index) for log in logs]


async def test_complete_logs_are_handed_out():
    blocks = Blocks()
    blocks.add(3, 0)
    blocks.add(3, 4)
    blocks.add(7, 1)
    assert await read(blocks) == [(3, 0), (3, 4), (7, 1)]
    assert blocks.asked.count("eth_getBlockReceipts") == 2


@pytest.mark.parametrize("receipts", [True, False])
@pytest.mark.parametrize("hidden", [{(3, 0)}, {(3, 4)}, {(3, 0), (3, 4)}, {(7, 1)}, {(3, 0), (3, 4), (7, 1)}])
async def test_a_log_left_out_is_noticed(hidden: set[tuple[int, int]], receipts: bool):
    blocks = Blocks()
    for place in ((3, 0), (3, 4), (7, 1)):
        blocks.add(*place)
    blocks.hidden, blocks.receipts = hidden, receipts
    with pytest.raises(BadReply, match="logs of block"):
        await read(blocks)


async def test_logs_that_come_twice_are_handed_out_once():
    blocks = Blocks()
    blocks.add(3, 0)
    blocks.doubled = True
    assert await read(blocks) == [(3, 0)]


async def test_two_logs_at_one_place_are_a_bad_reply():
    blocks = Blocks()
    blocks.add(3, 0)
    blocks.add(3, 0)
    blocks.logs[1]["data"] = "0x01"
    with pytest.raises(BadReply, match="two logs"):
        await read(blocks)


@pytest.mark.parametrize("damage", [{"address": OTHER}, {"topics": [FOREIGN]}, {"topics": []}])
async def test_a_log_that_was_not_asked_for_is_a_bad_reply(damage: dict[str, Any]):
    blocks = Blocks()
    blocks.add(3, 0)
    plain = blocks.call

    async def answer(method: str, params: Any) -> Any:
        found = await plain(method, params)
        return [found[0] | damage] if method == "eth_getLogs" else found

    blocks.call = answer  # type: ignore[method-assign]
    with pytest.raises(BadReply, match="not asked for"):
        await read(blocks)


async def test_a_quiet_block_costs_its_header_only():
    blocks = Blocks()
    blocks.add(3, 0, address=OTHER, topic=FOREIGN)
    assert await read(blocks) == []
    assert "eth_getBlockReceipts" not in blocks.asked


async def test_a_false_alarm_of_the_filter_loses_nothing():
    blocks = Blocks()
    blocks.extra_bloom = bloom_of(MARKET, TOPIC)
    assert await read(blocks, 1, 2) == []
    assert blocks.asked.count("eth_getBlockReceipts") == 2


async def test_an_endpoint_that_answers_for_a_block_it_lacks_is_noticed():
    blocks = Blocks()
    blocks.missing = {10}
    with pytest.raises(BadReply, match="does not have it"):
        await read(blocks)


async def test_a_block_that_only_one_machine_behind_an_endpoint_lacks_is_asked_for_again():
    blocks = Blocks()
    blocks.add(10, 0)
    blocks.missing_once = set(range(1, 20, 3))
    assert await read(blocks) == [(10, 0)]


async def test_long_ranges_and_floods_are_read_without_asking_twice():
    blocks = Blocks()
    blocks.add(3, 0)
    assert await read(blocks, 1, 1 + MOST_BLOCKS) == [(3, 0)]
    assert blocks.asked == ["eth_getLogs"]
    for index in range(1, MOST_LOGS + 1):
        blocks.add(3, index)
    assert len(await read(blocks)) == MOST_LOGS + 1
    assert "eth_getBlockReceipts" not in blocks.asked


async def test_a_chain_without_filters_is_read_as_it_is():
    blocks = Blocks()
    blocks.add(3, 0)
    blocks.without_bloom = True
    assert await read(blocks) == [(3, 0)]


def test_the_filter_never_denies_what_is_there():
    wanted = LogFilter(frozenset({MARKET}), frozenset({TOPIC, FOREIGN}))
    assert wanted.may_be_in(bloom_of(MARKET, FOREIGN, OTHER))
    assert not wanted.may_be_in(bloom_of(MARKET))
    assert not wanted.may_be_in(bloom_of(OTHER, TOPIC))
    assert not wanted.may_be_in(0)

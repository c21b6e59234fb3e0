"""Whether an answer to eth_getLogs has every log of its blocks.

Endpoints lose logs: an index that is behind its own blocks, a cache, a machine of many that lags. The answer
then looks like a quiet chain, and a deal or a payment would be passed over for ever.

What is guaranteed, for ranges up to 64 blocks, in which a node reads the newest 256 blocks: each block's
header is asked for, and where its bloom filter says that it may hold such a log, or where logs were given,
the receipts of the whole block are asked for and must hold exactly the logs given. So logs are missed only if
the endpoint falsifies header or receipts in the same way.
An endpoint without eth_getBlockReceipts is asked for the block's logs a second time, by the block's hash.
Not looked at are longer ranges, in which only a node reads that is more than 256 blocks behind, and blocks
with more than 100 logs of the market, whose receipts would let a flood of offers cost twice.

Cost: one header for each new block, and the receipts of a block only if it concerns the market. Facts: bloom
filters of the Ethereum yellow paper, section 4.3.1; a false alarm costs one more question, never a log.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from eth_utils.crypto import keccak

from node.chain.hexadecimal import BadReply
from node.chain.jsonrpc import RpcError
from node.errors import Unreachable

MOST_BLOCKS = 64
MOST_LOGS = 100
_ROUNDS = 3
Place = tuple[int, int]
"""A log's block number and its index in the block."""


class Endpoint(Protocol):
    """One endpoint."""

    async def call(self, method: str, params: Sequence[object]) -> Any:
        """Return the raw result."""
        ...


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Contracts and first topics, in lower case."""

    addresses: frozenset[str]
    topics: frozenset[str]

    def may_be_in(self, bloom: int) -> bool:
        """Whether a block with this bloom filter may hold such a log. False is certain."""
        return any(_in(bloom, address) for address in self.addresses) and (
            not self.topics or any(_in(bloom, topic) for topic in self.topics)
        )

    def keeps(self, log: dict[str, Any]) -> bool:
        """Whether a log of a receipt is such a log."""
        topics = log["topics"]
        return log["address"].lower() in self.addresses and (
            not self.topics or (bool(topics) and topics[0].lower() in self.topics)
        )


async def check_complete(
    rpc: Endpoint, wanted: LogFilter, first: int, last: int, found: Collection[Place]
) -> None:
    """Compare the logs found in blocks ``first`` to ``last`` with the blocks; raises BadReply."""
    if last - first >= MOST_BLOCKS:
        return
    headers = await _headers(rpc, range(first, last + 1))
    given: defaultdict[int, set[int]] = defaultdict(set)
    for block, index in found:
        given[block].add(index)
    for number, header in headers.items():
        if not isinstance(header, dict):
            raise BadReply(f"the RPC endpoint answers for block {number} and does not have it")
        bloom = _bloom(header)
        if bloom is None or len(given[number]) > MOST_LOGS:
            continue
        if given[number] or wanted.may_be_in(bloom):
            await _check_block(rpc, wanted, number, header, given[number])


async def _headers(rpc: Endpoint, numbers: Sequence[int]) -> dict[int, Any]:
    """Return the headers; one that is lost among others does not cost the whole range.

    None stands for a block that one machine behind the endpoint may lack and another have: asked for again.
    """
    found: dict[int, Any] = {}
    for _ in range(_ROUNDS):
        wanted = [number for number in numbers if found.get(number) is None]
        answers = await asyncio.gather(
            *(rpc.call("eth_getBlockByNumber", [hex(number), False]) for number in wanted),
            return_exceptions=True,
        )
        given = dict(zip(wanted, answers, strict=True))
        found |= {number: answer for number, answer in given.items() if not isinstance(answer, BaseException)}
        problems = [answer for answer in answers if isinstance(answer, BaseException)]
        if len(problems) == len(wanted) or not all(isinstance(problem, Unreachable) for problem in problems):
            break
        if all(found.get(number) is not None for number in numbers):
            break
    if problems:
        raise problems[0]
    return {number: found[number] for number in numbers}


async def _check_block(
    rpc: Endpoint, wanted: LogFilter, number: int, header: dict[str, Any], found: set[int]
) -> None:
    try:
        receipts = await rpc.call("eth_getBlockReceipts", [hex(number)])
    except RpcError:
        receipts = None
    try:
        if isinstance(receipts, list):
            logs = [log for receipt in receipts for log in receipt["logs"] if wanted.keeps(log)]
        else:
            query = {"blockHash": header["hash"], "address": sorted(wanted.addresses)}
            query |= {"topics": [sorted(wanted.topics)]}
            logs = await rpc.call("eth_getLogs", [query])
        there = {int(log["logIndex"], 16) for log in logs}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadReply(f"the RPC endpoint sent receipts of block {number} that are none") from error
    if there != found:
        raise BadReply(
            f"the RPC endpoint sent {len(found)} of the {len(there)} logs of block {number}: "
            "its logs cannot be relied on now"
        )


def _bloom(header: dict[str, Any]) -> int | None:
    try:
        return int(header["logsBloom"], 16)
    except (KeyError, TypeError, ValueError):
        return None


@lru_cache(maxsize=256)
def _bits(value: str) -> int:
    digest = keccak(bytes.fromhex(value[2:]))
    bits = 0
    for at in (0, 2, 4):
        bits |= 1 << (int.from_bytes(digest[at : at + 2]) & 2047)
    return bits


def _in(bloom: int, value: str) -> bool:
    bits = _bits(value)
    return bloom & bits == bits

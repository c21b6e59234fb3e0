"""A lying RPC endpoint: what it answers is a valid answer with something wrong in it.

Two targets: the typed reads of a chain, and the records that other people stored in the contracts.
"""

import json
from random import Random
from typing import Any

import py_ecc  # noqa: F401 - part of the daemon: it lets Python recurse deeper than the C stack bears
from eth_abi.abi import encode

from node.chain.calls import MarketAddresses
from node.chain.client import Call, Chain
from node.chain.contracts import MarketContracts, Unreadable
from node.chain.hexadecimal import BadReply
from node.chain.jsonrpc import parse, result_of
from node.chain.reverts import Reverted
from node.chain.rpc import RpcError
from node.chain.rules import SOUND_RULES
from node.errors import Unreachable
from node.job.deal import AgreementState, ServiceType
from node.types import Address, DealId, TxHash
from tests.fuzz.corpus import TEXTS, WORDS, damaged, damaged_json, damaged_text
from tests.fuzz.readers import LONGEST_ERROR, Target, address

HASH = "0x" + "ab" * 32
ACCOUNT = Address("0x" + "1f" * 20)
DEAL = DealId("j17-abc")
TRANSACTION = {"hash": HASH, "from": ACCOUNT, "to": None, "nonce": "0x1", "blockNumber": "0x10"}
BLOCK = {
    "number": "0x10",
    "hash": HASH,
    "parentHash": HASH,
    "timestamp": "0x65000000",
    "transactions": [TRANSACTION, TRANSACTION],
}
RECEIPT = {
    "transactionHash": HASH,
    "status": "0x1",
    "blockNumber": "0x10",
    "blockHash": HASH,
    "gasUsed": "0x5208",
    "effectiveGasPrice": "0x1",
}
LOG = {
    "address": ACCOUNT,
    "topics": [HASH],
    "data": "0x" + "00" * 64,
    "blockNumber": "0x10",
    "blockHash": HASH,
    "transactionHash": HASH,
    "logIndex": "0x0",
}
FEES = {"baseFeePerGas": ["0x1", "0x2"], "reward": [["0x1"], ["0x2"]]}
ANSWERS: dict[str, Any] = {
    "eth_chainId": "0x7a69",
    "eth_getBlockByNumber": BLOCK,
    "eth_getLogs": [LOG, LOG],
    "eth_call": "0x" + "00" * 32,
    "eth_estimateGas": "0x5208",
    "eth_getBalance": "0x1",
    "eth_getCode": "0x6000",
    "eth_getTransactionCount": "0x1",
    "eth_getTransactionByHash": TRANSACTION,
    "eth_getTransactionReceipt": RECEIPT,
    "eth_sendRawTransaction": HASH,
    "eth_feeHistory": FEES,
}
REFUSAL = {"code": 3, "message": "execution reverted", "data": "0x08c379a0"}
REFUSALS = (
    (3, "execution reverted", "0x08c379a0"),
    (3, "execution reverted: no", {"data": "0x" + "ff" * 40}),
    (-32000, "\ud800" * 50, []),
)


class Lying:
    """A ``JsonRpc`` with one thing to say."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    async def call(self, method: str, params: Any) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


READS = {
    "eth_chainId": lambda chain: chain.chain_id(),
    "eth_getBlockByNumber": lambda chain: chain.block_transactions(16),
    "eth_getLogs": lambda chain: chain.logs(0, 16, [ACCOUNT], [HASH]),
    "eth_call": lambda chain: chain.call(Call(ACCOUNT, b"", "call")),
    "eth_estimateGas": lambda chain: chain.estimate_gas(Call(ACCOUNT, b"", "call"), ACCOUNT),
    "eth_getBalance": lambda chain: chain.balance(ACCOUNT),
    "eth_getCode": lambda chain: chain.code(ACCOUNT),
    "eth_getTransactionCount": lambda chain: chain.nonce(ACCOUNT),
    "eth_getTransactionByHash": lambda chain: chain.transaction(TxHash(HASH)),
    "eth_getTransactionReceipt": lambda chain: chain.receipt(TxHash(HASH)),
    "eth_sendRawTransaction": lambda chain: chain.send_raw(b"raw"),
    "eth_feeHistory": lambda chain: chain.fees(),
    "head": lambda chain: chain.head(),
    "block": lambda chain: chain.block(16),
}


def hostile_reply(dice: Random) -> tuple[str, Any]:
    read = dice.choice(list(READS))
    if dice.random() < 0.05:
        return read, RpcError(*dice.choice(REFUSALS))
    return read, damaged_json(ANSWERS.get(read, BLOCK), dice)


async def read_reply(case: tuple[str, Any]) -> None:
    read, answer = case
    await READS[read](Chain(Lying(answer)))


def hostile_message(dice: Random) -> bytes:
    """Return the bytes of an answer: cut, nested, in another encoding, or with something wrong inside."""
    method = dice.choice(list(ANSWERS))
    written = json.dumps(damaged_json({"jsonrpc": "2.0", "id": 1, "result": ANSWERS[method]}, dice))
    match dice.randrange(12):
        case 0:
            return dice.choice((b"[", b'{"a":', b'{"result":[{')) * dice.choice((9, 900, 90_000))
        case 1:
            return b'["]",' * 30_000
        case 2:
            return written.encode(dice.choice(("utf-16", "utf-32", "utf-8-sig")))
        case 3:
            return written.encode()[: dice.randrange(len(written) + 1)]
        case 4:
            return damaged_text(written, dice).encode("utf-8", "surrogatepass")
        case 5:
            return json.dumps({"id": 1, "error": damaged_json(REFUSAL, dice)}).encode()
    return written.encode()


def read_message(raw: bytes) -> None:
    refusal: Unreachable | RpcError | None = None
    try:
        result_of(parse(raw, name="endpoint", method="method"), 1, name="endpoint", method="method")
    except (BadReply, RpcError) as error:
        refusal = error
    if refusal is not None:
        assert len(str(refusal)) < LONGEST_ERROR
        raise refusal


def deal(dice: Random) -> bytes:
    members = (address(dice), address(dice), address(dice), [address(dice) for _ in range(dice.randrange(4))])
    numbers = [dice.choice(WORDS) for _ in range(12)]
    deadlines = tuple((numbers[2 * index], numbers[2 * index + 1]) for index in range(4))
    types = (
        "(bytes,(address,address,address,address[]),"
        "((uint256,uint256),(uint256,uint256),(uint256,uint256),(uint256,uint256)),"
        "(uint256,uint256,uint256,uint256))"
    )
    return encode([types], [(DEAL.encode(), members, deadlines, tuple(numbers[8:]))])


def agreement(dice: Random) -> bytes:
    return encode(["uint8", *["uint256"] * 13], [dice.randrange(len(AgreementState)), *range(13)])


def result(dice: Random) -> bytes:
    cid = dice.choice(TEXTS)[:100].encode("utf-8", "replace")
    return encode(["(bytes,bytes,bytes,uint256)"], [(DEAL.encode(), cid, b"bafy", 1)])


def user(dice: Random) -> bytes:
    url = dice.choice(TEXTS)[:500].encode("utf-8", "replace")
    roles = [0, 1, 2, 3, dice.randrange(9)]
    return encode(["(address,bytes,bytes,uint8[])"], [(ACCOUNT, b"bafy", url, roles)])


def listed(dice: Random) -> bytes:
    return encode(["address[]"], [[address(dice) for _ in range(dice.randrange(20))]])


def symbol(dice: Random) -> bytes:
    return encode(["bytes"], [dice.choice(TEXTS)[:40].encode("utf-8", "replace")])


RECORDS = {
    "deal": (deal, lambda contracts: contracts.get_deal(DEAL)),
    "agreement": (agreement, lambda contracts: contracts.get_agreement(DEAL)),
    "result": (result, lambda contracts: contracts.get_result(DEAL)),
    "user": (user, lambda contracts: contracts.get_user(ACCOUNT)),
    "users": (listed, lambda contracts: contracts.show_users_in_list(ServiceType.RESOURCE_PROVIDER)),
    "symbol": (symbol, lambda contracts: contracts.token_symbol()),
    "balances": (agreement, lambda contracts: contracts.token_balances([ACCOUNT] * 13)),
}
VALID_RECORDS = {name: [make(Random(seed)) for seed in range(50)] for name, (make, _) in RECORDS.items()}


def hostile_record(dice: Random) -> tuple[str, bytes]:
    name = dice.choice(list(RECORDS))
    return name, damaged(dice.choice(VALID_RECORDS[name]), dice)


async def read_record(case: tuple[str, bytes]) -> None:
    name, output = case
    addresses = MarketAddresses(*[ACCOUNT] * 7)
    chain = Chain(Lying("0x" + output.hex()))
    await RECORDS[name][1](MarketContracts(chain, addresses, 31337, SOUND_RULES))


TARGETS = (
    Target("RPC messages", 6, hostile_message, read_message, (BadReply, RpcError)),
    Target("RPC replies", 10, hostile_reply, read_reply, (Unreachable, RpcError, Reverted)),
    Target("records on chain", 10, hostile_record, read_record, (Unreachable, Unreadable)),
)

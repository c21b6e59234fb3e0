"""An endpoint's nonsense shows as a bad reply, never as a crash or a wrong number."""

from typing import Any

import pytest

from node.chain.client import Chain
from node.chain.hexadecimal import BadReply
from node.types import Address, TxHash
from tests.fakes.chain_views import ScriptedViews

WHO = Address("0x" + "11" * 20)
HASH = TxHash("0x" + "ab" * 32)
BLOCK = {"number": "0x10", "hash": HASH, "timestamp": "0x20"}
RECEIPT = {
    "transactionHash": HASH,
    "status": "0x1",
    "blockNumber": "0x10",
    "blockHash": HASH,
    "gasUsed": "0x5208",
    "effectiveGasPrice": "0x2",
}
NONSENSE = [None, 5, "", "0x", "0xzz", "12", [], {}, True, "0x" + "f" * 65, "0x-1", "0x1 "]


def chain(method: str, result: Any) -> Chain:
    views = ScriptedViews()
    views.results[method] = result
    return Chain(views)


@pytest.mark.parametrize("value", NONSENSE)
async def test_a_number_that_is_none_is_a_bad_reply(value: Any):
    with pytest.raises(BadReply):
        await chain("eth_chainId", value).chain_id()
    with pytest.raises(BadReply):
        await chain("eth_getTransactionCount", value).nonce(WHO)


@pytest.mark.parametrize("value", [value for value in NONSENSE if value != "0x"])
async def test_code_that_is_no_data_is_a_bad_reply(value: Any):
    with pytest.raises(BadReply):
        await chain("eth_getCode", value).code(WHO)


@pytest.mark.parametrize("field", BLOCK)
@pytest.mark.parametrize("value", [None, 5, "x", []])
async def test_a_block_with_a_broken_field_is_a_bad_reply(field: str, value: Any):
    with pytest.raises(BadReply):
        await chain("eth_getBlockByNumber", BLOCK | {field: value}).head()


@pytest.mark.parametrize("field", RECEIPT)
@pytest.mark.parametrize("value", [None, 5, "x", "0x" + "cd" * 33])
async def test_a_receipt_with_a_broken_field_is_a_bad_reply(field: str, value: Any):
    with pytest.raises(BadReply):
        await chain("eth_getTransactionReceipt", RECEIPT | {field: value}).receipt(HASH)


async def test_the_receipt_of_another_transaction_is_a_bad_reply():
    other = TxHash("0x" + "cd" * 32)
    with pytest.raises(BadReply, match="another transaction"):
        await chain("eth_getTransactionReceipt", RECEIPT).receipt(other)


async def test_what_the_endpoint_does_not_know_is_none():
    assert await chain("eth_getTransactionReceipt", None).receipt(HASH) is None
    assert await chain("eth_getTransactionByHash", None).transaction(HASH) is None
    assert await chain("eth_getBlockByNumber", None).block(5) is None
    with pytest.raises(BadReply, match="no latest block"):
        await chain("eth_getBlockByNumber", None).head()


@pytest.mark.parametrize("value", [None, {}, "x", [1], [{}]])
async def test_logs_that_are_no_list_of_logs_are_a_bad_reply(value: Any):
    with pytest.raises(BadReply):
        await chain("eth_getLogs", value).logs(0, 5, [WHO], [])


async def test_hashes_and_addresses_are_read_in_lower_case():
    found = await chain(
        "eth_getTransactionByHash",
        {
            "hash": "0x" + "AB" * 32,
            "from": "0x" + "CD" * 20,
            "to": None,
            "nonce": "0x7",
            "blockNumber": None,
            "input": "0x",
        },
    ).transaction(HASH)
    assert found is not None
    assert (found.hash, found.sender, found.to, found.nonce, found.block_number) == (
        HASH,
        "0x" + "cd" * 20,
        None,
        7,
        None,
    )


@pytest.mark.parametrize(
    ("history", "base_fee", "tip"),
    [
        ({"baseFeePerGas": ["0x1", "0x5"], "reward": [["0x9"], ["0x2"], ["0x4"]]}, 5, 4),
        ({"baseFeePerGas": ["0x1", "0x5"], "reward": None}, 5, 0),
        ({"baseFeePerGas": ["0x5"], "reward": [[]]}, 5, 0),
    ],
)
async def test_fees_are_the_next_base_fee_and_the_middle_tip(history: dict, base_fee: int, tip: int):
    fees = await chain("eth_feeHistory", history).fees()
    assert (fees.base_fee_wei, fees.tip_wei) == (base_fee, tip)


@pytest.mark.parametrize("history", [None, {}, {"baseFeePerGas": []}, {"baseFeePerGas": ["x"]}, []])
async def test_a_chain_without_base_fees_is_a_bad_reply(history: Any):
    with pytest.raises(BadReply):
        await chain("eth_feeHistory", history).fees()

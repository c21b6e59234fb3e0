"""Logs that strangers can put on the chain never stop the reader."""

import pytest
from eth_abi.abi import encode

from node.chain import events, interface
from node.chain.devnet import REQUESTER, DevMarket, dev_signer
from node.chain.events import JobAdded, Undecodable, decode
from node.chain.hexadecimal import tx_hash
from node.chain.logs import ConfirmedLogs
from node.types import Address

pytestmark = pytest.mark.integration
STRANGER = dev_signer(REQUESTER).address

# Emits what it is called with: the first word as topic, the rest as data. Unlike our job manager it has no
# limits, so it stands for any contract that an operator may point the node at.
ECHO = bytes.fromhex("6012600c60003960126000f3" + "6020360380602060003760003590" + "6000a100")


async def send(devnet: DevMarket, data: bytes, to: Address | None = None) -> str:
    request = {"from": STRANGER, "data": "0x" + data.hex(), "gas": hex(20_000_000)}
    if to is not None:
        request["to"] = to
    sent = await devnet.rpc.call("eth_sendTransaction", [request])
    # Anvil mines at once, but answers before it has done so.
    await devnet.mine()
    return sent


async def echo_contract(devnet: DevMarket) -> Address:
    sent = await send(devnet, ECHO)
    return Address((await devnet.rpc.call("eth_getTransactionReceipt", [sent]))["contractAddress"])


async def read(devnet: DevMarket, *addresses: Address) -> list[object]:
    logs = ConfirmedLogs(
        devnet.chain, addresses, events.MARKET_TOPICS, confirmations=0, cursor=None, start_block=0
    )
    found = []
    while True:
        batch = await logs.next()
        assert batch is not None
        found += [decode(log) for log in batch.logs]
        if batch.last == batch.head:
            return found


def run_job(module: bytes, *inputs: bytes) -> bytes:
    return interface.RUN_JOB.selector + encode(
        ["bytes", "bytes[]", "address"], [module, list(inputs), STRANGER]
    )


async def test_hostile_jobs_are_set_aside_and_the_honest_one_between_them_is_read(devnet: DevMarket):
    market = devnet.addresses.job_manager
    for data in (
        run_job(b"sdv", b"Prompt=\xff\xfe"),
        run_job(b"\xc3\x28", b"Prompt=a"),
        run_job(b"sdv", b"Prompt=a\x00\x1b[2J"),
        run_job(b"sdv", b"Prompt=honest"),
        run_job(b"sdv", b"Prompt=" + b"\xed\xa0\x80"),
    ):
        await send(devnet, data, market)

    found = await read(devnet, market)

    assert [event.number for event in found] == [1, 2, 3, 4, 5]
    assert [isinstance(event, JobAdded) for event in found] == [False, False, False, True, False]


@pytest.mark.parametrize(
    "data",
    [
        encode(
            ["uint256", "address", "address", "bytes", "bytes[]"],
            [9, STRANGER, STRANGER, b"sdv", [b"Prompt=" + b"p" * 10_240]],
        ),
        encode(
            ["uint256", "address", "address", "bytes", "bytes[]"],
            [9, STRANGER, STRANGER, b"sdv", [b"a=1"] * 100],
        ),
        encode(
            ["uint256", "address", "address", "uint256", "uint256"], [9, STRANGER, STRANGER, 2**256 - 1, 160]
        ),
        encode(["uint256", "address", "address"], [9, STRANGER, STRANGER]),
        (9).to_bytes(32),
    ],
    ids=["10 KiB prompt", "100 inputs", "pointer to nowhere", "truncated", "number alone"],
)
async def test_a_job_from_a_contract_without_limits_is_set_aside_with_its_number(
    devnet: DevMarket, data: bytes
):
    echo = await echo_contract(devnet)
    sent = await send(devnet, bytes.fromhex(events.JOB_ADDED[2:]) + data, echo)
    receipt = await devnet.chain.receipt(tx_hash(sent))
    assert receipt is not None
    assert receipt.ok

    (event,) = await read(devnet, echo)

    assert isinstance(event, Undecodable)
    assert event.number == 9
    assert event.ref.tx_hash == sent

"""An Anvil that is wound back while it mines what comes in keeps a whole chain."""

import asyncio

import pytest

from node.chain.devnet import REQUESTER, DevMarket, dev_signer
from tests.winding import drop_blocks, wind_back

pytestmark = pytest.mark.integration
SENDER = dev_signer(REQUESTER).address
TIMES = 30


async def send_some(devnet: DevMarket) -> None:
    """Send transactions; Anvil is mining them when this returns."""

    async def send(gas: int) -> None:
        request = {"from": SENDER, "to": devnet.addresses.token, "gas": hex(gas)}
        await devnet.rpc.call("eth_sendTransaction", [request])

    # Two that came at once may have been given one nonce: one of them is refused.
    await asyncio.gather(*(send(50_000 + number) for number in range(4)), return_exceptions=True)


async def assert_whole(devnet: DevMarket) -> None:
    head = (await devnet.chain.head()).number
    assert None not in [await devnet.chain.block(number) for number in range(head + 1)]


async def test_back_to_a_snapshot_while_transactions_are_mined(devnet: DevMarket):
    before = await devnet.chain.head()
    snapshot = await devnet.rpc.call("evm_snapshot", [])
    for _ in range(TIMES):
        await send_some(devnet)
        snapshot = await wind_back(devnet.rpc, snapshot)
        assert await devnet.chain.head() == before
        await assert_whole(devnet)


async def test_blocks_are_dropped_while_transactions_are_mined(devnet: DevMarket):
    for _ in range(TIMES):
        kept = await devnet.chain.head()
        owned = await devnet.contracts.token_balance(SENDER)
        await devnet.fund(SENDER, token_wei=1)
        await send_some(devnet)
        await drop_blocks(devnet.rpc, above=kept.number)
        assert await devnet.chain.block(kept.number) == kept
        assert await devnet.contracts.token_balance(SENDER) == owned
        await assert_whole(devnet)

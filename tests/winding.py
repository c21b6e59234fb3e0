"""Winding an Anvil chain back: to a snapshot, or by blocks that a reorganisation replaces.

Anvil winds back without waiting for a block that it is just making. That block is then put on top under the
number it would have had, and between it and the rest numbers are missing for good. So Anvil first stops
making blocks of its own, what it has begun is waited for, and afterwards the chain is looked at.

It also has the states of the 500 blocks that it made last, whatever became of them, and takes that of an
older one for empty when blocks are dropped down to it. So ``renew`` the newest block of a chain that is wound
back again and again.
"""

import asyncio
from collections.abc import Sequence

from node.chain.client import JsonRpc
from node.chain.devnet import FAUCET, dev_signer

_NOBODY = dev_signer(FAUCET).address
"""Whose transactions no test looks at. It is never poor."""

_PATIENCE_S = 60.0
_LOOKED_AT = 16
"""How many of the newest blocks must follow on each other."""


async def renew(rpc: JsonRpc) -> None:
    """Add a block, so that what is above it can be dropped however long ago the chain's last one was made."""
    await rpc.call("evm_mine", [])


async def wind_back(rpc: JsonRpc, snapshot: str) -> str:
    """Put the chain back to a snapshot, with nothing waiting, and return a new snapshot of the same.

    Anvil then mines each transaction at once. Raises RuntimeError if it does not go back, or not whole.
    """
    await rpc.call("anvil_dropAllTransactions", [])
    await _stop_mining(rpc)
    if not await rpc.call("evm_revert", [snapshot]):
        raise RuntimeError(f"Anvil did not go back to its snapshot {snapshot}")
    await _must_be_whole(rpc)
    # What came meanwhile would be mined into whatever is done next.
    await rpc.call("anvil_dropAllTransactions", [])
    again = str(await rpc.call("evm_snapshot", []))
    await rpc.call("evm_setAutomine", [True])
    return again


async def drop_blocks(rpc: JsonRpc, above: int, pairs: Sequence[Sequence[object]] = ()) -> None:
    """Replace every block above a number by a new one; ``pairs`` are those of ``anvil_reorg``.

    Where each transaction is mined at once, blocks are added first and dropped too. Raises RuntimeError if
    the chain is not whole afterwards, or has lost its state.
    """
    mines_at_once = await rpc.call("anvil_getAutomine", [])
    if mines_at_once:
        await _stop_mining(rpc)
    await rpc.call("anvil_reorg", [await _head(rpc) - above, list(pairs)])
    await _must_be_whole(rpc)
    if int(await rpc.call("eth_getBalance", [_NOBODY, "latest"]), 16) == 0:
        raise RuntimeError(f"Anvil no longer has the state of block {above}")
    if mines_at_once:
        await rpc.call("evm_setAutomine", [True])


async def _stop_mining(rpc: JsonRpc) -> None:
    """Have Anvil make no more blocks of its own, and wait for those it has begun."""
    await rpc.call("evm_setAutomine", [True])
    # Anvil queues what it will mine: once this is in a block, what was queued before is in one too.
    last = {"from": _NOBODY, "to": _NOBODY, "gas": hex(21_000)}
    sent = await rpc.call("eth_sendTransaction", [last])
    async with asyncio.timeout(_PATIENCE_S):
        while await rpc.call("eth_getTransactionReceipt", [sent]) is None:
            await asyncio.sleep(0)
    await rpc.call("evm_setIntervalMining", [0])
    # Blocks are made one after another: when this one is there, that of the receipt is complete.
    await rpc.call("evm_mine", [])


async def _must_be_whole(rpc: JsonRpc) -> None:
    head = await _head(rpc)
    parent = None
    for number in range(head, max(-1, head - _LOOKED_AT), -1):
        block = await rpc.call("eth_getBlockByNumber", [hex(number), False])
        if block is None or parent not in {None, block["hash"]}:
            raise RuntimeError(f"Anvil's chain has a hole: no block {number} under block {head}")
        parent = block["parentHash"]


async def _head(rpc: JsonRpc) -> int:
    return int(await rpc.call("eth_blockNumber", []), 16)

"""Finds the transaction that used a nonce, by bisecting the account's transaction count over blocks.

Needed to prove that a nonce of ours went to somebody else (another wallet with the same key), so that the
payloads signed for it can never be mined, and to see what that somebody did with it.
"""

from node.chain.client import Chain, Transaction
from node.types import Address


async def who_used_nonce(chain: Chain, sender: Address, nonce: int, confirmed: int) -> Transaction | None:
    """Return the transaction that used ``nonce`` at or before block ``confirmed``, or None if none is found.

    Raises RpcError if the endpoint keeps no state that old.
    """
    if await chain.nonce(sender, at=confirmed) <= nonce:
        return None
    above, step = confirmed, 1
    below = max(-1, confirmed - step)
    while below >= 0 and await chain.nonce(sender, at=below) > nonce:
        above = below
        step *= 2
        below = max(-1, below - step)
    # Invariant: the count is at most nonce after block `below` (or before genesis), and above it at `above`.
    while above - below > 1:
        middle = (above + below) // 2
        if await chain.nonce(sender, at=middle) > nonce:
            above = middle
        else:
            below = middle
    for transaction in await chain.block_transactions(above):
        if transaction.sender == sender and transaction.nonce == nonce:
            return transaction
    return None

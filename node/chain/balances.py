"""Many token balances in one call, so that a flood of requesters costs hardly more requests than a few do.

The call has no recipient: an endpoint executes its data as a creation that is never mined, and answers with
what that code returns. Facts: execution API specification (``eth_call`` without ``to``); opcodes by the
yellow paper, appendix H; EIP-170 and EIP-3541 for what a creation may return.
"""

from collections.abc import Sequence
from typing import Protocol

from node.chain.hexadecimal import BadReply
from node.types import Address, Wei

ACCOUNTS_PER_CALL = 400
"""Their answer stays below the 24,576 bytes that a creation may return."""

_CODE = bytes.fromhex(
    # Copy what follows the code to memory 0x40 (the token, then the accounts, a word each) and keep its end.
    "60513803806051604039604001"
    # Memory 0 to 3 is the selector of balanceOf(address), then comes the argument; p is the first account.
    "6370a0823160e01b6000526060"
    # While p < end: ask for the account at p, and put the answer in its place, 0 if the token gave none.
    "5b81811015604357"
    "8051600452602081602460006040515afa"
    "3d601f10168151028152"
    "602001601a56"
    # Return a zero word, because no creation may return 0xef as its first byte, and then the balances.
    "5b506000604052604090036040f3"
)


class Executes(Protocol):
    """The part of ``Chain`` that runs code."""

    async def execute(self, code: bytes) -> bytes:
        """Return what the code returns; raises Reverted."""
        ...


async def token_balances(chain: Executes, token: Address, accounts: Sequence[Address]) -> dict[Address, Wei]:
    """Return what each account owns of the token at the newest block, in wei.

    Raises Unreachable, and RpcError or Reverted where an endpoint does not execute code without a recipient.
    """
    found: dict[Address, Wei] = {}
    for first in range(0, len(accounts), ACCOUNTS_PER_CALL):
        part = accounts[first : first + ACCOUNTS_PER_CALL]
        words = b"".join(bytes(12) + bytes.fromhex(address[2:]) for address in (token, *part))
        answer = await chain.execute(_CODE + words)
        if len(answer) != 32 * (1 + len(part)):
            raise BadReply("the RPC endpoint answered with another number of balances than it was asked for")
        for index, account in enumerate(part, 1):
            found[account] = Wei(int.from_bytes(answer[32 * index : 32 * index + 32]))
    return found

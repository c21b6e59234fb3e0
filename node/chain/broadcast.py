"""Sends signed bytes and sorts what the endpoint says about them.

Clients word the same refusal differently and give no codes, so this is the one place that reads their texts
(geth, Nitro, Erigon, Nethermind, Anvil). Nothing here decides what to do next.
"""

from enum import Enum, auto

from node.chain.client import Chain
from node.chain.rpc import RpcError


class Acceptance(Enum):
    """What became of a broadcast."""

    POOLED = auto()
    """The endpoint holds it, now or already before."""

    NONCE_USED = auto()
    """A transaction with this nonce is mined, perhaps ours."""

    UNDERPRICED = auto()
    """The fees are too low for this pool."""

    OUTBID = auto()
    """The pool holds another transaction with this nonce, and the fees are too low to replace it."""

    UNFUNDED = auto()
    """The account cannot pay for the gas."""

    REFUSED = auto()
    """Not taken for a reason that is none of these."""


_WORDS = (
    ("already known", Acceptance.POOLED),
    ("alreadyknown", Acceptance.POOLED),
    ("already imported", Acceptance.POOLED),
    ("known transaction", Acceptance.POOLED),
    ("already in mempool", Acceptance.POOLED),
    ("nonce too low", Acceptance.NONCE_USED),
    ("oldnonce", Acceptance.NONCE_USED),
    ("nonce is too low", Acceptance.NONCE_USED),
    ("replacement transaction underpriced", Acceptance.OUTBID),
    ("replacementnotallowed", Acceptance.OUTBID),
    ("could not replace existing", Acceptance.OUTBID),
    ("underpriced", Acceptance.UNDERPRICED),
    ("max fee per gas less than block base fee", Acceptance.UNDERPRICED),
    ("fee too low", Acceptance.UNDERPRICED),
    ("feetoolow", Acceptance.UNDERPRICED),
    ("gas price too low", Acceptance.UNDERPRICED),
    ("insufficient funds", Acceptance.UNFUNDED),
    ("insufficientfunds", Acceptance.UNFUNDED),
    ("insufficient balance", Acceptance.UNFUNDED),
)


async def broadcast(chain: Chain, raw: bytes) -> tuple[Acceptance, str]:
    """Send a payload; return what became of it and the endpoint's words. Raises Unreachable.

    Safe to repeat: the same bytes are the same transaction.
    """
    try:
        await chain.send_raw(raw)
    except RpcError as error:
        said = error.message.lower()
        for words, acceptance in _WORDS:
            if words in said:
                return acceptance, error.message
        return Acceptance.REFUSED, error.message
    return Acceptance.POOLED, ""

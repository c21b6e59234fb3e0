"""What endpoints answer to a broadcast, in the words of each client, and what it means."""

import pytest

from node.chain.broadcast import Acceptance, broadcast
from node.chain.client import Chain
from node.chain.rpc import RpcError

SAID = {
    "already known": Acceptance.POOLED,
    "AlreadyKnown": Acceptance.POOLED,
    "transaction already imported": Acceptance.POOLED,
    "nonce too low: next nonce 8, tx nonce 7": Acceptance.NONCE_USED,
    "OldNonce": Acceptance.NONCE_USED,
    "transaction underpriced: gas tip cap 0, minimum needed 1": Acceptance.UNDERPRICED,
    "max fee per gas less than block base fee: maxFeePerGas: 5, baseFee: 7": Acceptance.UNDERPRICED,
    "FeeTooLow, MaxFeePerGas too low": Acceptance.UNDERPRICED,
    "replacement transaction underpriced": Acceptance.OUTBID,
    "could not replace existing tx": Acceptance.OUTBID,
    "ReplacementNotAllowed": Acceptance.OUTBID,
    "insufficient funds for gas * price + value: balance 5, tx cost 9": Acceptance.UNFUNDED,
    "InsufficientFunds, Account balance: 5": Acceptance.UNFUNDED,
    "Insufficient funds for gas * price + value": Acceptance.UNFUNDED,
    "exceeds block gas limit": Acceptance.REFUSED,
}


class Endpoint:
    def __init__(self, words: str) -> None:
        self.words = words

    async def call(self, method, params):
        raise RpcError(-32000, self.words)


@pytest.mark.parametrize("words", SAID)
async def test_the_words_of_each_client_are_sorted(words: str):
    acceptance, told = await broadcast(Chain(Endpoint(words)), b"raw")
    assert (acceptance, told) == (SAID[words], words)

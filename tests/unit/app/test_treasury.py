"""Withdrawing by hand: credit is collected first, and two orders never reckon with the same balance."""

import asyncio
from types import SimpleNamespace

import pytest

from node.app.treasury import WITHDRAW, NotSent, Treasury
from node.chain.calls import MarketCalls
from node.chain.reverts import Reverted
from node.chain.txmanager import Failed, Mined
from node.config import load
from node.types import BlockNumber, TxHash, Wei
from tests.fakes.jobs import PROVIDER, TOKEN
from tests.fakes.signing import MARKET, PAYOUT

CREDIT_CALL, TRANSFER = "withdraw", "transfer"


class Contracts(MarketCalls):
    """A wallet's tokens, and what the token did not deliver; None: a market that keeps no such credit."""

    def __init__(self, balance: int, credit: int | None) -> None:
        super().__init__(MARKET)
        self.balance = balance
        self.owed = credit

    async def token_balance(self, _):
        await asyncio.sleep(0)
        return self.balance

    async def credit(self, _):
        if self.owed is None:
            raise Reverted("without a reason")
        return self.owed


class Transactions:
    """Mines each call after a while, unless the token still delivers nothing."""

    def __init__(self, contracts: Contracts) -> None:
        self.contracts = contracts
        self.sent = []
        self.delivers = True

    def pending(self):
        return {}

    async def send(self, intent):
        kind = intent.call.what.partition(" ")[0]
        if kind == CREDIT_CALL and not self.delivers:
            return Failed(intent.intent_id, "the token delivers nothing", None)
        await asyncio.sleep(0.01)
        self.sent.append(kind)
        if kind == CREDIT_CALL:
            self.contracts.balance += self.contracts.owed
            self.contracts.owed = 0
        else:
            self.contracts.balance -= int.from_bytes(intent.call.data[-32:], "big")
        return Mined(intent.intent_id, TxHash("0x" + "ab" * 32), BlockNumber(7), 1, Wei(1))


async def head():
    return SimpleNamespace(number=6)


async def nothing() -> Wei:
    return Wei(0)


def treasury(balance, credit):
    contracts = Contracts(balance, credit)
    transactions = Transactions(contracts)
    wallet = {"remote_signer": "http://signer", "address": PROVIDER, "payout_address": PAYOUT}
    market = SimpleNamespace(contracts=contracts, chain=SimpleNamespace(head=head))
    config = load(environment={}, overrides={"wallet": wallet})
    return Treasury(config, market, transactions, needed=nothing).verbs()[WITHDRAW], transactions


async def test_what_the_token_did_not_deliver_is_collected_and_withdrawn_with_the_rest():
    withdraw, transactions = treasury(2 * TOKEN, 3 * TOKEN)
    done = await withdraw({"amount_wei": "all"})
    assert done["amount_wei"] == str(5 * TOKEN)
    assert transactions.sent == [CREDIT_CALL, TRANSFER]


@pytest.mark.parametrize("credit", [0, None])
async def test_without_credit_there_is_one_transaction(credit):
    withdraw, transactions = treasury(2 * TOKEN, credit)
    assert (await withdraw({"amount_wei": "all"}))["amount_wei"] == str(2 * TOKEN)
    assert transactions.sent == [TRANSFER]


async def test_a_token_that_still_does_not_deliver_keeps_nothing_else_in_the_wallet():
    withdraw, transactions = treasury(2 * TOKEN, 3 * TOKEN)
    transactions.delivers = False
    assert (await withdraw({"amount_wei": "all"}))["amount_wei"] == str(2 * TOKEN)
    assert transactions.sent == [TRANSFER]


async def test_of_two_orders_at_once_the_later_one_sees_what_the_first_one_left():
    withdraw, transactions = treasury(3 * TOKEN, 0)
    orders = [withdraw({"amount_wei": str(2 * TOKEN)}) for _ in range(2)]
    first, second = await asyncio.gather(*orders, return_exceptions=True)
    assert first["amount_wei"] == str(2 * TOKEN)
    assert isinstance(second, NotSent)
    assert "the wallet holds 1" in str(second)
    assert transactions.sent == [TRANSFER]

"""The audit reads every payment of the journal's blocks, in ranges that the endpoint bears."""

from types import SimpleNamespace

import pytest
from eth_abi.abi import encode

from node.app.audit import audit
from node.chain.client import Chain
from node.chain.events import PAYMENT
from node.chain.jsonrpc import ReplyTooLarge
from node.errors import Retryable
from node.job.deal import PaymentDirection, PaymentReason
from node.types import Address
from tests.fakes.chain import FakeNode
from tests.fakes.jobs import PROVIDER, make_deal

PAYMENTS = Address("0x" + "5b" * 20)
DEAL = make_deal().deal_id
CONTRACTS = SimpleNamespace(addresses=SimpleNamespace(payments=PAYMENTS))


class Ledger:
    """A journal that knows the deal and none of its payments."""

    def __init__(self, first, last):
        self.blocks = (first, last)

    async def read_blocks(self):
        return self.blocks

    async def payments(self, first, last):
        return []

    async def deals(self):
        return {DEAL: "j1"}


def mine_with_payment(node, amount):
    types = ["string", "address", "uint256", "uint8", "uint8"]
    arguments = [DEAL, PROVIDER, amount, PaymentReason.JOB_PAYMENT, PaymentDirection.PAID_OUT]
    node.mine()
    node.add_log({"address": PAYMENTS, "topics": [PAYMENT], "data": "0x" + encode(types, arguments).hex()})


def node_of(payments):
    node = FakeNode()
    for amount in range(1, payments + 1):
        mine_with_payment(node, amount)
    return node


async def test_blocks_behind_the_journal_are_not_looked_at():
    found = await audit(Chain(node_of(50)), CONTRACTS, Ledger(11, 40), PROVIDER)
    assert (found.payments, found.chain.earned_wei) == (30, sum(range(11, 41)))
    assert len(found.differences) == 30


async def test_answers_that_are_cut_for_their_size_are_asked_for_in_parts():
    node = node_of(300)
    whole = node._eth_get_logs

    def too_long(query):
        logs = whole(query)
        if len(logs) > 20:
            raise ReplyTooLarge("too long")
        return logs

    node._eth_get_logs = too_long
    found = await audit(Chain(node), CONTRACTS, Ledger(1, 300), PROVIDER)
    assert found.payments == 300


async def test_an_endpoint_behind_the_journal_is_no_difference():
    with pytest.raises(Retryable, match="run the audit again"):
        await audit(Chain(node_of(5)), CONTRACTS, Ledger(1, 9), PROVIDER)


async def test_a_chain_that_changes_while_it_is_read_is_no_difference():
    node = node_of(600)
    whole, asked = node._eth_get_logs, []

    def changing(query):
        if asked:
            node.reorg(200)
        asked.append(query)
        return whole(query)

    node._eth_get_logs = changing
    with pytest.raises(Retryable, match="run the audit again"):
        await audit(Chain(node), CONTRACTS, Ledger(1, 600), PROVIDER)

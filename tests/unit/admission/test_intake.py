"""The door: what is forged or cannot be paid never becomes a job, at few requests for many offers."""

from dataclasses import replace

import pytest

from node.admission.intake import Intake, IntakeTerms
from node.admission.places import Places
from node.admission.pricing import standing_terms
from node.chain.client import Transaction
from node.chain.rpc import RpcError
from node.errors import Unreachable
from node.job.sifting import Refused
from tests.fakes.jobs import MEDIATOR, PROVIDER, REQUESTER, TOKEN, make_config, make_offer

NEEDED = 2 * TOKEN
"""The default price and the collateral that both parties lock."""


class World:
    """A chain that knows who sent what and who owns what, and counts what it is asked."""

    def __init__(self, sent_by, owns, *, executes_code=True):
        self.sent_by = sent_by
        self.owns = owns
        self.executes_code = executes_code
        self.asked = []

    def _transaction(self, tx_hash):
        sender = self.sent_by.get(tx_hash)
        return None if sender is None else Transaction(tx_hash, sender, None, 0, 10)

    async def transaction(self, tx_hash):
        self.asked.append("transaction")
        return self._transaction(tx_hash)

    async def block_transactions(self, number):
        self.asked.append(f"block {number}")
        return tuple(self._transaction(tx_hash) for tx_hash in self.sent_by)

    async def token_balance(self, address):
        self.asked.append("balance")
        return self.owns.get(address, 0)

    async def token_balances(self, addresses):
        self.asked.append(f"balances {len(addresses)}")
        if not self.executes_code:
            raise RpcError(-32000, "no recipient")
        return {address: self.owns.get(address, 0) for address in addresses}


def account(mark):
    return f"0x{mark:040x}"


def intake(world, places=None, waiting=None, deny=frozenset()):
    config = make_config()
    terms = IntakeTerms(
        places=places or Places(256, 16),
        standing=standing_terms(config.pricing, config.deal),
        provider=PROVIDER,
        deny=deny,
    )
    return Intake(world, world, lambda: waiting or {}, terms)


def posted(offers):
    """Every offer in a transaction of its payee."""
    return {offer.tx_hash: offer.requester for offer in offers}


async def kinds(world, offers, **place):
    sifted = await intake(world, **place).sift(offers)
    return {position: left.kind for position, left in sifted.left.items()}


async def test_no_offers_cost_no_request():
    world = World({}, {})
    assert await kinds(world, []) == {}
    assert world.asked == []


async def test_an_offer_whose_payee_sent_it_and_can_pay_is_taken():
    offers = [make_offer()]
    assert await kinds(World(posted(offers), {REQUESTER: NEEDED}), offers) == {}


@pytest.mark.parametrize(
    ("sender", "owned", "kind"),
    [
        (MEDIATOR, NEEDED, Refused.FORGED),
        (REQUESTER, NEEDED - 1, Refused.INSOLVENT),
    ],
)
async def test_what_nobody_would_pay_for_is_left(sender, owned, kind):
    offer = make_offer()
    assert await kinds(World({offer.tx_hash: sender}, {REQUESTER: owned}), [offer]) == {0: kind}


async def test_an_offer_in_the_nodes_own_name_is_left():
    offer = make_offer(requester=PROVIDER)
    assert await kinds(World({offer.tx_hash: PROVIDER}, {PROVIDER: NEEDED}), [offer]) == {0: Refused.FORGED}


async def test_an_account_on_the_deny_list_is_left_for_that_also_if_it_can_pay():
    offers = [make_offer()]
    world = World(posted(offers), {REQUESTER: NEEDED})
    sifted = await intake(world, deny=frozenset({REQUESTER})).sift(offers)
    assert sifted.left[0].kind is Refused.DENIED
    assert REQUESTER in sifted.left[0].reason


async def test_a_transaction_that_the_endpoint_does_not_know_yet_is_left_to_the_evaluation():
    assert await kinds(World({}, {REQUESTER: NEEDED}), [make_offer()]) == {}


async def test_offers_forged_in_an_honest_requesters_name_take_no_place_of_its_own():
    forged = [make_offer(number) for number in range(1, 40)]
    honest = make_offer(40)
    sent_by = dict.fromkeys((offer.tx_hash for offer in forged), MEDIATOR) | posted([honest])
    world = World(sent_by, {REQUESTER: NEEDED})
    found = await kinds(world, [*forged, honest], places=Places(4, 2))
    assert found == dict.fromkeys(range(39), Refused.FORGED)


async def test_a_crowded_block_and_many_requesters_cost_one_request_each():
    offers = [make_offer(number, account(number)) for number in range(1, 1001)]
    world = World(posted(offers), dict.fromkeys(map(account, range(1, 1001, 2)), NEEDED))
    found = await kinds(world, offers, places=Places(1000, 16))
    assert found == dict.fromkeys(range(1, 1000, 2), Refused.INSOLVENT)
    assert world.asked == ["block 10", "balances 1000"]


async def test_many_logs_of_one_transaction_cost_one_request():
    offers = [replace(make_offer(number), tx_hash=make_offer(1).tx_hash) for number in range(1, 500)]
    world = World(posted(offers[:1]), {REQUESTER: NEEDED})
    found = await kinds(world, offers)
    assert set(found) == set(range(16, 499)), "its share of the places"
    assert world.asked == ["transaction", "balance"]


async def test_balances_are_read_one_by_one_where_the_endpoint_executes_no_code():
    offers = [make_offer(number, account(number)) for number in range(1, 41)]
    world = World(posted(offers), dict.fromkeys(map(account, range(1, 40)), NEEDED), executes_code=False)
    assert await kinds(world, offers, places=Places(100, 16)) == {39: Refused.INSOLVENT}
    assert world.asked.count("balance") == 40


async def test_an_endpoint_that_does_not_answer_decides_nothing():
    class Silent(World):
        async def transaction(self, tx_hash):
            raise Unreachable("no answer")

    with pytest.raises(Unreachable):
        await intake(Silent({}, {})).sift([make_offer()])

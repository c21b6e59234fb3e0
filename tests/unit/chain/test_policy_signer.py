"""What the policy remembers: sums that survive restarts, replacements and clocks that are set."""

import pytest

from node.chain.policy import Breach
from node.chain.policy_signer import PolicySigner
from node.errors import RefusedByPolicy, Retryable
from node.job.deal import AgreementState
from node.job.transactions import TxStatus
from node.journal.database import Database
from node.journal.spending import Spending
from node.journal.transactions import TransactionLog
from node.types import DealId, Wei
from tests.fakes.clock import FakeClock
from tests.fakes.jobs import PROVIDER, TOKEN
from tests.fakes.signing import CALLS, RecordingSigner, StoredDeals, deal, policy, transaction


class TwoClocks(FakeClock):
    """A clock whose wall time can be set without time passing."""

    def __init__(self):
        super().__init__()
        self.passed = 0.0

    def monotonic(self):
        return self.passed

    def pass_time(self, seconds):
        self.passed += seconds
        self.time += seconds


class World:
    """One key with its journal. ``restart`` begins again with what is on disk."""

    def __init__(self, directory, **caps):
        self.directory = directory
        self.caps = caps
        self.clock = TwoClocks()
        self.deals = StoredDeals()
        self.inner = RecordingSigner()
        self.nonce = 0
        self.open()

    def open(self):
        self.database = Database(self.directory)
        self.log = TransactionLog(self.database)
        self.signer = PolicySigner(
            self.inner,
            policy(**self.caps),
            memory=Spending(self.database),
            deals=self.deals,
            clock=self.clock,
        )

    def restart(self):
        self.database.close()
        self.clock.passed = 0.0
        self.open()

    async def sign(self, call, *, nonce=None, **fields):
        """Sign a call as the transaction manager does: reserved in the journal first, each with its nonce."""
        if nonce is None:
            nonce = self.nonce
            self.nonce += 1
            await self.log.reserve(f"i{nonce}", call.what, call.to, call.data, call.value_wei, nonce)
        return await self.signer.sign(transaction(call, nonce=nonce, **fields))

    async def agree(self, number, **terms):
        await self.sign(CALLS.agree(deal(f"j{number}-x", **terms)))

    async def settle(self, nonce, status, fee=0):
        await self.log.settle(f"i{nonce}", status, None, None, 0, fee, None)

    async def agrees_until_refused(self, first=0):
        """Return how many deals of 2 tokens were agreed before the policy said no, and the refusal."""
        for number in range(first, 200):
            try:
                await self.agree(number)
            except Breach as breach:
                return number - first, breach
        raise AssertionError("never refused")


@pytest.fixture
def make_world(tmp_path):
    worlds = []

    def make(**caps):
        worlds.append(World(tmp_path, **caps))
        return worlds[-1]

    yield make
    for world in worlds:
        world.database.close()


WIDE = Wei(10**6 * TOKEN)


async def test_what_is_refused_never_reaches_the_key(make_world):
    world = make_world()
    with pytest.raises(RefusedByPolicy, match="max_per_deal"):
        await world.agree(1, price=30 * TOKEN)
    assert world.inner.signed == []


async def test_the_hour_fills_up_and_empties(make_world):
    world = make_world(per_hour_wei=Wei(10 * TOKEN), per_counterparty_wei=WIDE)
    assert (await world.agrees_until_refused())[0] == 5
    world.clock.pass_time(3599)
    assert (await world.agrees_until_refused(10))[0] == 0
    world.clock.pass_time(2)
    assert (await world.agrees_until_refused(20))[0] == 5


async def test_a_restart_gives_nothing_back(make_world):
    world = make_world(per_hour_wei=Wei(10 * TOKEN), per_counterparty_wei=WIDE)
    await world.agrees_until_refused()
    world.restart()
    assert (await world.agrees_until_refused(10))[0] == 0


@pytest.mark.parametrize("jump", [-86_400, -3_601, 3_601, 86_400])
async def test_a_clock_that_is_set_while_the_node_runs_gives_nothing_back(make_world, jump):
    world = make_world(per_hour_wei=Wei(10 * TOKEN), per_counterparty_wei=WIDE)
    await world.agrees_until_refused()
    world.clock.time += jump
    assert (await world.agrees_until_refused(10))[0] == 0


async def test_a_clock_that_is_set_back_between_two_starts_gives_nothing_back_and_blocks_nothing(make_world):
    world = make_world(per_hour_wei=Wei(10 * TOKEN), per_counterparty_wei=WIDE)
    await world.agrees_until_refused()
    world.clock.time -= 10 * 86_400
    world.restart()
    assert (await world.agrees_until_refused(10))[0] == 0
    world.clock.pass_time(3601)
    assert (await world.agrees_until_refused(20))[0] == 5


async def test_a_replacement_of_the_same_nonce_counts_once(make_world):
    world = make_world(per_hour_wei=Wei(10 * TOKEN), per_counterparty_wei=WIDE)
    await world.agree(1)
    for bump in range(3, 20):
        await world.sign(CALLS.agree(deal("j1-x")), nonce=0, max_fee=bump * 10**9)
    assert (await world.agrees_until_refused(2))[0] == 4


async def test_a_deal_that_had_to_be_agreed_under_a_second_nonce_counts_once(make_world):
    world = make_world(per_hour_wei=Wei(10 * TOKEN), per_counterparty_wei=WIDE)
    await world.agree(1)
    await world.agree(1)
    assert (await world.agrees_until_refused(2))[0] == 4


@pytest.mark.parametrize("status", [TxStatus.REVERTED, TxStatus.REFUSED])
async def test_a_transaction_without_effect_frees_its_tokens(make_world, status):
    world = make_world(per_hour_wei=Wei(10 * TOKEN))
    assert (await world.agrees_until_refused())[0] == 5
    await world.settle(0, status)
    assert (await world.agrees_until_refused(10))[0] == 1


async def test_finishing_a_deal_is_never_refused_by_what_was_begun_since(make_world):
    world = make_world(per_hour_wei=Wei(10 * TOKEN))
    await world.agrees_until_refused()
    await world.sign(CALLS.add_result("j0-x", "", "bafy", 1))
    assert len(world.inner.signed) == 6


async def test_deals_with_one_counterparty_are_capped_until_the_market_says_they_are_over(make_world):
    world = make_world(per_hour_wei=WIDE)
    count, breach = await world.agrees_until_refused()
    assert (count, breach.rule) == (15, "max_per_counterparty")
    await world.agree(100, creator="0x" + "12" * 20)
    world.clock.pass_time(10 * 86_400)
    assert (await world.agrees_until_refused(101))[0] == 0
    world.deals.states = {
        DealId("j0-x"): AgreementState.RESULTS_ACCEPTED,
        DealId("j1-x"): AgreementState.TIMEOUT_AGREE,
        DealId("j2-x"): AgreementState.RESULTS_CHECKED,
        DealId("j3-x"): AgreementState.RESULTS_SUBMITTED,
    }
    assert (await world.agrees_until_refused(200 - 50))[0] == 2


async def test_a_result_for_a_deal_agreed_elsewhere_counts_by_the_markets_terms(make_world):
    world = make_world()
    world.deals.terms[DealId("j1-x")] = deal("j1-x", price=30 * TOKEN)
    with pytest.raises(Breach, match="max_per_deal"):
        await world.sign(CALLS.add_result("j1-x", "", "bafy", 1))
    world.deals.terms[DealId("j2-x")] = deal("j2-x")
    for max_fee in (10**9, 2 * 10**9):
        await world.sign(CALLS.add_result("j2-x", "", "bafy", 1), nonce=50, max_fee=max_fee)
    (entry,) = await Spending(world.database).signed_for(PROVIDER, 0.0, None)
    assert entry.tokens_wei == 2 * TOKEN
    with pytest.raises(Breach, match="knows no such deal"):
        await world.sign(CALLS.add_result("j3-x", "", "bafy", 1))


async def test_an_honest_failure_costs_nothing_and_needs_no_terms(make_world):
    world = make_world()
    await world.sign(CALLS.add_result("j9-x", "", "bafy", 0))
    assert len(world.inner.signed) == 1


async def test_gas_counts_at_worst_until_it_is_known(make_world):
    world = make_world(gas_per_hour_wei=Wei(4 * 900_000 * 2 * 10**9))
    assert (await world.agrees_until_refused())[0] == 4
    await world.settle(0, TxStatus.MINED, fee=1)
    await world.settle(1, TxStatus.REVERTED, fee=1)
    count, breach = await world.agrees_until_refused(10)
    assert (count, breach.rule) == (1, "max_gas_per_hour")


async def test_two_signatures_at_once_do_not_share_what_is_left(make_world):
    import asyncio

    world = make_world(per_hour_wei=Wei(10 * TOKEN))
    outcomes = await asyncio.gather(*(world.agree(number) for number in range(20)), return_exceptions=True)
    assert sum(isinstance(outcome, Breach) for outcome in outcomes) == 15
    assert len(world.inner.signed) == 5


async def test_a_chain_that_does_not_answer_is_waited_for_not_guessed(make_world):
    world = make_world()

    async def silent(deal_id, at=None):
        raise Retryable("the endpoint is silent")

    world.deals.get_deal = silent
    with pytest.raises(Retryable):
        await world.sign(CALLS.add_result("j1-x", "", "bafy", 1))
    assert world.inner.signed == []

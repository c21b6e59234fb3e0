"""Spending: one intent, one nonce, one outcome, whatever the chain and the endpoint do."""

import asyncio
import itertools

import pytest

from node.chain.client import Call, Chain
from node.chain.devnet import dev_signer
from node.chain.fees import GWEI, FeesAboveCap
from node.chain.nonces import who_used_nonce
from node.chain.txmanager import Failed, Mined, TxIntent, TxManager, TxSettings
from node.errors import Fatal, RefusedByPolicy, Retryable, Unreachable
from node.job.transactions import TxStatus
from node.types import Address, Wei
from tests.fakes.chain import FakeNode, MiningClock, PooledTx
from tests.fakes.tx_store import MemoryTxStore

CONTRACT = Address("0x" + "c0" * 20)
SIGNER = dev_signer(4)
SETTINGS = TxSettings(confirmations=2, poll_interval_s=1.0, resubmit_after_s=10.0)


def intent(name: str = "j1:agree", data: bytes = b"agree") -> TxIntent:
    return TxIntent(name, Call(CONTRACT, data, name))


class World:
    """A node, its clock, a store that survives, and the manager of the moment."""

    def __init__(self, settings: TxSettings = SETTINGS, signer=SIGNER) -> None:
        self.node = FakeNode()
        self.node.mine(5)
        self.clock = MiningClock(self.node)
        self.store = MemoryTxStore()
        self.settings = settings
        self.signer = signer
        self.manager = self.new_manager()

    def new_manager(self, store=None) -> TxManager:
        return TxManager(
            Chain(self.node),
            self.signer,
            store or self.store,
            settings=self.settings,
            clock=self.clock,
            chain_id=self.node.chain_id,
        )

    @staticmethod
    async def settle_tasks() -> None:
        """Let every other task get as far as it can."""
        for _ in range(50):
            await asyncio.sleep(0)

    def nonces_of_ours_mined(self) -> list[int]:
        return [tx.nonce for tx in self.node.mined() if tx.payload is not None]


@pytest.fixture
def world() -> World:
    return World()


async def test_a_call_is_mined_and_reported_after_its_confirmations(world: World):
    outcome = await world.manager.send(intent())

    assert isinstance(outcome, Mined)
    assert outcome.gas_used == 90_000
    assert outcome.fee_wei == 90_000 * 2 * GWEI
    assert world.node.blocks[-1].number - outcome.block_number >= 2
    assert world.store.rows["j1:agree"].status is TxStatus.MINED
    assert not world.manager.busy


async def test_the_gas_limit_is_the_estimate_and_30_percent(world: World):
    await world.manager.send(intent())
    assert [payload.gas for payload in world.node.broadcasts] == [130_000]


async def test_the_payload_is_written_down_before_it_leaves(world: World):
    seen: list[int] = []
    original = world.node._eth_send_raw_transaction

    def watch(raw: str) -> str:
        seen.append(len(world.store.rows["j1:agree"].attempts))
        return original(raw)

    world.node._eth_send_raw_transaction = watch
    await world.manager.send(intent())

    assert seen == [1]


async def test_the_same_intent_twice_at_once_is_one_transaction(world: World):
    outcomes = await asyncio.gather(*(world.manager.send(intent()) for _ in range(5)))

    assert len(set(outcomes)) == 1
    assert len(world.node.mined()) == 1
    assert len(world.node.broadcasts) == 1


async def test_the_same_intent_again_later_returns_the_same_outcome_without_asking_the_chain(world: World):
    first = await world.manager.send(intent())
    world.node.asked.clear()

    assert await world.new_manager().send(intent()) == first
    assert world.node.asked == []


async def test_different_intents_take_consecutive_nonces(world: World):
    outcomes = await asyncio.gather(*(world.manager.send(intent(f"j{n}:agree", b"%d" % n)) for n in range(6)))
    assert all(isinstance(outcome, Mined) for outcome in outcomes)
    assert sorted(world.nonces_of_ours_mined()) == list(range(6))


async def test_one_intent_id_never_stands_for_two_calls(world: World):
    await world.manager.send(intent())
    with pytest.raises(Fatal, match="another call"):
        await world.manager.send(intent(data=b"other"))


async def test_a_second_call_under_a_running_id_is_refused(world: World):
    first = asyncio.create_task(world.manager.send(intent()))
    await asyncio.sleep(0)
    with pytest.raises(Fatal, match="another call"):
        await world.manager.send(intent(data=b"other"))
    assert isinstance(await first, Mined)


@pytest.mark.parametrize("name", ["", "j1~agree"])
async def test_ids_that_could_be_mistaken_for_others_are_refused(world: World, name: str):
    with pytest.raises(Fatal, match="intent id"):
        await world.manager.send(intent(name))


async def test_a_checksummed_address_is_the_same_address(world: World):
    call = Call(Address("0x52908400098527886E0F7030069857D2E4169EE7"), b"x", "pay")
    first = await world.manager.send(TxIntent("pay", call))
    assert isinstance(first, Mined)
    assert await world.new_manager().send(TxIntent("pay", call)) == first


# Refusals before a nonce


async def test_a_call_that_would_revert_takes_no_nonce_and_may_be_tried_again(world: World):
    world.node.call_reverts = lambda _block: "Not timed out"
    assert await world.manager.send(intent()) == Failed("j1:agree", "Not timed out", None)
    assert not world.store.rows
    assert not world.node.broadcasts

    world.node.call_reverts = lambda _block: None
    assert isinstance(await world.manager.send(intent()), Mined)


async def test_an_empty_wallet_is_named_before_a_nonce_is_taken(world: World):
    world.node.balance = 5
    outcome = await world.manager.send(intent())
    assert isinstance(outcome, Failed)
    assert "holds 5 wei for gas" in outcome.reason
    assert not world.store.rows


async def test_fees_above_the_cap_are_not_paid_and_take_no_nonce(world: World):
    world.node.base_fee = 10**6 * GWEI
    with pytest.raises(FeesAboveCap):
        await world.manager.send(intent())
    assert not world.store.rows


async def test_an_endpoint_that_stays_silent_shows_as_unreachable_without_a_nonce(world: World):
    world.node.dead_calls = 10**6
    with pytest.raises(Unreachable):
        await world.manager.send(intent())
    assert not world.store.rows

    world.node.dead_calls = 0
    assert isinstance(await world.manager.send(intent()), Mined)


# Replacement


async def test_a_stuck_transaction_is_replaced_with_at_least_ten_percent_more(world: World):
    world.node.needed_fee = 5 * GWEI
    outcome = await world.manager.send(intent())

    assert isinstance(outcome, Mined)
    sent = [payload.fees for payload in world.node.broadcasts]
    assert len(sent) >= 2
    for before, after in itertools.pairwise(sent):
        assert after.max_fee_wei * 10 >= before.max_fee_wei * 11
        assert after.tip_wei * 10 >= before.tip_wei * 11
    assert len(world.node.mined()) == 1
    assert {(payload.nonce, payload.data) for payload in world.node.broadcasts} == {(0, b"agree")}


async def test_fees_never_rise_above_the_cap_and_the_last_payload_is_sent_again(world: World):
    world.settings = TxSettings(
        confirmations=1, resubmit_after_s=5.0, max_fee_floor_wei=Wei(1), max_fee_cap_wei=Wei(4 * GWEI)
    )
    world.manager = world.new_manager()
    world.node.needed_fee = 10 * GWEI
    world.clock.at[200.0] = lambda: setattr(world.node, "needed_fee", 0)

    assert isinstance(await world.manager.send(intent()), Mined)

    assert max(payload.fees.max_fee_wei for payload in world.node.broadcasts) <= 4 * GWEI
    assert world.node.broadcasts[-1] == world.node.broadcasts[-2]


async def test_only_the_transaction_next_in_line_is_made_dearer(world: World):
    world.node.needed_fee = 6 * GWEI
    first, second = await asyncio.gather(
        world.manager.send(intent("j1:agree", b"1")), world.manager.send(intent("j2:agree", b"2"))
    )
    assert isinstance(first, Mined)
    assert isinstance(second, Mined)
    stuck = [payload for payload in world.node.broadcasts if payload.nonce == 1]
    before_first_was_mined = [payload for payload in stuck if payload.fees == stuck[0].fees]
    assert len(before_first_was_mined) >= 2


async def test_a_broadcast_that_the_pool_forgot_is_sent_again(world: World):
    world.node.forgets = 1
    assert isinstance(await world.manager.send(intent()), Mined)
    assert len(world.node.mined()) == 1


async def test_a_replacement_found_too_cheap_is_raised_at_once(world: World):
    world.node.send_error = "transaction underpriced"
    world.clock.at[3.0] = lambda: setattr(world.node, "send_error", None)
    assert isinstance(await world.manager.send(intent()), Mined)
    assert world.clock.elapsed_s < SETTINGS.resubmit_after_s
    assert len({payload.fees for payload in world.node.broadcasts}) > 1


async def test_a_payload_refused_for_want_of_money_is_sent_again_unchanged(world: World):
    world.node.send_error = "insufficient funds for gas * price + value"
    world.clock.at[25.0] = lambda: setattr(world.node, "send_error", None)
    assert isinstance(await world.manager.send(intent()), Mined)
    assert len(set(world.node.broadcasts)) == 1


async def test_the_first_payload_still_counts_when_its_replacement_went_astray(world: World):
    world.node.needed_fee = 5 * GWEI
    world.clock.at[9.5] = lambda: setattr(world.node, "forgets", 1)
    world.clock.at[12.5] = lambda: setattr(world.node, "needed_fee", 0)
    outcome = await world.manager.send(intent())
    first, second = world.store.rows["j1:agree"].attempts
    assert isinstance(outcome, Mined)
    assert outcome.tx_hash == first.tx_hash != second.tx_hash
    assert len(world.store.rows) == 1


# The endpoint misbehaves


async def test_an_endpoint_that_lags_is_not_asked_to_mine_a_used_nonce_again(world: World):
    await world.manager.send(intent("j1:agree", b"1"))
    world.node.pending_count = 0
    await world.manager.send(intent("j2:agree", b"2"))
    assert [payload.nonce for payload in world.node.broadcasts] == [0, 1]


async def test_an_endpoint_that_dies_after_the_nonce_never_causes_a_second_one(world: World):
    original = world.store.record_attempt

    async def then_die(*arguments):
        await original(*arguments)
        world.node.dead_calls = 7

    world.store.record_attempt = then_die
    assert isinstance(await world.manager.send(intent()), Mined)
    assert {payload.nonce for payload in world.node.broadcasts} == {0}
    assert len(world.store.rows) == 1


async def test_a_broadcast_whose_answer_is_lost_is_not_paid_twice(world: World):
    world.node.dead_after_send = True
    world.clock.at[3.0] = lambda: setattr(world.node, "dead_after_send", False)
    assert isinstance(await world.manager.send(intent()), Mined)
    assert len(world.node.mined()) == 1
    assert len(set(world.node.broadcasts)) == 1


async def test_a_lie_of_a_low_nonce_is_not_believed(world: World):
    world.node.send_error = "nonce too low"
    world.clock.at[30.0] = lambda: setattr(world.node, "send_error", None)
    outcome = await world.manager.send(intent())
    assert isinstance(outcome, Mined)
    assert {payload.nonce for payload in world.node.broadcasts} == {0}


async def test_receipts_that_come_and_go_do_not_make_a_nonce_lost(world: World):
    world.node.hidden_receipts = 8
    outcome = await world.manager.send(intent())
    assert isinstance(outcome, Mined)
    assert list(world.store.rows) == ["j1:agree"]


# Reverts and reorganisations


async def test_a_mined_revert_is_a_failure_with_its_hash_and_the_replayed_reason(world: World):
    world.node.mined_reverts = True
    world.node.call_reverts = lambda block: None if block == "latest" else "RP has already agreed"
    outcome = await world.manager.send(intent())

    assert isinstance(outcome, Failed)
    assert outcome.reason == "RP has already agreed"
    assert outcome.tx_hash == world.node.mined()[0].hash
    row = world.store.rows["j1:agree"]
    assert (row.status, row.reason) == (TxStatus.REVERTED, "RP has already agreed")
    assert row.fee_wei > 0
    assert await world.new_manager().send(intent()) == outcome


async def test_a_reorganisation_that_drops_the_transaction_brings_the_same_payload_back(world: World):
    world.clock.at[2.0] = lambda: world.node.reorg(2)
    outcome = await world.manager.send(intent())
    assert isinstance(outcome, Mined)
    assert len(world.node.mined()) == 1
    assert outcome.tx_hash == world.node.mined()[0].hash
    assert {payload.nonce for payload in world.node.broadcasts} == {0}


async def test_a_receipt_of_a_dropped_block_is_not_an_outcome(world: World):
    def move() -> None:
        world.node.keeps_stale_receipts = True
        world.node.reorg(1, keep_transactions=True)

    world.clock.at[2.0] = move
    world.clock.at[9.0] = lambda: setattr(world.node, "keeps_stale_receipts", False)
    await world.manager.send(intent())
    assert world.clock.elapsed_s >= 9.0


async def test_a_reorganisation_that_moves_the_transaction_is_followed(world: World):
    world.clock.at[2.0] = lambda: world.node.reorg(1, keep_transactions=True)
    outcome = await world.manager.send(intent())
    assert isinstance(outcome, Mined)
    (mined_in,) = [block for block in world.node.blocks if block.txs]
    assert outcome.block_number == mined_in.number


# Another wallet with the same key


async def test_a_waiting_transaction_of_another_wallet_keeps_its_nonce(world: World):
    world.node.pool.append(PooledTx("0x" + "fe" * 32, SIGNER.address, 0, 10**12, 1))
    assert isinstance(await world.manager.send(intent()), Mined)
    assert world.nonces_of_ours_mined() == [1]
    assert list(world.store.rows) == ["j1:agree"]


async def test_the_user_of_a_nonce_is_told_from_its_neighbours_in_one_block():
    node = FakeNode()
    node.mine(3)
    node.pool = [PooledTx(f"0x{nonce:064x}", SIGNER.address, nonce, 10**12, 1) for nonce in range(5)]
    node.mine(9)
    chain = Chain(node)
    for nonce in range(5):
        taken = await who_used_nonce(chain, SIGNER.address, nonce, confirmed=10)
        assert taken is not None
        assert taken.tx_hash == f"0x{nonce:064x}"
    assert await who_used_nonce(chain, SIGNER.address, 5, confirmed=10) is None
    assert await who_used_nonce(chain, SIGNER.address, 0, confirmed=3) is None


async def test_a_nonce_taken_by_another_wallet_is_proved_and_the_call_sent_under_the_next(world: World):
    world.node.forgets = 1
    world.clock.at[1.0] = lambda: world.node.mine_foreign(SIGNER.address)
    outcome = await world.manager.send(intent())

    assert isinstance(outcome, Mined)
    assert outcome.intent_id == "j1:agree"
    assert world.nonces_of_ours_mined() == [1]
    lost = world.store.rows["j1:agree"]
    assert lost.status is TxStatus.REFUSED
    assert lost.reason is not None
    assert "was used by 0x" in lost.reason
    assert await world.new_manager().send(intent()) == outcome


async def test_the_two_payloads_of_a_displaced_intent_are_never_alive_together(world: World):
    world.node.forgets = 1
    world.clock.at[1.0] = lambda: world.node.mine_foreign(SIGNER.address)
    await world.manager.send(intent())

    settled = world.store.journal.index(("settle", "j1:agree"))
    assert settled < world.store.journal.index(("reserve", "j1:agree~2"))


async def test_a_foreign_transaction_is_not_final_before_its_confirmations(world: World):
    world.node.forgets = 1
    world.clock.at[1.0] = lambda: world.node.mine_foreign(SIGNER.address)
    # The foreign transaction is reorganised away again, so ours is the one that counts.
    world.clock.at[2.0] = lambda: world.node.reorg(2)
    outcome = await world.manager.send(intent())
    assert isinstance(outcome, Mined)
    assert world.nonces_of_ours_mined() == [0]
    assert list(world.store.rows) == ["j1:agree"]


async def test_without_old_states_a_lost_nonce_is_proved_by_long_absence(world: World):
    world.node.keeps_old_states = False
    world.node.mine(20)
    world.node.forgets = 1
    for _ in range(3):
        world.node.mine_foreign(SIGNER.address)
    world.clock.at[1.0] = lambda: [world.node.mine_foreign(SIGNER.address), world.node.mine(10)]
    outcome = await world.manager.send(intent())
    assert isinstance(outcome, Mined)
    assert world.nonces_of_ours_mined() == [4]


async def test_a_displaced_call_that_no_longer_makes_sense_is_not_sent_again(world: World):
    world.node.forgets = 1

    def displace() -> None:
        world.node.mine_foreign(SIGNER.address)
        world.node.call_reverts = lambda _block: "RP has already agreed"

    world.clock.at[1.0] = displace
    outcome = await world.manager.send(intent())
    assert outcome == Failed("j1:agree", "RP has already agreed", None)
    assert world.nonces_of_ours_mined() == []


# Crashes


class Killed(BaseException):
    """The process is gone: nothing in it may catch this."""


async def killed_after(world: World, step: str, count: int = 1) -> None:
    """Send, and let the store kill the process after the given write is durable."""
    original = getattr(world.store, step)

    async def write_and_die(*arguments):
        nonlocal count
        result = await original(*arguments)
        count -= 1
        if count == 0:
            raise Killed
        return result

    setattr(world.store, step, write_and_die)
    with pytest.raises(Killed):
        await world.manager.send(intent())
    setattr(world.store, step, original)
    world.manager = world.new_manager()


async def test_killed_between_writing_and_broadcast_the_same_payload_is_sent_by_resume(world: World):
    await killed_after(world, "record_attempt")
    assert world.node.broadcasts == []
    (written,) = world.store.rows["j1:agree"].attempts

    await world.manager.resume()
    assert world.manager.pending() == {"j1:agree": "j1:agree"}
    outcome = await world.manager.send(intent())

    assert isinstance(outcome, Mined)
    assert outcome.tx_hash == written.tx_hash
    assert len(world.node.broadcasts) == 1
    assert not world.manager.busy


async def test_killed_between_reserving_and_signing_the_nonce_is_used_without_a_gap(world: World):
    await killed_after(world, "reserve")
    await world.manager.resume()
    outcome = await world.manager.send(intent())
    assert isinstance(outcome, Mined)
    assert world.nonces_of_ours_mined() == [0]


async def test_killed_after_the_outcome_was_settled_it_is_returned_from_the_store(world: World):
    await killed_after(world, "settle")
    outcome = await world.manager.send(intent())
    assert isinstance(outcome, Mined)
    assert len(world.node.broadcasts) == 1


async def test_killed_after_a_replacement_was_written_one_of_the_two_is_mined(world: World):
    world.node.needed_fee = 5 * GWEI
    await killed_after(world, "record_attempt", count=2)
    world.node.needed_fee = 0
    await world.manager.resume()
    outcome = await world.manager.send(intent())
    assert isinstance(outcome, Mined)
    assert len(world.node.mined()) == 1
    assert len(world.store.rows["j1:agree"].attempts) == 2


async def test_a_transaction_mined_while_the_process_was_down_is_found(world: World):
    world.clock.mining = False
    sending = asyncio.create_task(world.manager.send(intent()))
    await world.node.broadcast_seen.wait()
    sending.cancel()
    await world.manager.close()
    world.node.mine(10)

    world.manager = world.new_manager()
    await world.manager.resume()
    outcome = await world.manager.send(intent())

    assert isinstance(outcome, Mined)
    assert outcome.block_number == 6


async def test_resume_follows_without_anybody_waiting(world: World):
    await killed_after(world, "record_attempt")
    await world.manager.resume()
    await world.store.settled.wait()
    assert world.store.rows["j1:agree"].status is TxStatus.MINED


async def test_a_cancelled_caller_does_not_take_the_transaction_back(world: World):
    sending = asyncio.create_task(world.manager.send(intent()))
    await world.node.broadcast_seen.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert world.manager.busy
    assert isinstance(await world.manager.send(intent()), Mined)
    assert len(world.node.mined()) == 1


# The signer


class ScriptedSigner:
    """Does what each call's script entry says, then signs."""

    def __init__(self, *script: Exception | str) -> None:
        self.address = SIGNER.address
        self.script = list(script)

    async def sign(self, tx: dict) -> bytes:
        step = self.script.pop(0) if self.script else ""
        if isinstance(step, Exception):
            raise step
        if step == "another account":
            return await dev_signer(5).sign(tx)
        if step == "another nonce":
            return await SIGNER.sign(tx | {"nonce": tx["nonce"] + 1})
        return await SIGNER.sign(tx)


async def test_a_signer_that_cannot_be_asked_now_is_waited_for():
    world = World(signer=ScriptedSigner(Retryable("down"), Retryable("down")))
    assert isinstance(await world.manager.send(intent()), Mined)
    assert world.nonces_of_ours_mined() == [0]


async def test_a_policy_refusal_gives_the_nonce_back():
    world = World(signer=ScriptedSigner(RefusedByPolicy("over the hourly cap")))
    assert await world.manager.send(intent()) == Failed("j1:agree", "over the hourly cap", None)
    assert isinstance(await world.manager.send(intent("j2:agree")), Mined)
    assert world.nonces_of_ours_mined() == [0]


async def test_a_refusal_under_way_leaves_no_gap_below_the_next_transaction():
    class SlowRefusal(ScriptedSigner):
        async def sign(self, tx: dict) -> bytes:
            if tx["data"] == b"refused":
                await World.settle_tasks()
                raise RefusedByPolicy("not this one")
            return await super().sign(tx)

    world = World(signer=SlowRefusal())
    refused, mined = await asyncio.gather(
        world.manager.send(intent("j1:agree", b"refused")), world.manager.send(intent("j2:agree", b"2"))
    )
    assert isinstance(refused, Failed)
    assert isinstance(mined, Mined)
    assert world.nonces_of_ours_mined() == [0]


async def test_a_replacement_that_policy_refuses_leaves_the_first_payload_alive():
    world = World(signer=ScriptedSigner("", RefusedByPolicy("too dear")))
    world.node.needed_fee = 5 * GWEI
    world.clock.at[15.0] = lambda: setattr(world.node, "needed_fee", 0)
    assert isinstance(await world.manager.send(intent()), Mined)
    assert len(set(world.node.broadcasts)) == 1


@pytest.mark.parametrize("lie", ["another account", "another nonce"])
async def test_what_a_signer_signed_instead_is_never_broadcast(lie: str):
    world = World(signer=ScriptedSigner(lie))
    with pytest.raises(Fatal, match="the signer"):
        await world.manager.send(intent())
    assert world.node.broadcasts == []

"""A payload is followed to its outcome: made dearer, sent again, found wherever a reorganisation put it."""

import asyncio
import itertools

from node.chain.fees import GWEI
from node.chain.txmanager import Failed, Mined, TxSettings
from node.job.transactions import TxStatus
from node.types import Wei
from tests.fakes.sending import SETTINGS, World, intent

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


async def test_a_revert_for_lack_of_gas_is_told_as_one(world: World):
    world.node.mined_reverts = True
    world.node.gas_used = 130_000
    outcome = await world.manager.send(intent())
    assert isinstance(outcome, Failed)
    assert "out of gas: 130000" in outcome.reason


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

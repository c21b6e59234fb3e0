"""Spending while others send with the same key: nothing is sent twice, nothing stalls, no gap stays."""

import asyncio
from dataclasses import replace

from node.chain.client import Chain
from node.chain.fees import GWEI
from node.chain.nonces import who_used_nonce
from node.chain.txmanager import Failed, Mined, TxSettings
from node.errors import RefusedByPolicy
from node.job.transactions import TxStatus
from tests.fakes.chain import FakeNode, PooledTx
from tests.fakes.sending import SIGNER, ScriptedSigner, World, intent

AGREED = "RP has already agreed"


def waiting(nonce: int, max_fee: int = 10**12) -> PooledTx:
    return PooledTx("0x" + f"{nonce:064x}", SIGNER.address, nonce, max_fee, 1)


async def test_what_waits_with_our_key_is_let_into_a_block_and_may_make_our_call_needless(world: World):
    world.node.pool.append(waiting(0))
    refused_from = world.node.blocks[-1].number + 1

    def reverts(_block: str) -> str | None:
        return AGREED if world.node.blocks[-1].number >= refused_from else None

    world.node.call_reverts = reverts
    assert await world.manager.send(intent()) == Failed("j1:agree", AGREED, None)
    assert world.node.broadcasts == []
    assert world.store.rows == {}


async def test_a_call_is_tried_again_when_the_key_was_used_after_its_simulation(world: World):
    fees = world.node._eth_fee_history

    def used_meanwhile(*arguments):
        world.node.mine_foreign(SIGNER.address)
        world.node.call_reverts = lambda _block: AGREED
        return fees(*arguments)

    world.node._eth_fee_history = used_meanwhile
    assert await world.manager.send(intent()) == Failed("j1:agree", AGREED, None)
    assert world.node.broadcasts == []


async def test_a_stuck_transaction_of_another_wallet_is_queued_behind(world: World):
    world.node.pool.append(waiting(0, max_fee=1))
    sending = [asyncio.create_task(world.manager.send(intent(f"j{n}:agree", b"%d" % n))) for n in range(5)]
    while len(world.node.broadcasts) < 5:
        await asyncio.sleep(0)
    assert [payload.nonce for payload in world.node.broadcasts[:5]] == [1, 2, 3, 4, 5]

    world.node.base_fee = 0
    assert all(isinstance(outcome, Mined) for outcome in await asyncio.gather(*sending))


async def test_a_nonce_whose_transaction_vanished_is_filled_so_that_ours_above_it_are_mined(world: World):
    world.node.pool.append(waiting(0, max_fee=1))
    world.clock.at[8.0] = lambda: setattr(world.node, "pool", [])
    outcome = await world.manager.send(intent())

    assert isinstance(outcome, Mined)
    filler, ours = sorted(world.node.mined(), key=lambda tx: tx.nonce)
    assert (filler.payload.to, filler.payload.data, filler.payload.value_wei) == (SIGNER.address, b"", 0)
    assert ours.payload.data == b"agree"
    assert {payload.data for payload in world.node.broadcasts if payload.nonce == 1} == {b"agree"}


async def test_a_gap_is_still_filled_when_the_process_ends_between_its_reservation_and_its_signature():
    class NeverAnswers(ScriptedSigner):
        async def sign(self, tx: dict) -> bytes:
            if not tx["data"]:
                asked.set()
                await asyncio.Event().wait()
            return await super().sign(tx)

    asked = asyncio.Event()
    world = World(signer=NeverAnswers())
    world.node.pool.append(waiting(0, max_fee=1))
    world.clock.at[8.0] = lambda: setattr(world.node, "pool", [])
    sending = asyncio.create_task(world.manager.send(intent()))
    await asked.wait()
    await world.manager.close()
    assert sending.cancelled() or await asyncio.gather(sending, return_exceptions=True)
    assert not world.store.rows["gap:0"].attempts

    world.signer = SIGNER
    world.manager = world.new_manager()
    await world.manager.resume()
    assert isinstance(await world.manager.send(intent()), Mined)
    assert world.nonces_of_ours_mined() == [0, 1]


async def test_a_gap_whose_filling_was_refused_is_filled_later_and_costs_no_other_nonce():
    class RefusesOnce(ScriptedSigner):
        async def sign(self, tx: dict) -> bytes:
            if not tx["data"] and not refused:
                refused.append(tx["nonce"])
                raise RefusedByPolicy("over the hourly cap")
            return await super().sign(tx)

    refused: list[int] = []
    world = World(signer=RefusesOnce())
    world.node.pool.append(waiting(0, max_fee=1))
    world.clock.at[8.0] = lambda: setattr(world.node, "pool", [])
    assert isinstance(await world.manager.send(intent()), Mined)
    assert refused == [0]
    assert world.nonces_of_ours_mined() == [0, 1]
    assert {name: row.nonce for name, row in world.store.rows.items()} == {
        "j1:agree": 1,
        "gap:0": 0,
        "gap:0~2": 0,
    }


async def test_a_nonce_whose_transaction_of_ours_a_reorganisation_dropped_is_not_filled_but_sent_again(
    world: World,
):
    assert isinstance(await world.manager.send(intent("j1:agree", b"1")), Mined)
    world.clock.mining = False
    sending = asyncio.create_task(world.manager.send(intent("j2:agree", b"2")))
    while len(world.node.broadcasts) < 2:
        await asyncio.sleep(0)
    world.node.reorg(4)
    waited_from = world.clock.elapsed_s
    while world.clock.elapsed_s < waited_from + 60:
        await asyncio.sleep(0)
    assert set(world.store.rows) == {"j1:agree", "j2:agree"}

    world.store.rows["j1:agree"] = replace(world.store.rows["j1:agree"], status=TxStatus.OPEN)
    world.clock.mining = True
    await world.manager.follow_open()
    assert isinstance(await sending, Mined)
    assert [tx.payload.data for tx in world.node.mined()] == [b"1", b"2"]


async def test_a_gap_that_its_own_sender_closes_is_not_filled_by_us(world: World):
    world.node.pool.append(waiting(0, max_fee=1))

    def sent_again_dearer() -> None:
        world.node.pool = [tx for tx in world.node.pool if tx.nonce != 0]
        world.node.mine_foreign(SIGNER.address)

    world.clock.at[15.0] = sent_again_dearer
    assert isinstance(await world.manager.send(intent()), Mined)
    assert list(world.store.rows) == ["j1:agree"]
    assert {payload.nonce for payload in world.node.broadcasts} == {1}


async def test_a_pool_that_holds_another_wallets_transaction_is_not_outbid_at_once(world: World):
    world.node.pool.append(waiting(0))
    # The endpoint that is asked for the count lags behind the pool.
    world.node.pending_count = 0
    world.clock.mining = False
    sending = asyncio.create_task(world.manager.send(intent()))
    while world.clock.elapsed_s < 8:
        await asyncio.sleep(0)
    assert len(world.node.broadcasts) == 1

    world.clock.mining = True
    outcome = await sending
    assert isinstance(outcome, Mined)
    assert [tx.nonce for tx in world.node.mined()] == [0, 1]


async def test_no_further_nonce_is_given_while_another_wallet_contests_one_of_ours():
    world = World(TxSettings(confirmations=0, poll_interval_s=1.0, resubmit_after_s=10_000.0))
    world.node.pool.append(waiting(0))
    world.node.pending_count = 0
    world.clock.mining = False
    first = asyncio.create_task(world.manager.send(intent()))
    while not world.node.broadcasts:
        await asyncio.sleep(0)
    second = asyncio.create_task(world.manager.send(intent("j2:agree", b"2")))
    await world.settle_tasks()
    assert "j2:agree" not in world.store.rows

    world.node.call_reverts = lambda _block: AGREED if world.node.mined() else None
    world.clock.mining = True
    assert await second == Failed("j2:agree", AGREED, None)
    assert await first == Failed("j1:agree", AGREED, None)
    assert [tx.payload for tx in world.node.mined()] == [None]


async def test_one_foreign_transaction_every_few_blocks_stalls_none_of_many_jobs(world: World):
    for moment in range(2, 200, 5):
        world.clock.at[float(moment)] = lambda: world.node.mine_foreign(SIGNER.address)
    outcomes = []
    for number in range(0, 60, 3):
        calls = [intent(f"j{n}:agree", b"%d" % n) for n in range(number, number + 3)]
        outcomes += await asyncio.gather(*(world.manager.send(call) for call in calls))
    assert all(isinstance(outcome, Mined) for outcome in outcomes)
    sent = [tx.payload.data for tx in world.node.mined() if tx.payload is not None]
    assert len(sent) == len(set(sent)) == 60


async def test_a_rising_base_fee_is_followed_by_dearer_payloads_up_to_the_cap(world: World):
    world.clock.at[1.0] = lambda: setattr(world.node, "base_fee", 40 * GWEI)
    world.node.needed_fee = 30 * GWEI
    outcome = await world.manager.send(intent())
    assert isinstance(outcome, Mined)
    assert len(world.node.broadcasts) == 2
    assert world.node.broadcasts[-1].fees.max_fee_wei >= 80 * GWEI


async def test_at_the_cap_a_payload_is_not_sent_again_before_its_time(world: World):
    world.settings = TxSettings(
        confirmations=0, poll_interval_s=1.0, resubmit_after_s=10.0, max_fee_cap_wei=3 * GWEI
    )
    world.manager = world.new_manager()
    world.node.send_error = "transaction underpriced: max fee per gas less than block base fee"
    sending = asyncio.create_task(world.manager.send(intent()))
    while world.clock.elapsed_s < 60:
        await asyncio.sleep(0)
    assert len(world.node.broadcasts) <= 8
    world.node.send_error = None
    assert isinstance(await sending, Mined)


async def test_money_that_runs_out_after_signing_is_waited_for_under_the_same_payload(world: World):
    world.node.send_error = "insufficient funds for gas * price + value: balance 5, tx cost 9"
    world.clock.at[35.0] = lambda: setattr(world.node, "send_error", None)
    assert isinstance(await world.manager.send(intent()), Mined)
    assert len(world.store.rows["j1:agree"].attempts) == 1


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
        assert taken.hash == f"0x{nonce:064x}"
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

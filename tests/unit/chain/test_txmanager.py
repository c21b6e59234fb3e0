"""Spending: one intent, one nonce, one outcome, whatever the chain and the endpoint do."""

import asyncio

import pytest

from node.chain.client import Call
from node.chain.fees import GWEI, FeesAboveCap
from node.chain.txmanager import Failed, Mined, TxIntent
from node.errors import Fatal, Misconfigured, RefusedByPolicy, Retryable, Unreachable
from node.job.transactions import TxStatus
from node.types import Address
from tests.fakes.sending import ScriptedSigner, World, intent


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
    assert "holds 0.000000000000000005 of the chain's token for gas and needs 0.000" in outcome.reason
    assert outcome.reason.endswith(f": send some to {world.manager._signer.address}")
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


# The signer


async def test_a_signer_that_cannot_be_asked_now_is_waited_for():
    world = World(signer=ScriptedSigner(Retryable("down"), Retryable("down")))
    assert isinstance(await world.manager.send(intent()), Mined)
    assert world.nonces_of_ours_mined() == [0]


async def test_a_policy_refusal_gives_the_nonce_back():
    world = World(signer=ScriptedSigner(RefusedByPolicy("over the hourly cap")))
    refused = Failed("j1:agree", "over the hourly cap", None, by_policy=True)
    assert await world.manager.send(intent()) == refused
    assert isinstance(await world.manager.send(intent("j2:agree")), Mined)
    assert world.nonces_of_ours_mined() == [0]


async def test_a_signer_that_can_sign_nothing_stops_the_sender_and_gives_the_nonce_back():
    world = World(signer=ScriptedSigner(Misconfigured("the signer signs nothing"), "another account"))
    with pytest.raises(Misconfigured, match="signs nothing"):
        await world.manager.send(intent())
    with pytest.raises(Fatal, match="the signer signed as"):
        await world.manager.send(intent())
    assert {row.status for row in world.store.rows.values()} == {TxStatus.REFUSED}
    assert isinstance(await world.manager.send(intent("j2:agree")), Mined)
    assert isinstance(await world.manager.send(intent()), Mined)
    assert world.nonces_of_ours_mined() == [0, 1]


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

"""A process killed between any two steps of sending: nothing is sent twice and no gap stays."""

import asyncio

import pytest

from node.chain.fees import GWEI
from node.chain.txmanager import Mined
from node.job.transactions import TxStatus
from tests.fakes.sending import World, intent


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

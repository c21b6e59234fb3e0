"""A reorganisation opens settled rows again: they are followed to a new outcome under the same payload."""

import asyncio
from dataclasses import replace

import pytest

from node.chain.txmanager import Mined
from node.job.transactions import TxStatus
from tests.fakes.sending import World, intent


@pytest.fixture
async def world() -> World:
    """A transaction that was final, in a block that is gone, and its row as the journal reopens it."""
    world = World()
    first = await world.manager.send(intent())
    assert isinstance(first, Mined)
    world.node.reorg(world.node.blocks[-1].number - first.block_number + 1)
    row = world.store.rows["j1:agree"]
    world.store.rows["j1:agree"] = replace(row, status=TxStatus.OPEN, tx_hash=None, block_number=None)
    assert world.node.mined() == []
    return world


async def test_the_same_payload_is_mined_again(world: World):
    payloads = set(world.store.rows["j1:agree"].attempts)
    await world.manager.follow_open()
    while world.store.rows["j1:agree"].status is TxStatus.OPEN:
        await asyncio.sleep(0)
    row = world.store.rows["j1:agree"]
    assert row.status is TxStatus.MINED
    assert row.nonce == 0
    assert payloads <= set(row.attempts)
    assert [tx.nonce for tx in world.node.mined()] == [0]


async def test_following_twice_is_following_once(world: World):
    for _ in range(3):
        await world.manager.follow_open()
    assert list(world.manager.pending()) == ["j1:agree"]
    assert isinstance(await world.manager.send(intent()), Mined)
    assert len(world.node.mined()) == 1


async def test_whoever_sends_the_intent_again_waits_for_the_new_outcome(world: World):
    outcome = await world.manager.send(intent())
    assert isinstance(outcome, Mined)
    assert world.node.blocks[outcome.block_number].txs[0].hash == outcome.tx_hash


async def test_new_intents_stand_behind_a_reopened_one(world: World):
    world.clock.mining = False
    await world.manager.follow_open()
    sending = asyncio.create_task(world.manager.send(intent("j2:agree", b"2")))
    while "j2:agree" not in world.store.rows:
        await asyncio.sleep(0)
    assert world.store.rows["j2:agree"].nonce == 1
    world.clock.mining = True
    assert isinstance(await sending, Mined)
    assert sorted(tx.nonce for tx in world.node.mined()) == [0, 1]

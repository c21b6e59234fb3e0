"""A call that was mined and reverted is sent again under the next id, and only then."""

from node.chain.client import Call
from node.chain.outcomes import Failed, Mined, TxIntent
from node.chain.resending import SETTLED, newest_attempt, send_while_wanted
from node.job.transactions import TxRow, TxStatus
from node.types import Address, Wei
from tests.fakes.sending import CONTRACT, World

CLAIM = TxIntent("j1:claim", Call(CONTRACT, b"claim", "claim"))


async def always() -> bool:
    return True


async def never() -> bool:
    return False


async def test_each_call_makes_one_transaction_and_the_next_one_has_the_next_number():
    world = World()
    world.node.mined_reverts = True
    for number in (1, 2):
        sent = await send_while_wanted(world.new_manager(), CLAIM, always)
        assert (sent.number, sent.reverted) == (number, True)
    world.node.mined_reverts = False
    for _ in range(2):
        sent = await send_while_wanted(world.new_manager(), CLAIM, always)
        assert isinstance(sent.outcome, Mined)
        assert sent.number == 3
    assert list(world.store.rows) == ["j1:claim", "j1:claim:2", "j1:claim:3"]
    assert world.nonces_of_ours_mined() == [0, 1, 2]


async def test_what_is_not_wanted_any_more_is_not_sent_again_and_keeps_its_outcome():
    world = World()
    world.node.mined_reverts = True
    first = await send_while_wanted(world.manager, CLAIM, never)
    assert first.reverted
    assert await send_while_wanted(world.manager, CLAIM, never) == first
    assert list(world.store.rows) == ["j1:claim"]


async def test_no_more_gas_is_burnt_than_allowed():
    world = World()
    world.node.mined_reverts = True
    numbers = [(await send_while_wanted(world.manager, CLAIM, always, most=2)).number for _ in range(4)]
    assert numbers == [1, 2, 2, 2]
    assert world.nonces_of_ours_mined() == [0, 1]


async def test_a_next_attempt_that_would_revert_takes_no_nonce():
    world = World()
    world.node.mined_reverts = True
    await send_while_wanted(world.manager, CLAIM, always)
    world.node.call_reverts = lambda _block: "paused"
    for _ in range(3):
        sent = await send_while_wanted(world.manager, CLAIM, always)
        assert sent.outcome == Failed("j1:claim:2", "paused", None)
    assert list(world.store.rows) == ["j1:claim"]


async def test_a_success_is_followed_by_another_only_where_it_can_be_undone():
    world = World()
    await send_while_wanted(world.manager, CLAIM, always)
    await send_while_wanted(world.manager, CLAIM, always)
    assert list(world.store.rows) == ["j1:claim"]
    await send_while_wanted(world.manager, CLAIM, always, over=SETTLED)
    assert list(world.store.rows) == ["j1:claim", "j1:claim:2"]


async def test_an_attempt_that_lost_its_nonce_and_then_reverted_is_seen_as_reverted():
    world = World()
    for name, status in (("j1:claim", TxStatus.REFUSED), ("j1:claim~2", TxStatus.REVERTED)):
        world.store.rows[name] = TxRow(name, "claim", Address(CONTRACT), b"claim", Wei(0), 0, status)
    attempt = await newest_attempt(world.manager, "j1:claim")
    assert (attempt.intent_id, attempt.row) == ("j1:claim:2", None)

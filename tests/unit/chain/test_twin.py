"""A second node with our key is told from an operator, and stops this one before it signs again."""

import asyncio
from dataclasses import replace

import pytest

from node.chain.calls import MarketAddresses, MarketCalls
from node.chain.client import Chain
from node.chain.twin import KeyWatch, RevocableSigner
from node.errors import Halted, Retryable
from node.job.deal import ServiceType
from node.types import Address, Wei
from tests.fakes.chain import FakeNode, MiningClock
from tests.fakes.jobs import make_deal
from tests.fakes.sending import SIGNER

CONTROLLER, TOKEN, USERS, OTHER = (Address("0x" + pair * 20) for pair in ("c0", "10", "05", "0e"))
CALLS = MarketCalls(MarketAddresses(CONTROLLER, OTHER, OTHER, USERS, OTHER, OTHER, TOKEN))
DEAL = make_deal()
OURS = replace(DEAL, members=replace(DEAL.members, resource_provider=SIGNER.address))
HIRED = replace(DEAL, members=replace(DEAL.members, job_creator=SIGNER.address, resource_provider=OTHER))


class Memory:
    def __init__(self) -> None:
        self.signed: dict[int, set[str]] = {}
        self.upto: int | None = None

    async def signed_hashes(self, nonce):
        return frozenset(self.signed.get(nonce, ()))

    async def judged_up_to(self, account):
        return self.upto

    async def judged(self, account, nonce):
        self.upto = nonce


class World:
    """A chain, and a watch over the key on it."""

    def __init__(self) -> None:
        self.node = FakeNode()
        self.node.mine(3)
        self.memory = Memory()
        self.deals = {OURS.deal_id: OURS}
        self.halts: list[str] = []
        self.seen: list[str | None] = []
        self.watch = self.new_watch()

    def new_watch(self) -> KeyWatch:
        return KeyWatch(
            Chain(self.node),
            SIGNER.address,
            controller=CONTROLLER,
            deals=self,
            memory=self.memory,
            halt=self.halt,
            on_foreign=lambda use: self.seen.append(use.twin),
            poll_interval_s=1.0,
            clock=MiningClock(self.node),
        )

    async def halt(self, reason: str) -> None:
        self.halts.append(reason)

    async def get_deal(self, deal_id, at=None):
        return self.deals.get(deal_id)

    def use(self, call) -> str:
        return self.node.mine_foreign(SIGNER.address, call.to, call.data)


@pytest.fixture
async def world() -> World:
    world = World()
    await world.watch.look()
    return world


OF_A_TWIN = {
    "agree": CALLS.agree(OURS),
    "addResult": CALLS.add_result(OURS.deal_id, "", "cid", 1),
    "timeoutAgree": CALLS.timeout_agree(OURS.deal_id),
    "timeoutJudgeResult": CALLS.timeout_judge_result(OURS.deal_id),
    "timeoutMediateResult": CALLS.timeout_mediate_result(OURS.deal_id),
}
OF_AN_OPERATOR = {
    "a transfer": CALLS.transfer(OTHER, Wei(5)),
    "an approval": CALLS.approve(OTHER, Wei(5)),
    "a registration": CALLS.update_user("", "http://x", [ServiceType.RESOURCE_PROVIDER]),
    "an agree as job creator": CALLS.agree(HIRED),
    "a job": CALLS.run_job("m", (), SIGNER.address),
    "an acceptance": CALLS.accept_result(OURS.deal_id),
    "a result for a deal nobody knows": CALLS.add_result(HIRED.deal_id + "x", "", "cid", 1),
    "broken data": replace(CALLS.agree(OURS), data=CALLS.agree(OURS).data[:40]),
}


@pytest.mark.parametrize("name", OF_A_TWIN)
async def test_a_providers_market_call_that_we_did_not_sign_halts_the_node(world: World, name: str):
    tx_hash = world.use(OF_A_TWIN[name])
    with pytest.raises(Halted, match=f"sent {name} .* in {tx_hash}"):
        await world.watch.look()
    assert len(world.halts) == 1
    assert "sdv-node resume" in world.halts[0]


@pytest.mark.parametrize("name", OF_AN_OPERATOR)
async def test_what_an_operator_or_a_requester_does_with_the_key_halts_nothing_and_is_told_once(
    world: World, name: str
):
    world.use(OF_AN_OPERATOR[name])
    for _ in range(3):
        await world.watch.look()
    assert world.seen == [None]
    assert world.halts == []


async def test_a_timeout_call_for_a_deal_we_made_as_job_creator_is_no_twins(world: World):
    world.deals = {OURS.deal_id: replace(HIRED, deal_id=OURS.deal_id)}
    world.use(OF_A_TWIN["timeoutAgree"])
    await world.watch.look()
    assert world.seen == [None]


async def test_what_this_journal_signed_is_ours(world: World):
    world.memory.signed[0] = {world.use(OF_A_TWIN["agree"])}
    await world.watch.look()
    assert (world.seen, world.halts, world.memory.upto) == ([], [], 1)


async def test_uses_from_before_the_journal_existed_are_history():
    world = World()
    world.use(OF_A_TWIN["agree"])
    await world.watch.look()
    assert (world.halts, world.memory.upto) == ([], 1)


async def test_a_second_node_that_was_at_work_while_this_one_was_down_is_found_at_the_start(world: World):
    world.use(OF_A_TWIN["agree"])
    world.node.mine(50)
    with pytest.raises(Halted):
        await world.new_watch().look()


async def test_a_reorganisation_that_brings_another_use_of_a_nonce_is_judged_anew(world: World):
    world.memory.signed[0] = {world.use(OF_A_TWIN["agree"])}
    await world.watch.look()
    world.node.reorg(1)
    await world.watch.look()
    assert world.memory.upto == 0
    world.memory.signed[0] = set()
    world.use(OF_A_TWIN["addResult"])
    with pytest.raises(Halted):
        await world.watch.look()


async def test_an_endpoint_that_counts_a_use_and_hides_it_is_asked_again(world: World):
    world.use(OF_A_TWIN["agree"])
    hidden, world.node.blocks[-1].txs = world.node.blocks[-1].txs, []
    count = world.node._count
    world.node._count = lambda sender, number: (
        1 if number >= world.node.blocks[-1].number else count(sender, number)
    )
    with pytest.raises(Retryable):
        await world.watch.look()
    assert world.memory.upto == 0
    world.node.blocks[-1].txs = hidden
    with pytest.raises(Halted):
        await world.watch.look()


async def test_the_watch_ends_with_the_halt_within_a_block_of_the_use(world: World):
    watching = asyncio.create_task(world.watch.run())
    await asyncio.sleep(0)
    world.use(OF_A_TWIN["agree"])
    used_in = world.node.blocks[-1].number
    with pytest.raises(Halted):
        await watching
    assert world.node.blocks[-1].number - used_in <= 1


async def test_nothing_is_signed_after_the_revocation_not_even_what_was_under_way():
    released = asyncio.Event()

    class Slow:
        address = SIGNER.address

        async def sign(self, tx):
            await released.wait()
            return b"signed"

    signer = RevocableSigner(Slow())
    under_way = asyncio.create_task(signer.sign({}))
    await asyncio.sleep(0)
    signer.revoke("another node uses the key")
    released.set()
    with pytest.raises(Halted, match="another node"):
        await under_way
    with pytest.raises(Halted, match="another node"):
        await signer.sign({})

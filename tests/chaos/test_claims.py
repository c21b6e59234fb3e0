"""What fell due is claimed within two minutes of block time, whatever stood in the way, and claimed once."""

import asyncio
from collections import Counter

import pytest

from tests.chaos.economy import TOKEN, Account, claims_of, reached, running
from tests.chaos.harness.arena import Arena, Provider
from tests.faults.rpc import Fault, FaultProxy

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

ALLOWED_S = 120
JUDGE_S = 86_400
DIE = "tests.chaos.harness.hooks:die_at"


class Ticking:
    """Blocks that come by themselves, so that a node that waits for confirmations gets them."""

    def __init__(self, market) -> None:
        self.market = market

    async def __aenter__(self):
        self.task = asyncio.create_task(self._tick())

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def _tick(self):
        while True:
            await self.market.mine()
            await asyncio.sleep(0.03)


async def in_pool(market) -> int:
    return int((await market.rpc.call("txpool_status", []))["pending"], 16)


async def wait_for_pool(market, transactions: int) -> None:
    while await in_pool(market) < transactions:
        await asyncio.sleep(0.03)


async def deal_of(provider: Provider, job_id: str) -> str:
    return (await reached(provider, job_id, "PROPOSED"))["deal_id"]


async def past_due(arena: Arena, seconds: int = JUDGE_S + 1) -> int:
    """Let the time pass in which others could move; returns the time of the first block after it."""
    await arena.pass_time(seconds)
    return (await arena.market.chain.head()).timestamp


async def assert_prompt(arena: Arena, provider: Provider, *, since: int) -> Counter:
    """Check every claim of the node against the block in which it was first due; returns what was claimed."""
    claims = await claims_of(arena.market, provider.address)
    assert all(claim.ok for claim in claims)
    for claim in claims:
        assert claim.at - since <= ALLOWED_S, claim
    assert len({(claim.function, claim.deal_id) for claim in claims}) == len(claims)
    return Counter(claim.function for claim in claims)


async def test_many_claims_due_at_once_go_out_on_the_first_block_past_their_deadline(shared_arena: Arena):
    """Three confirmations are asked for, and one block past the deadline has to be enough."""
    market = shared_arena.market
    settings = {"chain": {"confirmations": 3}, "deal": {"agree_timeout_s": JUDGE_S}}
    async with asyncio.timeout(120), running(shared_arena, **settings) as provider:
        requester = await Account.funded(market, 1)
        before = await market.contracts.token_balance(provider.address)
        async with Ticking(market):
            for _ in range(8):
                await requester.post()
            deals = [await deal_of(provider, f"j{number}") for number in range(1, 9)]
            for deal_id in deals[:6]:
                await requester.agree(deal_id)
            for number in range(1, 7):
                await reached(provider, f"j{number}", "SUBMITTED")
        await market.rpc.call("evm_setAutomine", [False])
        due = await past_due(shared_arena)
        await wait_for_pool(market, 8)
        await shared_arena.pass_time(12)
        async with Ticking(market):
            await provider.rest("PAID", "LAPSED", jobs=8)
        counted = await assert_prompt(shared_arena, provider, since=due)
        assert counted == {"timeoutJudgeResult": 6, "timeoutAgree": 2}
        pay_and_collateral_of_the_silent = 6 * 2 * TOKEN
        after = await market.contracts.token_balance(provider.address)
        assert after - before == pay_and_collateral_of_the_silent


async def test_a_claim_interrupted_by_a_kill_goes_out_after_the_restart_though_no_block_comes(
    shared_arena: Arena,
):
    market = shared_arena.market
    async with (
        asyncio.timeout(120),
        running(shared_arena, (DIE, ["j1", "before:CLAIMING"])) as provider,
    ):
        requester = await Account.funded(market, 1)
        await requester.post()
        await requester.agree(await deal_of(provider, "j1"))
        await reached(provider, "j1", "SUBMITTED")
        # The first block past the deadline holds a log of its own, so that its number is journaled as read
        # before the kill: the node that starts again has nothing new to read.
        await market.rpc.call("evm_increaseTime", [hex(JUDGE_S + 1)])
        await requester.send(market.contracts.run_job("cowsay:v0.0.4", ("Message=moo",), requester.address))
        due = (await market.chain.head()).timestamp
        await market.rpc.call("evm_setAutomine", [False])
        await provider.node.ended
        assert await in_pool(market) == 0
        await provider.start()
        await wait_for_pool(market, 1)
        await market.rpc.call("evm_setAutomine", [True])
        await market.mine()
        await reached(provider, "j1", "PAID")
        assert await assert_prompt(shared_arena, provider, since=due) == {"timeoutJudgeResult": 1}


async def test_a_claim_that_falls_due_while_the_endpoint_is_away_goes_out_when_it_is_back(
    shared_arena: Arena,
):
    market = shared_arena.market
    async with (
        asyncio.timeout(120),
        FaultProxy(market.url, seed=1) as proxy,
        running(shared_arena, chain={"rpc_urls": [proxy.url]}) as provider,
    ):
        requester = await Account.funded(market, 1)
        await requester.post()
        await requester.agree(await deal_of(provider, "j1"))
        await reached(provider, "j1", "SUBMITTED")
        proxy.rates = {Fault.HTTP_500: 1.0}
        due = await past_due(shared_arena)
        while provider.log.read_text().count("chain_unreachable") < 3:
            await asyncio.sleep(0.03)
        proxy.rates = {}
        await reached(provider, "j1", "PAID")
        assert await assert_prompt(shared_arena, provider, since=due) == {"timeoutJudgeResult": 1}


async def test_silent_mediators_are_claimed_one_after_the_other_also_after_a_wait_for_gas_money(
    shared_arena: Arena,
):
    market = shared_arena.market
    judges = [shared_arena.box.address("mediator"), "0x" + "77" * 20]
    async with asyncio.timeout(120), running(shared_arena, market={"mediators": judges}) as provider:
        requester = await Account.funded(market, 1)
        before = await market.contracts.token_balance(provider.address)
        await requester.post()
        deal_id = await deal_of(provider, "j1")
        await requester.agree(deal_id)
        await reached(provider, "j1", "SUBMITTED")
        await requester.dispute(deal_id)
        await reached(provider, "j1", "DISPUTED")
        gas_money = await market.chain.balance(provider.address)
        await market.rpc.call("anvil_setBalance", [provider.address, "0x0"])
        first_due = await past_due(shared_arena)
        while "has to wait" not in ((await reached(provider, "j1", "CLAIMING"))["reason"] or ""):
            await asyncio.sleep(0.03)
        await market.rpc.call("anvil_setBalance", [provider.address, hex(gas_money)])
        await reached(provider, "j1", "DISPUTED")
        second_due = await past_due(shared_arena)
        await reached(provider, "j1", "PAID")
        first, second = await claims_of(market, provider.address)
        assert (first.ok, second.ok) == (True, True)
        assert first.at - first_due <= ALLOWED_S
        assert second.at - second_due <= ALLOWED_S
        assert await market.contracts.token_balance(provider.address) - before == TOKEN

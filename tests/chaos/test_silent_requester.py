"""A requester who falls silent costs the provider time, never money."""

import asyncio

import pytest

from node.chain.devnet import REQUESTER, dev_signer
from node.types import Wei
from tests.chaos.conftest import MODULE

pytestmark = [pytest.mark.chaos, pytest.mark.integration]
SENDER = dev_signer(REQUESTER).address
TOKEN = 10**18


async def send(market, call):
    request = {"from": SENDER, "to": call.to, "data": "0x" + call.data.hex(), "gas": hex(3_000_000)}
    await market.rpc.call("eth_sendTransaction", [request])


async def pass_time(market, seconds):
    await market.rpc.call("evm_increaseTime", [hex(seconds)])
    await market.mine()


async def test_a_proposal_that_nobody_answers_is_taken_back_and_the_collateral_returns(make_world):
    async with make_world("fake:20") as world, asyncio.timeout(90):
        market, provider = world.box.market, world.box.address("provider")
        before = await market.contracts.token_balance(provider)
        await world.start()
        await send(market, market.contracts.run_job(MODULE, ("Prompt=a fox",), SENDER))
        await world.reached("j1", "PROPOSED")
        assert await market.contracts.token_balance(provider) == before - TOKEN
        await pass_time(market, 601)
        job = await world.reached("j1", "LAPSED")
        assert "did not agree" in job["reason"]
        assert await market.contracts.token_balance(provider) == before
        functions = [name for name, _ in await world.sent_by(provider)]
        assert functions == ["agree", "timeoutAgree"]


async def test_a_result_that_nobody_judges_is_paid_after_its_time_also_across_a_kill(make_world):
    async with make_world("fake:20") as world, asyncio.timeout(120):
        market, provider = world.box.market, world.box.address("provider")
        before = await market.contracts.token_balance(provider)
        await send(market, market.contracts.approve(market.addresses.payments, Wei(100 * TOKEN)))
        await world.start()
        await send(market, market.contracts.run_job(MODULE, ("Prompt=a fox",), SENDER))
        job = await world.reached("j1", "PROPOSED")
        deal = await market.contracts.get_deal(job["deal_id"])
        await send(market, market.contracts.agree(deal))
        await world.reached("j1", "SUBMITTED")
        await world.kill()
        await pass_time(market, 86_401)
        await world.start()
        job = await world.reached("j1", "PAID")
        timeout_collateral_of_the_requester = TOKEN
        assert job["paid_wei"] == str(TOKEN)
        assert (
            await market.contracts.token_balance(provider)
            == before + TOKEN + timeout_collateral_of_the_requester
        )
        metrics = await world.get("/metrics")
        assert f"sdv_node_paid_wei_total {float(TOKEN)!r}" in metrics
        assert 'sdv_node_jobs_finished_total{phase="paid"} 1.0' in metrics.lower()
        assert 'sdv_node_transactions_total{status="mined"}' in metrics

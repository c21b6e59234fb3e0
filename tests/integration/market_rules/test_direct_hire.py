"""Check 1 in the other order: the job creator agrees first, on both deployments, and is served."""

import asyncio

import pytest

from node.requester.outcome import RunState
from tests.integration.market_rules.bench import JC, RP, TOKEN
from tests.integration.market_rules.stage import MODULE

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


async def offered(stage):
    async with asyncio.timeout(90):
        while (await stage.status()).get("offer", {}).get("state") != "published":
            await asyncio.sleep(0.02)


async def test_a_node_is_hired_directly_by_a_real_requester_and_paid(stage):
    await stage.start(market={"matching": "hire"})
    await offered(stage)
    before = [await stage.contracts.token_balance(account) for account in (RP, JC)]
    async with stage.requester() as party:
        outcome = await party.request(MODULE, ("Prompt=a fox",), RP)
    assert (outcome.state, outcome.paid_wei) == (RunState.PAID, TOKEN)
    await stage.reached("PAID", job="h1")
    after = [await stage.contracts.token_balance(account) for account in (RP, JC)]
    assert [now - then for now, then in zip(after, before, strict=True)] == [TOKEN, -TOKEN]
    assert await stage.sent() == ["agree", "addResult"]

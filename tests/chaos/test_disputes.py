"""Disputes between real nodes: honest work is paid, cheating is not, and a mediator that dies rules once."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from node.chain import interface
from tests.chaos.economy import TOKEN, Account, reached, running
from tests.chaos.harness.arena import Arena, Provider

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]
HOOKS = "tests.chaos.harness.hooks"
RULINGS = {
    function.selector for function in (interface.MEDIATION_ACCEPT_RESULT, interface.MEDIATION_REJECT_RESULT)
}
BOUNDARIES = [
    f"{side}:{what}"
    for what in (
        "drawn",
        "decided",
        *(f"{step}:ruling" for step in ("reserve", "record", "sent", "settle")),
        "ruled",
    )
    for side in ("before", "after")
]


@asynccontextmanager
async def mediator(arena: Arena, *hooks) -> AsyncIterator[Provider]:
    """A node that mediates and takes no jobs."""
    judge = arena.provider(
        role="mediator",
        market={"modules": [], "mediators": []},
        mediator={"enabled": True, "margin_s": 5.0},
    )
    try:
        await judge.start(*hooks)
        yield judge
    finally:
        await judge.kill()


async def disputed(arena: Arena, provider: Provider) -> tuple[Account, str]:
    """Play a job up to its dispute; returns who posted it and the deal."""
    requester = await Account.funded(arena.market, 1)
    await requester.post()
    deal_id = (await reached(provider, "j1", "PROPOSED"))["deal_id"]
    await requester.agree(deal_id)
    await reached(provider, "j1", "SUBMITTED")
    await requester.dispute(deal_id)
    return requester, deal_id


async def foretold(provider: Provider, words: str) -> None:
    """Wait until the provider's operator is told this of the dispute."""
    while words not in ((await reached(provider, "j1", "DISPUTED"))["reason"] or ""):
        await asyncio.sleep(0.03)


async def rulings(arena: Arena) -> list[bool]:
    """Return for each mined ruling whether it succeeded."""
    found, chain = [], arena.market.chain
    for number in range((await chain.head()).number + 1):
        block = await arena.market.rpc.call("eth_getBlockByNumber", [hex(number), True])
        for transaction in block["transactions"]:
            if bytes.fromhex(transaction["input"][2:10]) in RULINGS:
                receipt = await chain.receipt(transaction["hash"])
                found.append(receipt.ok)
    return found


async def test_an_honest_provider_knows_that_it_will_be_paid_and_is(shared_arena: Arena):
    async with asyncio.timeout(60), running(shared_arena) as provider:
        before = await shared_arena.market.contracts.token_balance(provider.address)
        _, deal_id = await disputed(shared_arena, provider)
        await foretold(provider, "expect the ruling to be for you")
        async with mediator(shared_arena) as judge:
            await reached(provider, "j1", "PAID")
            case = (await judge.status())["mediation"]["cases"][0]
            assert (case["deal_id"], case["decision"]) == (deal_id, "accept")
            evidence = json.loads((judge.data / "mediation" / deal_id / "evidence.json").read_text())
            assert evidence["report"]["verdict"] == "identical"
        after = await shared_arena.market.contracts.token_balance(provider.address)
        assert after - before == TOKEN
        assert await rulings(shared_arena) == [True]
        while (provider.data / "disputes" / "j1").exists():
            await asyncio.sleep(0.03)


async def test_a_cheating_provider_is_told_what_comes_and_loses_its_collateral(shared_arena: Arena):
    async with asyncio.timeout(60), running(shared_arena, (f"{HOOKS}:falsify_film", [])) as provider:
        before = await shared_arena.market.contracts.token_balance(provider.address)
        requester, _ = await disputed(shared_arena, provider)
        await foretold(provider, "against you: computed twice in the same class")
        async with mediator(shared_arena) as judge:
            job = await reached(provider, "j1", "REJECTED")
            assert "rejected" in job["reason"]
            case = (await judge.status())["mediation"]["cases"][0]
            assert "part at outputs/output_00001_.mp4" in case["reason"]
        contracts = shared_arena.market.contracts
        assert await contracts.token_balance(provider.address) - before == -TOKEN
        assert await contracts.token_balance(requester.address) == 99 * TOKEN
        assert await rulings(shared_arena) == [True]


@pytest.mark.parametrize("boundary", BOUNDARIES)
async def test_a_mediator_that_dies_at_this_boundary_rules_once_all_the_same(
    shared_arena: Arena, boundary: str
):
    async with asyncio.timeout(60), running(shared_arena) as provider:
        await disputed(shared_arena, provider)
        async with mediator(shared_arena, (f"{HOOKS}:die_in_case", [boundary])) as judge:
            assert await judge.node.ended == -9, judge.tail()
            assert await judge.start()
            await reached(provider, "j1", "PAID")
            while not (await judge.status() or {}).get("mediation", {}).get("cases"):
                await asyncio.sleep(0.03)
            while (await judge.status())["mediation"]["cases"][0]["phase"] != "ruled":
                await asyncio.sleep(0.03)
        assert await rulings(shared_arena) == [True]


async def test_a_node_that_is_a_party_of_the_deal_does_not_rule_on_it(shared_arena: Arena):
    """On our contracts no such deal is made; the node would decline it all the same."""
    async with asyncio.timeout(60), running(shared_arena, mediator={"enabled": True}) as provider:
        _, deal_id = await disputed(shared_arena, provider)
        await foretold(provider, "for you")
        assert (await provider.status())["mediation"]["cases"] == []
        async with mediator(shared_arena):
            await reached(provider, "j1", "PAID")
        assert deal_id.startswith("j1-")

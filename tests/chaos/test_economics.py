"""T15, after the match: whatever the other side does, a deal costs us no more than the configured cap.

Loss is read from the chain's balances, gas apart from tokens; what is due to us is claimed in two minutes.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from node.chain.devnet import MEDIATOR, dev_signer
from tests.chaos.economy import TOKEN, Account, claims_of, job, reached, running
from tests.chaos.harness.arena import Arena, Provider

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

CAP = 1
"""Tokens a deal may lock here, and so the most that one may cost."""
GAS_CAP = TOKEN // 20
CLAIM_WITHIN_S = 120
AGREE_S, SUBMIT_S, JUDGE_S, MEDIATE_S = 600, 3600, 86_400, 86_400
CAPS = {"admission": {"max_collateral_per_deal": str(CAP), "max_gas_per_deal": "0.05"}}


@dataclass
class Stage:
    """One running node for all cases, and what one of them needs."""

    arena: Arena
    provider: Provider
    us: Account
    posted: int = 0
    due: int = 0

    @property
    def market(self):
        return self.arena.market

    async def offer(self, **money) -> tuple[Account, str, str]:
        """Post a job of a new account and return it with job and deal, when our proposal stands."""
        self.posted += 1
        requester = await Account.funded(self.market, 100 + self.posted, **money)
        await requester.post()
        job_id = f"j{self.posted}"
        return requester, job_id, (await reached(self.provider, job_id, "PROPOSED"))["deal_id"]

    async def delivered(self, **money) -> tuple[Account, str, str]:
        """Return a job that was agreed and whose result stands on chain."""
        requester, job_id, deal_id = await self.offer(**money)
        await requester.agree(deal_id)
        await reached(self.provider, job_id, "SUBMITTED")
        return requester, job_id, deal_id

    async def wait(self, seconds: int) -> None:
        await self.arena.pass_time(seconds + 1)
        self.due = (await self.market.chain.head()).timestamp

    async def rule(self, deal_id: str, *, accept: bool) -> None:
        contracts = self.market.contracts
        call = contracts.mediation_accept_result if accept else contracts.mediation_reject_result
        await Account(self.market, dev_signer(MEDIATOR).address).send(call(deal_id))

    async def waits_for_us(self, job_id: str) -> None:
        """Wait until the node says that its own side holds a step up."""
        while "does not take the result" not in ((await job(self.provider, job_id)).get("reason") or ""):
            await asyncio.sleep(0.03)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(shared_arena: Arena) -> AsyncIterator[Stage]:
    async with running(shared_arena, **CAPS) as provider:
        yield Stage(shared_arena, provider, Account(shared_arena.market, provider.address))


async def allowance_withdrawn_after_the_match(stage: Stage) -> str:
    requester, job_id, deal_id = await stage.delivered()
    await requester.allow(0)
    await requester.accept(deal_id)
    return job_id


async def balance_withdrawn_after_the_match(stage: Stage) -> str:
    requester, job_id, deal_id = await stage.delivered()
    await requester.give_away_tokens()
    await requester.accept(deal_id)
    return job_id


async def allowance_withdrawn_before_the_match(stage: Stage) -> str:
    requester, job_id, deal_id = await stage.offer()
    await requester.allow(0)
    with pytest.raises(AssertionError, match="agree"):
        await requester.agree(deal_id)
    await stage.wait(AGREE_S)
    return job_id


async def balance_withdrawn_before_the_match(stage: Stage) -> str:
    requester, job_id, deal_id = await stage.offer()
    await requester.give_away_tokens()
    with pytest.raises(AssertionError, match="agree"):
        await requester.agree(deal_id)
    await stage.wait(AGREE_S)
    return job_id


async def never_agrees(stage: Stage) -> str:
    _, job_id, _ = await stage.offer()
    await stage.wait(AGREE_S)
    return job_id


async def agrees_after_the_window(stage: Stage) -> str:
    requester, job_id, deal_id = await stage.offer()
    await stage.wait(AGREE_S)
    with pytest.raises(AssertionError, match="agree"):
        await requester.agree(deal_id)
    return job_id


async def agrees_in_the_last_seconds(stage: Stage) -> str:
    requester, job_id, deal_id = await stage.offer()
    await stage.arena.pass_time(AGREE_S - 60)
    await requester.agree(deal_id)
    await reached(stage.provider, job_id, "SUBMITTED")
    await requester.accept(deal_id)
    return job_id


async def agrees_to_more_than_it_owns(stage: Stage) -> str:
    requester, _, deal_id = await stage.offer(tokens=3)
    stage.posted += 1
    await requester.post()
    second = (await reached(stage.provider, f"j{stage.posted}", "PROPOSED"))["deal_id"]
    await requester.agree(deal_id)
    with pytest.raises(AssertionError, match="agree"):
        await requester.agree(second)
    await reached(stage.provider, f"j{stage.posted - 1}", "SUBMITTED")
    await requester.accept(deal_id)
    await stage.wait(AGREE_S)
    return f"j{stage.posted}"


async def never_judges(stage: Stage) -> str:
    _, job_id, _ = await stage.delivered()
    await stage.wait(JUDGE_S)
    return job_id


async def cannot_pay_for_its_dispute(stage: Stage) -> str:
    requester, job_id, deal_id = await stage.delivered()
    await requester.allow(0)
    with pytest.raises(AssertionError, match="checkResult"):
        await requester.dispute(deal_id)
    await stage.wait(JUDGE_S)
    return job_id


async def disputes_and_the_mediator_is_silent(stage: Stage) -> str:
    requester, job_id, deal_id = await stage.delivered()
    await requester.dispute(deal_id)
    await reached(stage.provider, job_id, "DISPUTED")
    await stage.wait(MEDIATE_S)
    return job_id


async def disputes_and_loses(stage: Stage) -> str:
    requester, job_id, deal_id = await stage.delivered()
    await requester.dispute(deal_id)
    await stage.rule(deal_id, accept=True)
    return job_id


async def disputes_and_wins(stage: Stage) -> str:
    requester, job_id, deal_id = await stage.delivered()
    await requester.dispute(deal_id)
    await stage.rule(deal_id, accept=False)
    return job_id


async def our_allowance_withdrawn_and_given_again(stage: Stage) -> str:
    requester, job_id, deal_id = await stage.offer()
    await stage.us.allow(0)
    await requester.agree(deal_id)
    await stage.waits_for_us(job_id)
    await stage.us.allow(10**24)
    await reached(stage.provider, job_id, "SUBMITTED")
    await requester.accept(deal_id)
    return job_id


async def our_allowance_withdrawn_for_good(stage: Stage) -> str:
    requester, job_id, deal_id = await stage.offer()
    await stage.us.allow(0)
    await requester.agree(deal_id)
    await stage.waits_for_us(job_id)
    await stage.arena.pass_time(SUBMIT_S + 1)
    await requester.send(stage.market.contracts.timeout_submit_result(deal_id))
    await stage.us.allow(10**24)
    return job_id


async def gas_becomes_dear_after_the_match(stage: Stage) -> str:
    requester, job_id, deal_id = await stage.offer()
    await stage.market.rpc.call("anvil_setNextBlockBaseFeePerGas", [hex(40 * 10**9)])
    await requester.agree(deal_id)
    await reached(stage.provider, job_id, "SUBMITTED")
    await requester.accept(deal_id)
    await stage.market.rpc.call("anvil_setNextBlockBaseFeePerGas", [hex(10**9)])
    await stage.market.mine()
    return job_id


PAID, LAPSED, FAILED, REJECTED = "PAID", "LAPSED", "FAILED", "REJECTED"
CASES = {
    allowance_withdrawn_after_the_match: (PAID, 1, None),
    balance_withdrawn_after_the_match: (PAID, 1, None),
    allowance_withdrawn_before_the_match: (LAPSED, 0, "timeoutAgree"),
    balance_withdrawn_before_the_match: (LAPSED, 0, "timeoutAgree"),
    never_agrees: (LAPSED, 0, "timeoutAgree"),
    agrees_after_the_window: (LAPSED, 0, "timeoutAgree"),
    agrees_in_the_last_seconds: (PAID, 1, None),
    agrees_to_more_than_it_owns: (LAPSED, 1, "timeoutAgree"),
    never_judges: (PAID, 2, "timeoutJudgeResult"),
    cannot_pay_for_its_dispute: (PAID, 2, "timeoutJudgeResult"),
    disputes_and_the_mediator_is_silent: (PAID, 1, "timeoutMediateResult"),
    disputes_and_loses: (PAID, 1, None),
    disputes_and_wins: (REJECTED, -1, None),
    our_allowance_withdrawn_and_given_again: (PAID, 1, None),
    our_allowance_withdrawn_for_good: (FAILED, -1, None),
    gas_becomes_dear_after_the_match: (PAID, 1, None),
}
"""What is done, how the job ends, what it brings in tokens, and which claim brings it."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
async def test_no_deal_costs_more_than_its_cap(stage: Stage, case):
    phase, gain, claim = CASES[case]
    market, us = stage.market, stage.provider.address
    first_block = (await market.chain.head()).number + 1
    tokens, gas = await market.contracts.token_balance(us), await market.chain.balance(us)
    async with asyncio.timeout(60):
        job_id = await case(stage)
        ended = await reached(stage.provider, job_id, phase)
    gained = await market.contracts.token_balance(us) - tokens
    assert gained == gain * TOKEN
    jobs_of_the_case = 2 if case is agrees_to_more_than_it_owns else 1
    assert gas - await market.chain.balance(us) <= GAS_CAP * jobs_of_the_case
    claims = [one for one in await claims_of(market, us, first_block) if one.deal_id == ended["deal_id"]]
    if claim is not None:
        assert [one.function for one in claims] == [claim]
    for one in claims:
        assert one.ok
        assert one.at - stage.due <= CLAIM_WITHIN_S


async def test_an_acceptance_and_the_claim_that_is_due_cross_and_the_first_one_holds(stage: Stage):
    market, us = stage.market, stage.provider.address
    tokens, gas = await market.contracts.token_balance(us), await market.chain.balance(us)
    async with asyncio.timeout(60):
        requester, job_id, deal_id = await stage.delivered()
        await stage.wait(JUDGE_S)
        try:
            await requester.accept(deal_id)
            accepted = True
        except AssertionError:
            accepted = False
        await reached(stage.provider, job_id, "PAID")
    # Where the acceptance was first, our claim may have been on its way: then it costs its gas and no more.
    gain, possible = (1, ([], [False])) if accepted else (2, ([True],))
    assert await market.contracts.token_balance(us) - tokens == gain * TOKEN
    assert gas - await market.chain.balance(us) <= GAS_CAP
    claims = [one.ok for one in await claims_of(market, us) if one.deal_id == deal_id]
    assert claims in possible


async def test_a_job_for_nothing_is_done_for_nothing(shared_arena: Arena):
    free = {"pricing": {"floor": "0", "per_job": "0"}}
    async with asyncio.timeout(60), running(shared_arena, **free) as provider:
        market = shared_arena.market
        requester = await Account.funded(market, 1)
        before = await market.contracts.token_balance(provider.address)
        await requester.post()
        deal_id = (await reached(provider, "j1", "PROPOSED"))["deal_id"]
        await requester.agree(deal_id)
        await reached(provider, "j1", "SUBMITTED")
        await requester.accept(deal_id)
        assert (await reached(provider, "j1", "PAID"))["paid_wei"] == "0"
        assert await market.contracts.token_balance(provider.address) == before

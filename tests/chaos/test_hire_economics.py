"""T15, where the other side writes the terms: a direct hire binds us only to what we published.

The deal is on the chain and its money in escrow before this node has said anything; what is declined costs
nothing, neither tokens nor gas.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

import pytest
import pytest_asyncio

from node.chain.devnet import MEDIATOR, dev_signer
from node.job.deal import Deal, ServiceType, deal_id_for
from node.types import Wei
from tests.chaos.economy import MODULE, TOKEN, Account, claims_of, reached, running
from tests.chaos.harness.arena import Arena, Provider
from tests.chaos.harness.standing import standing_deal

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]

JUDGE_S = 86_400
HUGE = 2**64 - 1
JUDGE = dev_signer(MEDIATOR).address
FRIEND = "0x" + "f7" * 20
Change = Callable[[Deal], Deal]


def priced(**changes) -> Change:
    return lambda deal: replace(deal, pricing=replace(deal.pricing, **changes))


def timed(name: str, **changes) -> Change:
    return lambda deal: replace(
        deal,
        timeouts=replace(deal.timeouts, **{name: replace(getattr(deal.timeouts, name), **changes)}),
    )


def judged_by(*mediators: str) -> Change:
    return lambda deal: replace(deal, members=replace(deal.members, mediators=mediators))


@dataclass
class Stage:
    """A node that is only hired, and a job for each case."""

    arena: Arena
    provider: Provider
    posted: int = 0

    async def hire(self, change: Change, payer: Account | None = None) -> tuple[Account, Deal]:
        """Post a job and agree first, to our published terms with one change."""
        market = self.arena.market
        self.posted += 1
        requester = await Account.funded(market, 500 + self.posted)
        await requester.send(market.contracts.run_job(MODULE, ("Prompt=a fox",), requester.address))
        deal = change(
            standing_deal(
                self.provider,
                market.contracts,
                number=self.posted,
                requester=(payer or requester).address,
                inputs=("Prompt=a fox",),
            )
        )
        parts = (deal.members, deal.timeouts, deal.pricing)
        deal = replace(deal, deal_id=deal_id_for(market.contracts.place, self.posted, *parts, "00000001"))
        await (payer or requester).send(market.contracts.agree(deal))
        return requester, deal

    @property
    def job_id(self) -> str:
        return f"h{self.posted}"

    async def wealth(self) -> tuple[int, int]:
        market = self.arena.market
        us = self.provider.address
        return await market.contracts.token_balance(us), await market.chain.balance(us)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage(shared_arena: Arena) -> AsyncIterator[Stage]:
    async with running(shared_arena, market={"matching": "hire"}) as provider:
        contracts = shared_arena.market.contracts
        # Being announced costs gas too, once; the cases begin after it.
        while provider.address not in await contracts.show_users_in_list(ServiceType.RESOURCE_PROVIDER):
            await asyncio.sleep(0.03)
        yield Stage(shared_arena, provider)


REFUSED = {
    "one wei below our price": (priced(instruction_price_wei=Wei(TOKEN - 1)), "its price is"),
    "for nothing": (priced(instruction_price_wei=Wei(0), payment_collateral_wei=Wei(0)), "its price is 0"),
    "payment collateral below the price": (priced(payment_collateral_wei=Wei(1)), "its payment collateral"),
    "a multiple of two": (priced(results_collateral_multiple=2), "results collateral multiple is 2"),
    "the largest multiple that the contract takes": (
        priced(results_collateral_multiple=HUGE),
        "results collateral multiple",
    ),
    "no mediation fee": (priced(mediation_fee_wei=Wei(0)), "its mediation fee is 0"),
    "collateral over the limit": (
        timed("submit_results", collateral_wei=Wei(5 * TOKEN)),
        "its submitResults collateral",
    ),
    "a second to deliver": (timed("submit_results", timeout_s=1), "its submitResults timeout is 1"),
    "a year to judge": (timed("judge_results", timeout_s=365 * 86_400), "its judgeResults timeout"),
    "nothing at stake for its silence": (
        timed("judge_results", collateral_wei=Wei(0)),
        "its judgeResults collateral",
    ),
    "a friend as judge": (judged_by(FRIEND), "market.mediators"),
    "a friend as second judge": (judged_by(JUDGE, FRIEND), "market.mediators"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_hire_on_other_terms_costs_us_nothing(stage: Stage, name):
    change, told = REFUSED[name]
    before = await stage.wealth()
    async with asyncio.timeout(60):
        await stage.hire(change)
        job = await reached(stage.provider, stage.job_id, "REFUSED")
    assert told in job["reason"]
    assert await stage.wealth() == before


async def test_somebody_who_hires_for_the_job_of_another_gets_no_answer(stage: Stage):
    before = await stage.wealth()
    async with asyncio.timeout(60):
        stranger = await Account.funded(stage.arena.market, 499)
        _, strangers = await stage.hire(lambda deal: deal, payer=stranger)
        # The next job shows that the stranger's deal was read and passed over.
        await stage.hire(priced(mediation_fee_wei=Wei(0)))
        await reached(stage.provider, stage.job_id, "REFUSED")
    assert await stage.wealth() == before
    agreement = await stage.arena.market.contracts.get_agreement(strangers.deal_id)
    assert agreement.job_creator_agreed_at > 0
    assert agreement.resource_provider_agreed_at == 0


async def test_who_hires_and_is_silent_pays_and_the_claim_is_prompt(stage: Stage):
    market = stage.arena.market
    tokens, _ = await stage.wealth()
    async with asyncio.timeout(60):
        _, deal = await stage.hire(lambda deal: deal)
        await reached(stage.provider, stage.job_id, "SUBMITTED")
        first = (await market.chain.head()).number
        await stage.arena.pass_time(JUDGE_S + 1)
        due = (await market.chain.head()).timestamp
        await reached(stage.provider, stage.job_id, "PAID")
    (claim,) = await claims_of(market, stage.provider.address, first)
    assert (claim.function, claim.deal_id, claim.ok) == ("timeoutJudgeResult", deal.deal_id, True)
    assert claim.at - due <= 120
    pay_and_collateral_of_the_silent = 2 * TOKEN
    assert (await stage.wealth())[0] - tokens == pay_and_collateral_of_the_silent

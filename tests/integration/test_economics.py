"""T15, before a deal: an offer that could cost more than it brings is refused, and nothing of ours moves.

Each case is a real offer on a real chain; what is refused is told with the setting that refused it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import pytest_asyncio

from node.admission.estimate import Estimate
from node.admission.evaluate import Admission, Exposure, NotNow, Terms
from node.admission.pricing import standing_terms
from node.app.parties import open_market
from node.chain.devnet import MEDIATOR, PROVIDER, dev_signer
from node.errors import Misconfigured
from node.job.effects import Effect, EffectKind
from node.job.events import Admitted, Declined
from node.job.phase import Phase
from node.journal.ledger_rows import PaymentRecord
from node.types import Address, Wei
from tests.chaos.economy import TOKEN, Account
from tests.fakes.jobs import make_config, make_job, make_offer, make_spec

pytestmark = pytest.mark.integration

US = dev_signer(PROVIDER).address
JUDGE = dev_signer(MEDIATOR).address
CAP = 2
"""Tokens that a deal may lock, and so cost, in these cases."""


class Stand:
    """A funded provider that judges offers, and the chain it stands on."""

    def __init__(self, market, directory) -> None:
        self.market = market
        self.directory = directory
        self.us = Account(market, US)
        self.requester: Account | None = None
        self.offer = make_offer()

    async def post(self, by: Account, payee: Address, settings: dict[str, Any]) -> None:
        call = self.market.contracts.run_job("sdv-pipeline:v1.1-lilypad2", ("Prompt=a fox",), payee)
        mined = await by.send(call)
        block = await self.market.chain.block(mined.block_number)
        self.offer = replace(
            make_offer(1, payee),
            tx_hash=mined.tx_hash,
            block_number=block.number,
            posted_at=block.timestamp - settings.get("posted_ago_s", 0),
            spec=make_spec(),
        )

    async def verdict(self, case: "Case") -> Any:
        """Return the event, or the exception of an offer that waits."""
        settings = {"min_free_disk_gb": 0, "max_collateral_per_deal": str(CAP)}
        sections = {**case.settings, "admission": settings | case.settings.get("admission", {})}
        config = make_config(**sections)
        exposure = Exposure(
            **{
                "open_deals": 0,
                "open_proposals_of_requester": 0,
                "committed_wei": Wei(0),
                "pulls_wei": Wei(0),
                "jobs_ahead": 0,
                "worker_problem": None,
                "paused": False,
            }
            | case.exposure
        )

        class Records:
            async def record_of(self, requester: Address) -> PaymentRecord:
                return case.record

        admission = Admission(
            self.market.chain,
            self.market.contracts,
            lambda _: exposure,
            Terms(
                limits=config.admission,
                standing=standing_terms(config.pricing, config.deal),
                mediators=case.mediators,
                provider=US,
                market=self.market.contracts.place,
                spender=self.market.addresses.payments,
                data_dir=self.directory,
                estimate=lambda _spec: Estimate(1.0, 1.5, measured=True),
            ),
            lambda _: None,
            Records(),
        )
        job = make_job(Phase.SEEN, offer=self.offer)
        try:
            return await admission.evaluate(job, Effect(job.job_id, EffectKind.EVALUATE))
        except NotNow as waiting:
            return waiting

    async def wealth(self) -> tuple[int, int]:
        return await self.market.contracts.token_balance(US), await self.market.chain.balance(US)


async def nothing(stand: Stand) -> None:
    pass


async def without_allowance(stand: Stand) -> None:
    await stand.us.allow(0)


async def without_tokens(stand: Stand) -> None:
    await stand.us.give_away_tokens()


async def without_gas_money(stand: Stand) -> None:
    await stand.market.rpc.call("anvil_setBalance", [US, hex(10**12)])


async def with_dear_gas(stand: Stand) -> None:
    await stand.market.rpc.call("anvil_setNextBlockBaseFeePerGas", [hex(100 * 10**9)])
    await stand.market.mine()


async def requester_pays_its_tokens_away(stand: Stand) -> None:
    await stand.requester.give_away_tokens()


async def requester_keeps_one_wei_too_few(stand: Stand) -> None:
    owned = await stand.market.contracts.token_balance(stand.requester.address)
    call = stand.market.contracts.transfer(JUDGE, Wei(owned - 2 * TOKEN + 1))
    await stand.requester.send(call)


@dataclass
class Case:
    """What is different about one offer, and what has to be said of it."""

    told: str
    kind: type = NotNow
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    exposure: dict[str, Any] = field(default_factory=dict)
    record: PaymentRecord = PaymentRecord()
    before: Callable[[Stand], Awaitable[None]] = nothing
    mediators: tuple[Address, ...] = (JUDGE,)
    posted_ago_s: int = 0


KNOWN = PaymentRecord(deals=9, paid=9)
CASES = {
    "gas over the cap": Case("admission.max_gas_per_deal", before=with_dear_gas),
    "gas money too little": Case("fund the wallet", before=without_gas_money),
    "our allowance withdrawn": Case("wallet approve", before=without_allowance),
    "our tokens withdrawn": Case("fund the wallet", before=without_tokens),
    "our tokens promised elsewhere": Case("fund the wallet", exposure={"committed_wei": Wei(10 * TOKEN)}),
    "the requester's tokens gone": Case(
        "the requester owns 0 tokens", Declined, before=requester_pays_its_tokens_away
    ),
    "one wei too few": Case(
        "the requester owns 1.999999999999999999 tokens", Declined, before=requester_keeps_one_wei_too_few
    ),
    "a price nobody can pay": Case(
        "the requester owns",
        Declined,
        {"pricing": {"per_job": "1000000000"}, "deal": {"results_collateral_multiple": 0}},
    ),
    "results collateral over the limit": Case(
        "admission.max_collateral_per_deal", Declined, {"deal": {"results_collateral_multiple": 3}}
    ),
    "timeout collateral over the limit": Case(
        "admission.max_collateral_per_deal",
        Declined,
        {"deal": {"timeout_collateral": "2.000000000000000001"}},
    ),
    "the largest price with the largest multiple": Case(
        "needs 1000000001",
        Declined,
        {"pricing": {"per_job": "1000000000"}, "deal": {"results_collateral_multiple": 10}},
    ),
    "too many deals of a stranger": Case(
        "admission.max_unpaid_deals_unknown is 4", exposure={"unpaid_deals": 4}
    ),
    "too much owed by a stranger": Case(
        "admission.max_unpaid_unknown is 20", exposure={"unpaid_wei": Wei(19 * TOKEN + 1)}
    ),
    "too many deals of a good payer": Case(
        "admission.max_unpaid_deals_per_requester is 8", exposure={"unpaid_deals": 8}, record=KNOWN
    ),
    "too much owed by a good payer": Case(
        "admission.max_unpaid_per_requester is 100", exposure={"unpaid_wei": Wei(100 * TOKEN)}, record=KNOWN
    ),
    "a job dearer than the cap": Case(
        "admission.max_unpaid_unknown is 0.5", Declined, {"admission": {"max_unpaid_unknown": "0.5"}}
    ),
    "an account that did not pay twice": Case(
        "did not pay for 2 of its 5 deals", Declined, record=PaymentRecord(deals=5, paid=3, unpaid=2)
    ),
    "an account that drained its escrow twice": Case(
        "admission.max_bad_deals is 2", Declined, record=PaymentRecord(deals=2, drained=2)
    ),
    "an offer too old": Case("older than 600 s", Declined, posted_ago_s=700),
    "nobody to judge": Case("market.mediators", Declined, mediators=()),
    "only ourselves to judge": Case("market.mediators", Declined, mediators=(US,)),
    "too many deals open": Case("4 deals are open", exposure={"open_deals": 4}),
    "too long a queue": Case("allowed", exposure={"ahead_s": (1.0,) * 3000}),
}


@pytest_asyncio.fixture
async def stand(devnet, tmp_path):
    stand = Stand(devnet, tmp_path)
    await devnet.fund(US, ether_wei=10**19, token_wei=10 * TOKEN)
    await stand.us.allow(10 * TOKEN)
    stand.requester = await Account.funded(devnet, 1)
    return stand


@pytest.mark.parametrize("name", CASES)
async def test_an_offer_that_could_cost_us_is_refused_with_its_setting(stand, name):
    case = CASES[name]
    await case.before(stand)
    await stand.post(stand.requester, stand.requester.address, {"posted_ago_s": case.posted_ago_s})
    before = await stand.wealth()
    verdict = await stand.verdict(case)
    assert isinstance(verdict, case.kind), verdict
    assert case.told in (verdict.reason if isinstance(verdict, Declined) else str(verdict))
    assert await stand.wealth() == before


async def test_the_same_offer_without_a_fault_is_admitted(stand):
    await stand.post(stand.requester, stand.requester.address, {})
    verdict = await stand.verdict(Case(""))
    assert isinstance(verdict, Admitted)
    locked = max(
        verdict.deal.timeouts.submit_results.collateral_wei,
        verdict.deal.pricing.instruction_price_wei * verdict.deal.pricing.results_collateral_multiple,
    )
    assert locked <= CAP * TOKEN


@pytest.mark.parametrize(("per_job", "price"), [("0.5", 3), ("3", 3), ("3.5", 3.5)])
async def test_a_price_below_the_floor_is_raised_to_it(stand, per_job, price):
    await stand.post(stand.requester, stand.requester.address, {})
    pricing = {"pricing": {"floor": "3", "per_job": per_job}, "deal": {"results_collateral_multiple": 0}}
    verdict = await stand.verdict(Case("", settings=pricing))
    assert verdict.deal.pricing.instruction_price_wei == price * TOKEN


async def test_an_offer_of_our_own_account_is_refused(stand):
    await stand.post(stand.us, US, {})
    verdict = await stand.verdict(Case(""))
    assert "own account" in verdict.reason


async def test_an_offer_that_names_somebody_else_as_payer_is_refused(stand):
    victim = await Account.funded(stand.market, 2)
    await stand.post(stand.requester, victim.address, {})
    verdict = await stand.verdict(Case(""))
    assert "somebody else" in verdict.reason


async def test_an_account_on_the_deny_list_is_refused(stand):
    await stand.post(stand.requester, stand.requester.address, {})
    verdict = await stand.verdict(Case("", settings={"admission": {"deny": [stand.requester.address]}}))
    assert "admission.deny" in verdict.reason


async def test_a_market_that_pays_in_another_token_is_not_opened(stand):
    chain = {"rpc_urls": [stand.market.url], "controller": stand.market.addresses.controller}
    section = make_config(chain=chain | {"token": "0x" + "fa" * 20}).chain
    with pytest.raises(Misconfigured, match=r"chain\.token"):
        async with open_market(section):
            pass
    async with open_market(make_config(chain=chain | {"token": stand.market.addresses.token}).chain):
        pass

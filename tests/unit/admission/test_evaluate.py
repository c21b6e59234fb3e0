"""Evaluations side by side decide as if they came one after the other."""

import asyncio
from dataclasses import replace

from node.admission.counterparties import unpaid_by
from node.admission.estimate import Estimate
from node.admission.evaluate import Admission, Exposure, NotNow, Terms
from node.admission.pricing import standing_terms
from node.chain.client import Block, NetworkFees, Transaction
from node.engine.book import Book
from node.errors import NotYet
from node.job.deal import Agreement, AgreementState
from node.job.effects import Effect, EffectKind
from node.job.events import Admitted, Declined
from node.job.phase import Phase
from node.journal.ledger_rows import PaymentRecord
from tests.fakes.jobs import (
    CONTROLLER,
    MARKET,
    MEDIATOR,
    POSTED_AT,
    PROVIDER,
    REQUESTER,
    TOKEN,
    make_config,
    make_deal,
    make_job,
    make_offer,
)


class Strangers:
    """A journal that has never met anybody."""

    async def record_of(self, requester):
        await asyncio.sleep(0)
        return PaymentRecord()


class Chain:
    """Everything is fine, and every answer takes a moment in which others get their turn."""

    def __init__(self, our_tokens):
        self.our_tokens = our_tokens
        self.created_at = POSTED_AT

    async def head(self):
        await asyncio.sleep(0)
        return Block(20, "0x" + "20" * 32, POSTED_AT + 5)

    async def transaction(self, tx_hash):
        await asyncio.sleep(0)
        return Transaction(tx_hash, REQUESTER, None, 0, make_offer().block_number)

    async def balance(self, address):
        await asyncio.sleep(0)
        return 10**20

    async def fees(self):
        await asyncio.sleep(0)
        return NetworkFees(10**9, 0)

    async def token_balance(self, address):
        await asyncio.sleep(0)
        return self.our_tokens if address == PROVIDER else 100 * TOKEN

    async def token_allowance(self, owner, spender):
        await asyncio.sleep(0)
        return 100 * TOKEN

    async def get_agreement(self, deal_id):
        await asyncio.sleep(0)
        return Agreement(AgreementState.DEAL_NEGOTIATING, deal_created_at=self.created_at)

    async def escrow_behind(self, deal):
        await asyncio.sleep(0)
        return 100 * TOKEN

    async def token_paused(self):
        return False


def admission(book, our_tokens, tmp_path, **limits):
    config = make_config(admission={"min_free_disk_gb": 0, **limits})
    chain = Chain(our_tokens)

    def exposure(requester):
        unpaid_deals, unpaid_wei = unpaid_by(requester, book.open_jobs())
        return Exposure(
            open_deals=book.open_deals(),
            open_proposals_of_requester=book.proposals_to(requester),
            committed_wei=book.committed_wei(),
            pulls_wei=book.pulls_wei(),
            jobs_ahead=book.jobs_ahead(),
            worker_problem=None,
            paused=False,
            unpaid_deals=unpaid_deals,
            unpaid_wei=unpaid_wei,
        )

    terms = Terms(
        limits=config.admission,
        standing=standing_terms(config.pricing, config.deal),
        mediators=(MEDIATOR,),
        provider=PROVIDER,
        market=MARKET,
        spender=CONTROLLER,
        data_dir=tmp_path,
        estimate=lambda _spec: Estimate(1.0, 1.5, measured=True),
    )
    return Admission(chain, chain, exposure, terms, book.promise, Strangers())


async def evaluated(book, judge):
    verdicts = (judge.evaluate(job, Effect(job.job_id, EffectKind.EVALUATE)) for job in book.open_jobs())
    return [type(verdict) for verdict in await asyncio.gather(*verdicts, return_exceptions=True)]


def waiting(count):
    book = Book()
    for number in range(1, count + 1):
        book.put(make_job(Phase.SEEN, number), now=1.0)
    return book


async def test_the_same_collateral_is_never_promised_twice(tmp_path):
    judge = admission(book := waiting(3), 2 * TOKEN, tmp_path)
    assert await evaluated(book, judge) == [Admitted, Admitted, NotNow]
    assert book.committed_wei() == 2 * TOKEN


async def test_the_same_collateral_is_never_promised_twice_to_those_who_hire(tmp_path):
    book = Book()
    for number in range(1, 4):
        hire = make_job(Phase.SEEN, number, deal=make_deal(number))
        book.put(replace(hire, job_id=f"h{number}"), now=1.0)
    judge = admission(book, 2 * TOKEN, tmp_path)
    assert await evaluated(book, judge) == [Admitted, Admitted, NotNow]
    assert book.committed_wei() == 2 * TOKEN


async def test_a_hire_whose_deal_a_reorganisation_took_for_now_is_judged_when_it_is_back(tmp_path):
    book = Book()
    book.put(replace(make_job(Phase.SEEN, 1, deal=make_deal(1)), job_id="h1"), now=1.0)
    judge = admission(book, 2 * TOKEN, tmp_path)
    judge._token.created_at = 0
    assert await evaluated(book, judge) == [NotYet]


async def test_the_limit_of_open_deals_holds_for_verdicts_of_the_same_moment(tmp_path):
    judge = admission(
        book := waiting(5), 100 * TOKEN, tmp_path, max_open_deals=2, max_open_proposals_per_requester=9
    )
    assert (await evaluated(book, judge)).count(Admitted) == 2


async def test_the_caps_of_one_account_hold_for_verdicts_of_the_same_moment(tmp_path):
    roomy = {"max_open_deals": 9, "max_open_proposals_per_requester": 9}
    judge = admission(book := waiting(5), 100 * TOKEN, tmp_path, max_unpaid_deals_unknown=2, **roomy)
    assert (await evaluated(book, judge)).count(Admitted) == 2
    judge = admission(book := waiting(5), 100 * TOKEN, tmp_path, max_unpaid_unknown="3", **roomy)
    assert (await evaluated(book, judge)).count(Admitted) == 3


async def test_an_account_that_is_unwelcome_costs_no_question_to_the_chain(tmp_path):
    judge = admission(book := waiting(1), 100 * TOKEN, tmp_path, deny=[REQUESTER])
    judge._chain = judge._token = None
    (job,) = book.open_jobs()
    verdict = await judge.evaluate(job, Effect(job.job_id, EffectKind.EVALUATE))
    assert isinstance(verdict, Declined)
    assert "admission.deny" in verdict.reason


async def test_an_offer_that_lost_its_place_while_it_waited_gets_no_verdict(tmp_path):
    judge = admission(Book(), 100 * TOKEN, tmp_path)
    job = make_job(Phase.REFUSED, reason="made room")
    assert await judge.evaluate(job, Effect(job.job_id, EffectKind.EVALUATE)) is None

"""The mediator: cases it was drawn for are judged before their deadline, and what was decided is ruled once.

A decision is written down before its transaction is sent, and the chain is asked before each step whether the
case is still ours. What this machine cannot judge is declined: its time runs out and the next one is drawn.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import structlog

from node.chain.client import Block, Call
from node.chain.deal_record import DealRecord
from node.chain.resending import Transactions, send_while_wanted
from node.chain.rules import DeploymentRules, MediationClock
from node.chain.txmanager import Failed, TxIntent
from node.clock import Clock
from node.errors import Fatal, NodeError, NotYet, Retryable
from node.job.amounts import tokens
from node.job.case import Case, CasePhase, Decision
from node.job.deal import Agreement, AgreementState
from node.job.spec import JobSpec
from node.journal.cases import CaseRow
from node.mediation.judge import NotHad, evidence_folder
from node.mediation.opinion import Opinion
from node.types import Address, DealId

MAX_REVERTED_RULINGS = 3
"""How often a ruling may be mined and revert, each at the price of its gas, before it is given up."""
EXECUTIONS = 2
"""A result that differs is computed twice."""
SHOWN_CASES = 20
MANY_TRIES = 5
SHARE_OF_THE_TIME = 0.5
"""After so many tries over so much of the time a result that cannot be had is held against its provider."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 600.0


class Market(Protocol):
    """What a mediator reads and calls; the chain's ``MarketContracts``."""

    rules: DeploymentRules

    async def get_agreement(self, deal_id: DealId, at: int | None = None) -> Agreement:
        """Return the state and its times."""
        ...

    async def get_mediator(self, deal_id: DealId, at: int | None = None) -> Address | None:
        """Return who was drawn to rule."""
        ...

    async def drawn_at(self, deal_id: DealId, at: int | None = None) -> int:
        """Return the block time of the draw, where the market tells it."""
        ...

    def mediation_accept_result(self, deal_id: DealId) -> Call:
        """Return the ruling for the provider."""
        ...

    def mediation_reject_result(self, deal_id: DealId) -> Call:
        """Return the ruling for the job creator."""
        ...


class Heads(Protocol):
    """The chain's clock."""

    async def head(self) -> Block:
        """Return the newest block."""
        ...


class Cases(Protocol):
    """The journal of cases."""

    async def open_cases(self) -> list[CaseRow]:
        """Return the cases with something left to do."""
        ...

    async def recent(self, most: int) -> list[CaseRow]:
        """Return the newest cases."""
        ...

    async def save(self, case: Case) -> None:
        """Write a case down."""
        ...


@dataclass(frozen=True, slots=True)
class Bench:
    """What judging needs of the node.

    ``read`` tells what the chain knows of a deal; ``opinion`` judges its result in a folder, with a limit in
    seconds on getting it; ``obstacle`` is why nothing can be computed now; ``unserved`` why a module is none
    of this node's; ``expected_s`` how long a job takes here; ``busy`` whether jobs of this node's own want
    its workers.
    """

    read: Callable[[DealId], Awaitable[DealRecord]]
    opinion: Callable[[DealRecord, Path, float], Awaitable[Opinion]]
    obstacle: Callable[[], str | None]
    unserved: Callable[[str], str | None]
    expected_s: Callable[[JobSpec], float]
    busy: Callable[[], bool]
    least_fee_wei: int = 0
    """No case is judged for less."""


class Mediator:
    """Judges and rules, one case after the other. ``look`` carries every open case as far as it goes."""

    def __init__(
        self,
        address: Address,
        *,
        market: Market,
        heads: Heads,
        cases: Cases,
        transactions: Transactions,
        bench: Bench,
        folder: Path,
        margin_s: float,
        clock: Clock,
        on_change: Callable[[dict[str, Any]], None] = lambda _: None,
        on_end: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._address = address
        self._market = market
        self._heads = heads
        self._cases = cases
        self._transactions = transactions
        self._bench = bench
        self._folder = folder
        self._margin_s = margin_s
        self._clock = clock
        self._on_change = on_change
        self._on_end = on_end
        self._waiting: dict[DealId, str] = {}
        self._not_before: dict[DealId, float] = {}
        self._log = structlog.get_logger()

    async def run(self, every_s: float) -> None:
        """Look again and again. Raises Fatal."""
        while True:
            try:
                await self.look()
            except Retryable as error:
                self._log.info("mediation_waits", problem=str(error))
            await self._clock.sleep(every_s)

    async def look(self) -> None:
        """Carry every open case as far as it goes now."""
        for row in await self._cases.open_cases():
            await self._carry(row.case)
        await self.tell()

    async def tell(self) -> None:
        """Tell how the newest cases stand."""
        rows = await self._cases.recent(SHOWN_CASES)
        self._on_change({"cases": [self._told(row) for row in rows]})

    async def _carry(self, case: Case) -> None:
        try:
            moved = await self._step(case)
            if moved.is_open and moved.phase is not case.phase:
                await self._save(moved)
                moved = await self._step(moved)
        except Fatal:
            raise
        except (Retryable, OSError) as error:
            self._wait(case, str(error))
            return
        except NodeError as error:
            moved = case.declined(f"it cannot be judged here: {error}")
        if moved.is_open:
            await self._cases.save(moved)
            return
        self._waiting.pop(case.deal_id, None)
        self._not_before.pop(case.deal_id, None)
        await self._save(moved)

    async def _step(self, case: Case) -> Case:
        gone = await self._gone(case.deal_id)
        if gone is not None:
            return case.lapsed(gone)
        if case.phase is CasePhase.DECIDED:
            return await self._rule(case)
        record = await self._bench.read(case.deal_id)
        return await self._decide(case, record)

    async def _gone(self, deal_id: DealId) -> str | None:
        """Return why a case is not ours to rule on any more, None if it is."""
        mediator = await self._market.get_mediator(deal_id)
        if mediator != self._address:
            return f"the mediator is {mediator or 'nobody'} now"
        return None

    async def _decide(self, case: Case, record: DealRecord) -> Case:
        state = record.agreement.state
        if state is not AgreementState.RESULTS_CHECKED:
            return case.lapsed(f"the deal is in the state {state.name.lower()}")
        members = record.deal.members
        if self._address in {members.job_creator, members.resource_provider}:
            return case.declined("this wallet is a party of the deal")
        fee_wei = record.deal.pricing.mediation_fee_wei
        if fee_wei < self._bench.least_fee_wei:
            asked = tokens(self._bench.least_fee_wei)
            return case.declined(f"its fee is {tokens(fee_wei)}, this node's pricing.mediation_fee {asked}")
        if (unserved := self._bench.unserved(record.spec.module)) is not None:
            return case.declined(unserved)
        left_s = await self._left_s(record)
        needed_s = self._bench.expected_s(record.spec)
        if left_s <= 0:
            return case.declined("the time to rule was over before the case could be judged")
        if (obstacle := self._bench.obstacle()) is not None:
            raise NotYet(f"nothing can be computed now: {obstacle}")
        if self._bench.busy() and left_s > 2 * EXECUTIONS * needed_s:
            raise NotYet("jobs of this node come first while there is time")
        if self._clock.monotonic() < self._not_before.get(case.deal_id, 0.0) and left_s > 2 * needed_s:
            raise NotYet(f"the result is asked for again later: {case.reason}")
        self._log.info("case_judged", deal_id=case.deal_id, left_s=round(left_s))
        self._waiting[case.deal_id] = "the job is computed again"
        await self.tell()
        began = (await self._heads.head()).timestamp
        limit = asyncio.timeout(left_s)
        try:
            async with limit:
                # Several tries fit into the time: a download that drips is not one that merely began late.
                fetch_s = max(left_s - EXECUTIONS * needed_s, left_s / 2)
                fetch_s = min(fetch_s, SHARE_OF_THE_TIME * self._allowed_s(record) / MANY_TRIES)
                opinion = await self._bench.opinion(record, self._folder / case.deal_id, fetch_s)
        except TimeoutError:
            if not limit.expired():
                raise
            return case.declined("its job could not be computed in the time that was left")
        except NotHad as error:
            return await self._missed(case.missing(began), record, error)
        if opinion.decision is None:
            return case.declined(opinion.reason)
        return case.decided(opinion.decision, opinion.reason)

    async def _missed(self, case: Case, record: DealRecord, error: NotHad) -> Case:
        """Return the case after one more try in vain; the last of many is held against the provider."""
        now = (await self._heads.head()).timestamp
        case = replace(case, reason=str(error))
        pause_s = min(FIRST_PAUSE_S * 2 ** min(case.missed - 1, 16), LONGEST_PAUSE_S)
        self._not_before[case.deal_id] = self._clock.monotonic() + pause_s
        self._wait(case, str(error))
        left_s = await self._left_s(record)
        if left_s > EXECUTIONS * self._bench.expected_s(record.spec):
            return case
        tried_s = now - case.missed_since
        if case.missed < MANY_TRIES or tried_s < SHARE_OF_THE_TIME * self._allowed_s(record):
            return case if left_s > 0 else case.declined(f"the result could not be had: {error}")
        tries = f"{case.missed} tries in {tried_s} s"
        return case.decided(Decision.REJECT, f"nobody handed out the result in {tries}: {error}")

    def _allowed_s(self, record: DealRecord) -> int:
        """Return how long a mediator has, in seconds."""
        timeouts = record.deal.timeouts
        if self._market.rules.mediation_timeout_from is MediationClock.DRAWN:
            return timeouts.mediate_results.timeout_s
        return timeouts.judge_results.timeout_s

    async def _left_s(self, record: DealRecord) -> float:
        """Return how long a ruling may still be sent, in seconds of block time."""
        timeouts, agreement = record.deal.timeouts, record.agreement
        if self._market.rules.mediation_timeout_from is MediationClock.DRAWN:
            drawn_at = await self._market.drawn_at(record.deal.deal_id)
            over_at = drawn_at + timeouts.mediate_results.timeout_s
        else:
            over_at = agreement.results_submitted_at + timeouts.judge_results.timeout_s
        return over_at - self._margin_s - (await self._heads.head()).timestamp

    async def _rule(self, case: Case) -> Case:
        if case.decision is Decision.ACCEPT:
            call = self._market.mediation_accept_result(case.deal_id)
        else:
            call = self._market.mediation_reject_result(case.deal_id)

        async def still_ours() -> bool:
            state = (await self._market.get_agreement(case.deal_id)).state
            return state is AgreementState.RESULTS_CHECKED and await self._gone(case.deal_id) is None

        # The draw's block is in the id: after another draw it is another ruling.
        intent = TxIntent(f"rule:{case.deal_id}:{case.drawn_in}", call)
        sent = await send_while_wanted(self._transactions, intent, still_ours, most=MAX_REVERTED_RULINGS)
        if not isinstance(sent.outcome, Failed):
            self._log.info("case_ruled", deal_id=case.deal_id, decision=case.decision, reason=case.reason)
            return case.ruled()
        if not await still_ours():
            return case.lapsed(f"the deal was settled before the ruling {case.decision}")
        if sent.number >= MAX_REVERTED_RULINGS and sent.reverted:
            return case.declined(f"the ruling was reverted {sent.number} times: {sent.outcome.reason}")
        # Such as an escrow that no longer covers what the ruling moves: nothing was sent, and it may change.
        raise Retryable(f"the ruling {case.decision} cannot settle now: {sent.outcome.reason}")

    async def _save(self, case: Case) -> None:
        await self._cases.save(case)
        if not case.is_open:
            self._log.info("case_over", deal_id=case.deal_id, phase=case.phase, reason=case.reason)
            self._on_end(case.decision if case.phase is CasePhase.RULED and case.decision else case.phase)

    def _wait(self, case: Case, why: str) -> None:
        if self._waiting.get(case.deal_id) != why:
            self._waiting[case.deal_id] = why
            self._log.info("case_waits", deal_id=case.deal_id, reason=why)

    def _told(self, row: CaseRow) -> dict[str, Any]:
        case = row.case
        return {
            "deal_id": case.deal_id,
            "phase": case.phase.value,
            "decision": None if case.decision is None else case.decision.value,
            "reason": case.reason,
            "waits": self._waiting.get(case.deal_id),
            "seen_at": row.seen_at,
            "updated_at": row.updated_at,
            "evidence": None
            if (folder := evidence_folder(self._folder, case.deal_id)) is None
            else str(folder),
        }

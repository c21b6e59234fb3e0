"""The mediator's role in a running node: its own reader of draws, the node's workers, key and journal."""

import asyncio
import shutil
from collections.abc import Coroutine
from typing import Any

from node.app.assembly import Assembly
from node.app.executing import SpareExecutions
from node.app.submitted import SubmittedResults
from node.chain.deal_record import DealRecord, read_deal
from node.journal.cases import CaseLog
from node.mediation.draws import DrawFollower
from node.mediation.judge import Judge, evidence_folder
from node.mediation.mediator import Bench, Mediator
from node.types import DealId

FOLDER = "mediation"
SWEEP_EVERY_S = 3600.0
_DAY_S = 86400.0


class Mediation:
    """Everything of a node that mediates; nothing runs before ``work`` is given to the node's tasks."""

    def __init__(self, node: Assembly, spare: SpareExecutions) -> None:
        self._node = node
        self._folder = node.directory / FOLDER
        self._cases = CaseLog(node.database, node.clock)
        judge = Judge(
            SubmittedResults(
                node.config,
                node.market.contracts,
                self._folder / "peer",
                gateways=node.config.requester.gateways,
            ),
            spare.examiner,
        )
        self.mediator = Mediator(
            node.provider,
            market=node.market.contracts,
            heads=node.market.chain,
            cases=self._cases,
            transactions=node.transactions,
            bench=Bench(
                read=self._read,
                opinion=judge.opinion,
                obstacle=spare.obstacle,
                unserved=node.serving.unserved,
                expected_s=spare.expected_s,
                busy=spare.busy,
                least_fee_wei=node.config.pricing.mediation_fee,
            ),
            folder=self._folder,
            margin_s=node.config.mediator.margin_s,
            clock=node.clock,
            on_change=lambda told: node.snapshot.update(mediation=told),
            on_end=node.metrics.case_ended,
        )

    async def work(self) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        """Return what the node runs for this role, by name."""
        node = self._node
        head = await node.market.chain.head()
        draws = DrawFollower(
            node.market.chain,
            node.market.contracts.addresses.mediation,
            node.provider,
            self._cases,
            confirmations=node.config.chain.confirmations,
            start_block=max(0, head.number - node.config.chain.lookback_blocks),
            clock=node.clock,
        )
        every_s = node.config.chain.poll_interval_s
        return [
            ("draws", draws.run(every_s)),
            ("mediator", self.mediator.run(every_s)),
            ("evidence", self._sweep()),
        ]

    async def _read(self, deal_id: DealId) -> DealRecord:
        return await read_deal(self._node.market.chain, self._node.market.contracts, deal_id)

    async def _sweep(self) -> None:
        """Remove evidence that is older than the operator wants it, again and again."""
        node = self._node
        while True:
            before = node.clock.now() - node.config.mediator.keep_evidence_days * _DAY_S
            for row in await self._cases.settled_before(before):
                folder = evidence_folder(self._folder, row.case.deal_id)
                if folder is not None:
                    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            await node.clock.sleep(SWEEP_EVERY_S)

"""Judging the submitted result of a deal: what the chain alone tells, then its bytes, fetched and examined.

Whatever was fetched and computed lies in the case's folder, so that a judge that was interrupted goes on, and
what an opinion rests on can be shown. Sends nothing and rules nothing.
"""

import asyncio
import json
from pathlib import Path
from typing import Protocol

from node.chain.deal_record import DealRecord, job_number_of
from node.errors import NodeError, Retryable
from node.job.case import Decision
from node.mediation.examiner import Examiner
from node.mediation.opinion import Opinion, on_count
from node.pipeline.results import write_durably
from node.types import Cid, DealId

SUBMITTED = "submitted"
EVIDENCE = "evidence.json"


def evidence_folder(root: Path, deal_id: DealId) -> Path | None:
    """Return where what was found out about a deal lies, None for an id that names no job of this market.

    An id is whatever somebody wrote into a deal: a path may be made of those alone that have our form.
    """
    return None if job_number_of(deal_id) is None else root / deal_id


class NotHad(Retryable):
    """The submitted result cannot be had from anywhere at the moment, its provider included."""

    exit_code = 3


class Source(Protocol):
    """Where submitted results come from."""

    def canonical(self, data_id: str) -> Cid:
        """Return a submitted data id as a CID. Raises NodeError if it is none that can be checked."""
        ...

    async def fetch(self, record: DealRecord, cid: Cid, into: Path) -> None:
        """Download a result, verified; what is there already is not loaded again. Raises NotHad."""
        ...


class Judge:
    """Judges submitted results, wherever they come from."""

    def __init__(self, source: Source, examiner: Examiner) -> None:
        self._source = source
        self._examiner = examiner

    async def opinion(self, record: DealRecord, folder: Path, fetch_s: float) -> Opinion:
        """Judge the submitted result of a deal; what it rests on stays in ``folder``.

        A result that has not come after ``fetch_s`` seconds counts as not to be had.

        Raises Retryable (NotHad if the result is what is lacking) where trying again may help, JobFailed if
        the job cannot be computed at all.
        """
        found = await self._found(record, folder, fetch_s)
        await asyncio.to_thread(keep_evidence, folder, found)
        return found

    async def _found(self, record: DealRecord, folder: Path, fetch_s: float) -> Opinion:
        result = record.result
        if result is None:
            return Opinion(None, "the chain has no result of this deal")
        early = on_count(result.instruction_count)
        if early is not None:
            return early
        try:
            cid = self._source.canonical(result.data_id)
        except Retryable:
            raise
        except NodeError as error:
            return Opinion(Decision.REJECT, f"what was submitted is no CID of a result: {error}")
        directory = folder / SUBMITTED
        limit = asyncio.timeout(fetch_s)
        try:
            async with limit:
                await self._source.fetch(record, cid, directory)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise NotHad(f"the result {cid} did not come within {fetch_s:.0f} s") from error
        return await self._examiner.examine(record.deal.deal_id, record.spec, cid, directory, folder)


def keep_evidence(folder: Path, opinion: Opinion) -> None:
    """Write down, durably, what an opinion is and rests on. Raises OSError."""
    document = {"decision": opinion.decision, "reason": opinion.reason, **opinion.evidence}
    folder.mkdir(parents=True, exist_ok=True)
    write_durably(folder / EVIDENCE, f"{json.dumps(document, indent=1)}\n".encode())

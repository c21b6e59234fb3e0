"""Judging the bytes of one result: they are examined, the job is computed again, and both are compared.

Executions lie in the folder of the case, so that an examination that was interrupted goes on.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from node.job.case import Decision
from node.job.manifest import Manifest
from node.job.spec import JobSpec
from node.mediation.opinion import Opinion, needs_another_look, on_execution, on_files
from node.pipeline.results import RESULT
from node.types import Cid, DealId
from node.verification.again import CidLike, compared
from node.verification.integrity import examine
from node.verification.report import Executed, Report

FIRST, SECOND = "first", "second"

Render = Callable[[JobSpec, Path], Awaitable[None]]
"""Renders a job into a folder, going on from what is there. Raises Retryable if that is not possible now."""


class Examiner:
    """Computes jobs again with the models of one profile."""

    def __init__(self, render: Render, cid_like: CidLike) -> None:
        self._render = render
        self._cid_like = cid_like

    async def examine(
        self, deal_id: DealId, spec: JobSpec, cid: Cid, directory: Path, folder: Path
    ) -> Opinion:
        """Judge a result whose bytes are those of its CID; executions go to ``folder``."""
        examined = await asyncio.to_thread(examine, directory, spec)
        report = Report(cid, directory, examined, deal_id)
        early = on_files(examined)
        if early is not None or examined.manifest is None:
            refused = early or Opinion(Decision.REJECT, "the result has no manifest")
            return replace(refused, evidence={"report": report.to_json()})
        # A worker under another user has one place for all, where folders are told apart by their names.
        first = await self._executed(report, spec, examined.manifest, folder / f"{deal_id}-{FIRST}")
        second = None
        if needs_another_look(first):
            # A machine that errs now and then must not have anybody punished.
            second = await self._executed(report, spec, examined.manifest, folder / f"{deal_id}-{SECOND}")
        opinion = on_execution(first, second)
        evidence = {
            "report": replace(report, executed=first).to_json(),
            "second_cid": None if second is None else second.cid,
        }
        return replace(opinion, evidence=evidence)

    async def _executed(self, report: Report, spec: JobSpec, manifest: Manifest, job_dir: Path) -> Executed:
        await asyncio.to_thread(job_dir.mkdir, parents=True, exist_ok=True)
        await self._render(spec, job_dir)
        return await compared(report, spec, manifest, job_dir / RESULT, self._cid_like)

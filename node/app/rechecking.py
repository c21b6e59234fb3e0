"""Checking a delivered result by computing its job again on the requester's own machine."""

import asyncio
import shutil
from pathlib import Path

from node.app.rendering import render_once, require_profile
from node.app.submitted import cid_like
from node.config import Config
from node.errors import Misconfigured, Retryable
from node.job.case import Decision
from node.job.spec import JobSpec
from node.mediation.examiner import Examiner
from node.mediation.judge import keep_evidence
from node.requester.checking import Checked, Found
from node.types import Cid, DealId

_FOLDER = "checks"
_FOUND = {Decision.ACCEPT: Found.SAME, Decision.REJECT: Found.WRONG, None: Found.UNKNOWN}


class LocalChecker:
    """Meets the requester's ``Checker`` with the models of ``worker.profile``."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._examiner: Examiner | None = None

    def require(self) -> None:
        """Raise Misconfigured, with the remedy, if nothing can be computed here."""
        try:
            require_profile(self._config, self._config.worker.profile)
        except Misconfigured as error:
            raise Misconfigured(
                f"results are to be checked by computing jobs again (requester.check): {error}"
            ) from error

    async def check(self, deal_id: DealId, spec: JobSpec, cid: Cid, directory: Path) -> Checked:
        """Compare a result with an execution of ours; both executions are kept unless it is right."""
        self.require()
        folder = self._config.node.directory / "requester" / _FOLDER / deal_id
        examiner = Examiner(self._render, cid_like)
        try:
            opinion = await examiner.examine(deal_id, spec, cid, directory, folder)
            await asyncio.to_thread(keep_evidence, folder, opinion)
        except OSError as error:
            raise Retryable(f"{folder} cannot be written or read: {error}") from error
        found = _FOUND[opinion.decision]
        if found is Found.SAME:
            await asyncio.to_thread(_forget_executions, folder)
        return Checked(found, opinion.reason, folder)

    async def _render(self, spec: JobSpec, job_dir: Path) -> None:
        await render_once(self._config, self._config.worker.profile, spec, job_dir, lambda _: None)


def _forget_executions(folder: Path) -> None:
    for execution in folder.iterdir():
        if execution.is_dir():
            shutil.rmtree(execution, ignore_errors=True)

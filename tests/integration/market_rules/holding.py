"""A node that holds still in one state of a job until it is let go, so that a test can act exactly there."""

import asyncio
import functools
from pathlib import Path
from typing import Any


def hold_at(job_id: str, phase: str, directory: str) -> None:
    """Stop in a node's fork behind the commit in which the job enters the phase.

    The node makes the file ``held`` in ``directory`` and waits for the file ``go``, once.
    """
    from node.journal.journal import Journal

    commit = Journal.commit
    held, go = Path(directory, "held"), Path(directory, "go")

    @functools.wraps(commit)
    async def holding(self: Any, batch: Any) -> None:
        await commit(self, batch)
        entered = any(entry.job.job_id == job_id and entry.job.phase == phase for entry in batch.entries)
        if entered and not held.exists():
            held.touch()
            while not go.exists():
                await asyncio.sleep(0.01)

    Journal.commit = holding  # type: ignore[method-assign]


class Hold:
    """The test's side of ``hold_at``."""

    def __init__(self, directory: Path, phase: str, job_id: str = "j1") -> None:
        self._directory = directory
        self.hook = ("tests.integration.market_rules.holding:hold_at", [job_id, phase, str(directory)])

    async def reached(self) -> None:
        """Wait until the node holds."""
        async with asyncio.timeout(30):
            while not (self._directory / "held").exists():
                await asyncio.sleep(0.01)

    def let_go(self) -> None:
        """Have the node go on."""
        (self._directory / "go").touch()

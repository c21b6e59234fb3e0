"""A dispute on one machine: a provider, a mediator and a requester who does not take the provider's word."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Literal

from node.app.assembly import Assembly
from node.app.demonstration import Demonstration
from node.app.node import RunningNode
from node.app.sandbox import Sandbox
from node.errors import Fatal
from node.job.manifest import MANIFEST
from node.job.outputs import video_path
from node.job.progress import Progress
from node.job.spec import JobSpec
from node.pipeline.results import describe_output
from node.types import JobId
from node.worker.pool import RenderedFiles

Provider = Literal["honest", "cheating"]
PARTIES = ("requester", "provider", "mediator")


class DisputeDemonstration(Demonstration):
    """The same stage with a third party. A cheating provider changes one byte of the film that it rendered.

    An honest provider's customer asks for a mediator all the same; that of a cheating one finds out by
    computing the job again.
    """

    def __init__(self, directory: Path, say: Callable[[str], None], provider: Provider) -> None:
        super().__init__(directory, say)
        self._provider = provider
        self._mediator: RunningNode | None = None
        self._before: dict[str, int] = {}
        by = "mediator" if provider == "honest" else "execution"
        self._wishes = {"check": "always", "check_by": by}

    async def _start_node(self, box: Sandbox) -> None:
        for party in PARTIES:
            self._before[party] = await box.market.contracts.token_balance(box.address(party))
        tamper = _change_a_byte if self._provider == "cheating" else _leave_as_it_is
        self._node, self._running = await self._start(box, "provider", "node", tamper)
        # A mediator that offers nothing itself, with models of its own: it trusts nobody's.
        self._mediator, _ = await self._start(
            box,
            "mediator",
            "mediator",
            market={"modules": [], "mediators": []},
            mediator={"enabled": True, "margin_s": 5.0},
        )

    async def worker_ready(self) -> None:
        """Wait until the models of both nodes are loaded."""
        await super().worker_ready()
        if self._mediator is None:
            raise Fatal("the demonstration's mediator is not running")
        await self._while_running(asyncio.ensure_future(self._mediator.pool.wait_ready()))

    def case(self) -> dict[str, Any] | None:
        """Return how the mediator's case stands, None before it was drawn."""
        if self._mediator is None:
            raise Fatal("the demonstration's mediator is not running")
        cases = (self._mediator.snapshot.part("mediation") or {}).get("cases") or [None]
        found: dict[str, Any] | None = cases[0]
        return found

    async def rulings(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the mediator's case as it changes."""
        if self._mediator is None:
            raise Fatal("the demonstration's mediator is not running")
        told: dict[str, Any] | None = None
        async for _ in self._mediator.snapshot.subscribe():
            case = self.case()
            if case is not None and case != told:
                told = case
                yield case

    async def gains(self) -> dict[str, int]:
        """Return what each party has more or less than before, in wei of the payment token."""
        if self._sandbox is None:
            raise Fatal("the demonstration has no chain")
        contracts, address = self._sandbox.market.contracts, self._sandbox.address
        now = {party: await contracts.token_balance(address(party)) for party in PARTIES}
        return {party: now[party] - self._before[party] for party in PARTIES}


def _leave_as_it_is(_: Assembly) -> None:
    """Change nothing about an honest node."""


def _change_a_byte(node: Assembly) -> None:
    """Have a node cheat: one byte of the film is another, and its manifest says that it should be."""
    render = node.pool.render

    async def cheat(
        job_id: JobId, spec: JobSpec, job_dir: Path, on_progress: Callable[[Progress], None]
    ) -> RenderedFiles:
        files = await render(job_id, spec, job_dir, on_progress)
        if files.directory.is_relative_to(node.jobs_dir):
            await asyncio.to_thread(falsify, files.directory)
        return files

    node.pool.render = cheat  # type: ignore[method-assign]


def falsify(directory: Path) -> None:
    """Change a byte of a result's first film, and have its manifest describe what is there then."""
    manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    film = video_path(1, "mp4")
    # Files of a result may share their place on disk with the stages they come from.
    content = bytearray((directory / film).read_bytes())
    content[-1] ^= 1
    (directory / film).unlink()
    (directory / film).write_bytes(content)
    described = describe_output(film, directory / film).to_json()
    manifest["outputs"] = [described if one["path"] == film else one for one in manifest["outputs"]]
    manifest["stages"][film] = described["sha256"]
    (directory / MANIFEST).write_text(
        f"{json.dumps(manifest, indent=1, ensure_ascii=False)}\n", encoding="utf-8"
    )

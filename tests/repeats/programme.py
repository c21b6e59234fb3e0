"""The parts of T20, each returning what was broken. ``Bench`` is the pipeline in this process."""

import asyncio
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from node.app.submitted import cid_like
from node.job.case import Decision
from node.job.spec import JobSpec
from node.mediation.examiner import Examiner
from node.mediation.opinion import Opinion
from node.pipeline.renderer import Renderer
from node.publisher.unixfs import cid_of
from node.types import Cid, DealId
from tests.fakes.cheating import CHEATS


@dataclass
class Bench:
    """Renders into folders that are used once; ``runs`` counts the renderings."""

    renderer: Renderer
    folder: Path
    runs: int = 0
    broken: list[str] = field(default_factory=list)

    def render(self, spec: JobSpec, job_dir: Path) -> Path:
        self.runs += 1
        return self.renderer.render(spec, job_dir, lambda _: None).directory

    def cid(self, spec: JobSpec) -> str:
        """Render a job afresh and return its CID."""
        folder = self.fresh()
        cid = cid_of(self.render(spec, folder))
        shutil.rmtree(folder)
        return cid

    def fresh(self) -> Path:
        folder = self.folder / f"run-{self.runs}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def same(self, spec: JobSpec, expected: str, found: str, when: str) -> None:
        if found != expected:
            self.broken.append(f"{when}: {' '.join(spec.to_inputs())} gave {found}, before {expected}")


def repeats(bench: Bench, specs: Iterable[JobSpec], times: int) -> dict[JobSpec, str]:
    """Render each job again and again, between the others; returns their CIDs."""
    specs = list(specs)
    first = {spec: bench.cid(spec) for spec in specs}
    for number in range(1, times):
        for spec in specs:
            bench.same(spec, first[spec], bench.cid(spec), f"repeat {number}")
    return first


def after_others(bench: Bench, known: dict[JobSpec, str], others: Iterable[JobSpec]) -> None:
    """Render other jobs, then the known ones once more."""
    for other in others:
        bench.cid(other)
    for spec, cid in known.items():
        bench.same(spec, cid, bench.cid(spec), "after other jobs")


def honest(bench: Bench, specs: Iterable[JobSpec]) -> int:
    """Judge honest results; returns how many were accepted."""
    accepted = 0
    for spec in specs:
        opinion = judged(bench, spec, bench.render(spec, bench.fresh()))
        accepted += opinion.decision is Decision.ACCEPT
        if opinion.decision is not Decision.ACCEPT:
            bench.broken.append(f"an honest result of {' '.join(spec.to_inputs())}: {opinion.reason}")
    return accepted


def cheating(bench: Bench, spec: JobSpec) -> dict[str, str]:
    """Cheat in every known way; returns why each was rejected."""
    reasons = {}
    for name, cheat in CHEATS.items():
        opinion = judged(bench, spec, cheat(spec, bench.fresh(), bench.render))
        reasons[name] = opinion.reason
        if opinion.decision is not Decision.REJECT:
            bench.broken.append(f"{name} was not rejected: {opinion.decision} because {opinion.reason}")
    return reasons


def judged(bench: Bench, spec: JobSpec, directory: Path) -> Opinion:
    async def render(spec: JobSpec, job_dir: Path) -> None:
        bench.render(spec, job_dir)

    case = bench.folder / "case"
    shutil.rmtree(case, ignore_errors=True)
    examiner = Examiner(render, cid_like)
    cid = Cid(cid_of(directory))
    return asyncio.run(examiner.examine(DealId("j1-x"), spec, cid, directory, case))

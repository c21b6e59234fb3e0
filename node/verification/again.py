"""A result beside another execution of its job: what was compared, and what that shows."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from node.job.comparison import Execution, Relation, compare
from node.job.manifest import MANIFEST, Manifest, read_manifest
from node.job.spec import JobSpec
from node.types import Cid
from node.verification.integrity import examine
from node.verification.measuring import measure_apart
from node.verification.report import Executed, Report

CidLike = Callable[[Path, Cid | None], Cid]
"""Computes the CID of a directory in the version and layout of another one, if there is one."""


async def compared(
    report: Report, spec: JobSpec, manifest: Manifest, executed: Path, cid_like: CidLike
) -> Executed:
    """Compare the result of ``report``, whose manifest was read, with an execution in ``executed``.

    Pictures are measured only where other bytes prove nothing. Raises OSError, and BadManifest if what was
    executed here is no result.
    """
    ours = read_manifest(await asyncio.to_thread((executed / MANIFEST).read_bytes))
    files = (await asyncio.to_thread(examine, executed)).files
    cid = await asyncio.to_thread(cid_like, executed, report.cid)
    result = Execution(report.cid or "", manifest, report.examined.files)
    comparison = compare(spec, result, Execution(cid, ours, files))
    pictures = []
    if comparison.relation in {Relation.OTHER_CLASS, Relation.OTHER_MODEL}:
        shown = [output.path for output in ours.outputs if output.path in comparison.differing]
        pictures = await measure_apart(report.directory, executed, shown)
    return Executed(cid, ours.determinism_class, comparison, tuple(pictures))

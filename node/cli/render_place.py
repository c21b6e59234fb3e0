"""Where ``render`` puts its result: a directory replaced as a whole, and only if it holds a result."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node.errors import Misconfigured
from node.job.manifest import MANIFEST, OUTPUTS
from node.locking import locked
from node.pipeline.results import RESULT, WORK

_RESULT_NAMES = frozenset({OUTPUTS, MANIFEST, "exitCode", "stdout", "stderr"})
_MANIFEST_KEYS = frozenset({"module", "inputs", "determinism_class", "outputs"})
_MAX_MANIFEST_BYTES = 16 << 20


def checked_place(out: Path) -> Path:
    """Return ``out`` without links, as a place that a result may take.

    Raises Misconfigured if it is a mount point, the working directory or around it, or holds anything but an
    earlier result.
    """
    try:
        here, out = Path.cwd(), out.resolve()
    except OSError as error:
        raise Misconfigured(f"the working directory is gone, change to another one: {error}") from None
    if out == here or out in here.parents:
        raise Misconfigured(f"{out} is the working directory or around it: name a new directory with --out")
    if os.path.ismount(out):
        raise Misconfigured(f"{out} is a mount point: name a directory in it with --out")
    if out.exists() and any(out.iterdir()) and not _is_result(out):
        raise Misconfigured(f"{out} holds other files: name a new or empty directory with --out")
    return out


def _is_result(directory: Path) -> bool:
    """Tell whether a directory holds a result of ours and nothing else."""
    if not {path.name for path in directory.iterdir()} <= _RESULT_NAMES:
        return False
    manifest = directory / MANIFEST
    try:
        if manifest.stat().st_size > _MAX_MANIFEST_BYTES:
            return False
        document = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and document.keys() >= _MANIFEST_KEYS


@contextmanager
def job_directory(out: Path, job: str) -> Iterator[Path]:
    """Lend the directory beside ``out`` in which a job is computed, to one process at a time.

    It stays when the job is broken off, so that asking again goes on there, unless nothing was computed.
    Raises Locked if another process has it.
    """
    job_dir = out.parent / f".{out.name}.{job[:12]}.partial"
    job_dir.mkdir(parents=True, exist_ok=True)
    running = f"another render of this job into {out} is running: wait for it to end"
    with locked(job_dir / "lock", otherwise=running):
        try:
            yield job_dir
        finally:
            if job_dir.exists() and not _has_work(job_dir):
                shutil.rmtree(job_dir, ignore_errors=True)


def _has_work(job_dir: Path) -> bool:
    return (job_dir / RESULT).exists() or any((job_dir / WORK).glob("*.json"))


def put_in_place(job_dir: Path, out: Path) -> None:
    """Move the result of ``job_dir`` to ``out``; an earlier one there goes once the new one has its place."""
    earlier = job_dir / "earlier"
    if out.exists():
        out.rename(earlier)
    (job_dir / RESULT).rename(out)
    shutil.rmtree(job_dir)

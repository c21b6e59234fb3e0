"""The result directory and its appearance all at once.

``result/`` holds exactly what is published: ``outputs/``, ``exitCode``, ``stdout``, ``stderr`` and
``manifest.json``, none of which carries a time, a host, a path of this machine or a random value. Imports no
torch.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from node.errors import JobFailed
from node.job.manifest import MANIFEST, BadManifest, Manifest, OutputFile, read_manifest
from node.job.outputs import media_type
from node.job.spec import JobSpec

RESULT = "result"
WORK = "work"


@dataclass(frozen=True, slots=True)
class Finished:
    """What a complete result directory says of itself; ``outputs`` are paths from that directory."""

    directory: Path
    outputs: tuple[str, ...]
    determinism_class: str


def describe_output(path: str, source: Path) -> OutputFile:
    """Measure the file ``source`` that will be published as ``path``."""
    with source.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    return OutputFile(path, media_type(path), source.stat().st_size, sha256)


def write_result(job_dir: Path, spec: JobSpec, manifest: Manifest, sources: Mapping[str, Path]) -> None:
    """Make ``job_dir/result`` appear complete or not at all; ``sources`` are the outputs by their path.

    Raises OSError, for example when the disk is full; ``result`` does not exist then.
    """
    partial = job_dir / f"{RESULT}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    for path, source in sources.items():
        target = partial / path
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, target)
    clips = (
        "1 still and 1 clip" if spec.batching == 1 else f"{spec.batching} stills and {spec.batching} clips"
    )
    write_durably(partial / "exitCode", b"0")
    write_durably(
        partial / "stdout", f"{spec.module}: {clips} at {spec.framerate} frames a second\n".encode()
    )
    write_durably(partial / "stderr", "".join(f"{note}\n" for note in spec.notes).encode())
    text = json.dumps(manifest.to_json(), indent=1, ensure_ascii=False)
    write_durably(partial / MANIFEST, f"{text}\n".encode())
    appear(job_dir)


def appear(job_dir: Path) -> None:
    """Make ``result.partial``, whose files are durable, the result, durably and all at once."""
    partial = job_dir / f"{RESULT}.partial"
    for folder in (partial, *(path for path in partial.rglob("*") if path.is_dir())):
        sync_directory(folder)
    partial.rename(job_dir / RESULT)
    sync_directory(job_dir)


def read_result(job_dir: Path, spec: JobSpec) -> Finished | None:
    """Return the finished result in ``job_dir``, or None if there is none yet.

    Raises JobFailed if a result is there but belongs to other inputs or cannot be read.
    """
    directory = job_dir / RESULT
    if not directory.exists():
        return None
    try:
        manifest = read_manifest((directory / MANIFEST).read_bytes())
    except (OSError, BadManifest) as error:
        raise JobFailed(
            f"the result in {directory} cannot be read, remove it to render again: {error}"
        ) from error
    if manifest.module != spec.module or manifest.inputs != spec.tunables():
        raise JobFailed(f"{directory} holds the result of other inputs")
    outputs = tuple(output.path for output in manifest.outputs)
    return Finished(directory, outputs, manifest.determinism_class)


def write_durably(path: Path, content: bytes) -> None:
    """Write a file that is whole on the disk when its name appears."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""The result directory: names, media types, manifest, and its appearance all at once.

``result/`` holds exactly what is published: ``outputs/``, ``exitCode``, ``stdout``, ``stderr`` and
``manifest.json``, none of which carries a time, a host, a path of this machine or a random value. Imports no
torch.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.errors import JobFailed
from node.job.spec import JobSpec

RESULT = "result"
WORK = "work"
OUTPUTS = "outputs"
MANIFEST = "manifest.json"
MANIFEST_VERSION = 1
CLIP_SUFFIXES = ("png", "webp", "mp4")
"""The containers of every clip, in the manifest's order."""
_CLIP = "output_"


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file under ``outputs/``: its path from the result directory, its size and its SHA-256."""

    path: str
    media_type: str
    size_bytes: int
    sha256: str

    def to_json(self) -> dict[str, str | int]:
        """Return the file's entry in the manifest."""
        return {
            "path": self.path,
            "media_type": self.media_type,
            "bytes": self.size_bytes,
            "sha256": self.sha256,
        }


@dataclass(frozen=True, slots=True)
class Finished:
    """What a complete result directory says of itself; ``outputs`` are paths from that directory."""

    directory: Path
    outputs: tuple[str, ...]
    determinism_class: str


def image_path(number: int) -> str:
    """Return where still ``number`` (from 1) is."""
    return f"{OUTPUTS}/still_{number:05}_.png"


def video_path(number: int, suffix: str) -> str:
    """Return where clip ``number`` is as ``png`` (animated), ``webp`` or ``mp4``."""
    return f"{OUTPUTS}/{_CLIP}{number:05}_.{suffix}"


def frame_path(number: int, frame: int) -> str:
    """Return where frame ``frame`` (from 1) of clip ``number`` is, if frames are asked for."""
    return f"{OUTPUTS}/frames_{number:05}_/frame_{frame:05}_.png"


def media_type(path: str) -> str:
    """Return the type of an output by its name."""
    name = path.rpartition("/")[2]
    if name.startswith(_CLIP) and name.endswith(".png"):
        return "image/apng"
    return {"png": "image/png", "webp": "image/webp", "mp4": "video/mp4"}[name.rpartition(".")[2]]


def describe_output(path: str, source: Path) -> OutputFile:
    """Measure the file ``source`` that will be published as ``path``."""
    with source.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    return OutputFile(path, media_type(path), source.stat().st_size, sha256)


def expected_outputs(spec: JobSpec, frames: int) -> list[str]:
    """Return every file a job promises, in the manifest's order; ``frames`` is the length of a clip."""
    shown = frames if spec.frames == "png" else 0
    paths = []
    for number in range(1, spec.batching + 1):
        paths.append(image_path(number))
        paths.extend(video_path(number, suffix) for suffix in CLIP_SUFFIXES)
        paths.extend(frame_path(number, frame) for frame in range(1, shown + 1))
    return paths


def manifest(
    spec: JobSpec,
    *,
    profile: str,
    determinism_class: str,
    class_parts: Mapping[str, str],
    weights: Mapping[str, str],
    stages: Mapping[str, str],
    outputs: Sequence[OutputFile],
) -> dict[str, Any]:
    """Return the manifest's document."""
    return {
        "version": MANIFEST_VERSION,
        "module": spec.module,
        "profile": profile,
        "inputs": spec.tunables(),
        "notes": list(spec.notes),
        "determinism_class": determinism_class,
        "class_parts": dict(class_parts),
        "weights": dict(weights),
        "stages": dict(stages),
        "outputs": [output.to_json() for output in outputs],
    }


def write_result(
    job_dir: Path, spec: JobSpec, document: Mapping[str, Any], sources: Mapping[str, Path]
) -> None:
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
    text = json.dumps(document, indent=1, ensure_ascii=False)
    write_durably(partial / MANIFEST, f"{text}\n".encode())
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
        document = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        same = document["module"] == spec.module and document["inputs"] == spec.tunables()
        outputs = tuple(str(output["path"]) for output in document["outputs"])
        determinism_class = str(document["determinism_class"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise JobFailed(
            f"the result in {directory} cannot be read, remove it to render again: {error}"
        ) from error
    if not same:
        raise JobFailed(f"{directory} holds the result of other inputs")
    return Finished(directory, outputs, determinism_class)


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

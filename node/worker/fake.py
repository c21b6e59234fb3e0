"""A renderer without models, for tests and benchmarks: the same stages, files and names in milliseconds.

Never offered to the market and not in ``config/models.toml``: only the profile name ``fake`` or ``fake:<ms>``
(how long a job takes; 50 by default) selects it. A prompt may ask for a fault with one of the words in
``FAULTS``, so that supervision can be tested without a broken GPU.
"""

import hashlib
import os
import re
import shutil
import signal
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from node.errors import JobFailed, Misconfigured, OutOfMemory
from node.job.progress import Progress
from node.job.spec import JobSpec
from node.pipeline import results

FRAMES = 25
_NAME = re.compile(r"fake(?::([0-9]{1,6}))?")
_DEFAULT_MS = 50
_STEPS = 5
_HANG_S = 3600.0
_STILL_STEP = 2
FAULTS = (
    "fault:crash",
    "fault:crash-once",
    "fault:hang",
    "fault:freeze",
    "fault:refuse",
    "fault:disk",
    "fault:memory",
)


def is_fake(profile: str) -> bool:
    """Tell whether a profile's name selects the fake renderer."""
    return _NAME.fullmatch(profile) is not None


class FakeRenderer:
    """Writes small deterministic files in the real layout; the class is ``fake``."""

    determinism_class = "fake"

    def __init__(self, profile: str) -> None:
        match = _NAME.fullmatch(profile)
        if match is None:
            raise Misconfigured(f"{profile!r} is not a fake profile; allowed: fake, fake:<milliseconds>")
        self._duration_s = int(match[1] or _DEFAULT_MS) / 1000

    def render(
        self, spec: JobSpec, job_dir: Path, on_progress: Callable[[Progress], None]
    ) -> results.Finished:
        """Write the result directory. Raises JobFailed, OutOfMemory or OSError if the prompt asks for it."""
        finished = results.read_result(job_dir, spec)
        if finished is not None:
            return finished
        work = job_dir / results.WORK
        work.mkdir(parents=True, exist_ok=True)
        for step in range(1, _STEPS + 1):
            time.sleep(self._duration_s / _STEPS)
            still = _write_still(spec, work, job_dir) if step == _STILL_STEP else None
            on_progress(Progress("fake", step, _STEPS, step / _STEPS, still))
            if step == _STILL_STEP:
                _fail_as_asked(spec.prompt.split(" "), work)
        sources = {path: _write(spec, work, path) for path in results.expected_outputs(spec, FRAMES)}
        outputs = [results.describe_output(path, source) for path, source in sources.items()]
        document = results.manifest(
            spec,
            profile="fake",
            determinism_class=self.determinism_class,
            class_parts={"pipeline": "fake"},
            weights={},
            stages={output.path: output.sha256 for output in outputs},
            outputs=outputs,
        )
        results.write_result(job_dir, spec, document, sources)
        shutil.rmtree(work, ignore_errors=True)
        return results.Finished(job_dir / results.RESULT, tuple(sources), self.determinism_class)


def _fail_as_asked(words: list[str], work: Path) -> None:
    marker = work / "crashed"
    if "fault:crash-once" in words and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if "fault:crash" in words:
        os.kill(os.getpid(), signal.SIGKILL)
    if "fault:hang" in words:
        time.sleep(_HANG_S)
    if "fault:freeze" in words:
        os.kill(os.getpid(), signal.SIGSTOP)
    if "fault:refuse" in words:
        raise JobFailed("the prompt asked for a refusal")
    if "fault:disk" in words:
        raise OSError("the prompt asked for a broken disk")
    if "fault:memory" in words:
        raise OutOfMemory("the prompt asked for too little memory", needed_bytes=2 * 10**9, free_bytes=10**9)


def _write_still(spec: JobSpec, work: Path, job_dir: Path) -> str:
    """Write the first still and return its path from the job's directory, as the real renderer tells it."""
    return _write(spec, work, results.image_path(1)).relative_to(job_dir).as_posix()


def _write(spec: JobSpec, work: Path, path: str) -> Path:
    inputs = repr(sorted(spec.tunables().items()))
    digest = hashlib.sha256(f"{inputs} {path}".encode()).digest()
    file = work / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(_png(digest[:3]) if path.endswith(".png") else b"fake " + digest)
    return file


def _png(colour: bytes) -> bytes:
    """Return a valid PNG of one pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" + colour)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")

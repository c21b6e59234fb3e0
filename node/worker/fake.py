"""A renderer without models, for tests and benchmarks: stages, files and names of a real one in milliseconds.

A finished stage is durable and is not computed again, as the real renderer's are; the last one is the
encoding, which needs no device. Never offered to the market and not in ``config/models.toml``: only the
profile name ``fake`` or ``fake:<ms>`` (how long a job takes, 50 by default) selects it. A prompt may ask for
faults (``fake_faults``), and for larger files with ``size:<bytes>``.
"""

import hashlib
import re
import shutil
import struct
import time
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from node.errors import Misconfigured
from node.job.manifest import Manifest, class_name, digest
from node.job.outputs import expected_outputs, image_path
from node.job.progress import Progress
from node.job.spec import JobSpec
from node.job.stages import computed_stages
from node.pipeline import results
from node.pipeline.clip_order import WriteClip
from node.worker.fake_faults import faults_of, spoils_result, strike

FRAMES = 25
_NAME = re.compile(r"fake(?:-gpu)?(?::([0-9]{1,6}))?")
_SIZE = re.compile(r"size:([0-9]{1,8})")
_DEFAULT_MS = 50
_STEPS = 5
_STILL_STEP = 2
_ENCODE_STEP = _STEPS
STAGES = {_STILL_STEP: "still", 4: "frames", _ENCODE_STEP: "encoded"}
"""The durable stages, by the last step of each."""


def is_fake(profile: str) -> bool:
    """Tell whether a profile's name selects the fake renderer."""
    return _NAME.fullmatch(profile) is not None


def asks_for_gpu(profile: str) -> bool:
    """Tell whether a fake profile is one that says it needs a card, so that its gate can be tested."""
    return is_fake(profile) and profile.startswith("fake-gpu")


class FakeRenderer:
    """Writes small deterministic files in the real layout; its class is the same on every machine."""

    class_parts: Mapping[str, str] = MappingProxyType(
        {"pipeline": "fake", "profile": "fake", "weights": digest({})}
    )
    determinism_class = class_name(class_parts)

    def __init__(self, profile: str) -> None:
        match = _NAME.fullmatch(profile)
        if match is None:
            raise Misconfigured(f"{profile!r} is not a fake profile; allowed: fake, fake:<milliseconds>")
        self._duration_s = int(match[1] or _DEFAULT_MS) / 1000

    def render(
        self, spec: JobSpec, job_dir: Path, on_progress: Callable[[Progress], None]
    ) -> results.Finished:
        """Write the result directory. Raises what the prompt asks for."""
        return self.start(spec, job_dir, on_progress)()

    def start(
        self,
        spec: JobSpec,
        job_dir: Path,
        on_progress: Callable[[Progress], None],
        write_clip: WriteClip | None = None,
    ) -> Callable[[], results.Finished]:
        """Do all but the encoding and return what does that. Nothing here is real enough to be encoded."""
        del write_clip
        finished = results.read_result(job_dir, spec)
        if finished is not None:
            return lambda: finished
        work = job_dir / results.WORK
        work.mkdir(parents=True, exist_ok=True)
        faults = faults_of(spec.prompt)
        strike(faults, "start", job_dir)
        for step in range(1, _ENCODE_STEP):
            self._step(spec, job_dir, step, on_progress)
            if step == _STILL_STEP:
                strike(faults, "still", job_dir)
            if step == _STILL_STEP + 1:
                strike(faults, "frames", job_dir)
        return partial(self._finish, spec, job_dir, on_progress)

    def _step(self, spec: JobSpec, job_dir: Path, step: int, on_progress: Callable[[Progress], None]) -> None:
        work = job_dir / results.WORK
        stage = next(name for last, name in STAGES.items() if step <= last)
        if not _durable(work, stage):
            time.sleep(self._duration_s / _STEPS)
            if step in STAGES:
                keep_stage(spec, work, stage)
        still = _still(work, job_dir) if step == _STILL_STEP else None
        on_progress(
            Progress("encode" if step == _ENCODE_STEP else "fake", step, _STEPS, step / _STEPS, still)
        )

    def _finish(
        self, spec: JobSpec, job_dir: Path, on_progress: Callable[[Progress], None]
    ) -> results.Finished:
        work = job_dir / results.WORK
        faults = faults_of(spec.prompt)
        strike(faults, "encoded", job_dir)
        self._step(spec, job_dir, _ENCODE_STEP, on_progress)
        sources = {path: work / path for path in expected_outputs(spec, FRAMES)}
        outputs = [results.describe_output(path, source) for path, source in sources.items()]
        manifest = Manifest(
            module=spec.module,
            profile="fake",
            inputs=spec.tunables(),
            notes=spec.notes,
            determinism_class=self.determinism_class,
            class_parts=self.class_parts,
            weights={},
            stages={stage: _digest(spec, stage).hex() for stage in computed_stages(spec)}
            | {output.path: output.sha256 for output in outputs},
            outputs=tuple(outputs),
        )
        results.write_result(job_dir, spec, manifest, sources)
        if spoils_result(faults, job_dir):
            (job_dir / results.RESULT / outputs[-1].path).write_bytes(b"garbage")
        shutil.rmtree(work, ignore_errors=True)
        return results.Finished(job_dir / results.RESULT, tuple(sources), self.determinism_class)


def keep_stage(spec: JobSpec, work: Path, stage: str) -> None:
    """Compute a stage and make it durable: its files first, then the mark that they are whole."""
    first = image_path(1)
    outputs = expected_outputs(spec, FRAMES)
    files = {"still": [first], "frames": ["frames"], "encoded": [path for path in outputs if path != first]}
    for path in files[stage]:
        file = work / path
        file.parent.mkdir(parents=True, exist_ok=True)
        digest = _digest(spec, path)
        content = _png(digest[:3]) if path.endswith(".png") else b"fake " + digest + _ballast(spec, digest)
        results.write_durably(file, content)
    results.write_durably(_mark(work, stage), b"")


def _durable(work: Path, stage: str) -> bool:
    return _mark(work, stage).exists()


def _mark(work: Path, stage: str) -> Path:
    return work / f"{stage}.done"


def _still(work: Path, job_dir: Path) -> str:
    """Return the first still's path from the job's directory, as the real renderer tells it."""
    return (work / image_path(1)).relative_to(job_dir).as_posix()


def _digest(spec: JobSpec, path: str) -> bytes:
    inputs = repr(sorted(spec.tunables().items()))
    return hashlib.sha256(f"{inputs} {path}".encode()).digest()


def _ballast(spec: JobSpec, digest: bytes) -> bytes:
    """Return as many more bytes as the prompt asks for, which no compression makes fewer."""
    size = next((match[1] for word in spec.prompt.split(" ") if (match := _SIZE.fullmatch(word))), "0")
    return hashlib.shake_256(digest).digest(int(size))


def _png(colour: bytes) -> bytes:
    """Return a valid PNG of one pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" + colour)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")

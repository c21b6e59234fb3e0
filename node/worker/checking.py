"""A result is believed when its bytes were looked at: what was promised, nothing else, as the manifest says.

What another user's process wrote is first copied, file by file and following no link, so that nothing can be
put in the place of what was checked.
"""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from node.errors import NodeError
from node.job.manifest import MANIFEST, MAX_MANIFEST_BYTES, BadManifest, read_manifest
from node.job.outputs import expected_outputs, frame_path
from node.job.spec import JobSpec
from node.pipeline.results import RESULT, Finished, appear, describe_output, read_result

_MAX_FILES = 1000
_MAX_BYTES = 4 * 2**30
_MAX_DEPTH = 4
_BESIDE_OUTPUTS = {"exitCode", "stdout", "stderr", MANIFEST}
_COPY_BYTES = 2**20


class BadResult(NodeError):
    """What a worker calls a result is not one."""


def has_result(job_dir: Path) -> bool:
    """Whether there is something to check."""
    return (job_dir / RESULT).exists()


def checked_result(job_dir: Path, spec: JobSpec) -> Finished | None:
    """Return the finished result in ``job_dir`` after every byte of it was compared with its manifest.

    None if there is none. Raises BadResult if it is damaged or incomplete, JobFailed if it is of other
    inputs.
    """
    directory = job_dir / RESULT
    if not has_result(job_dir):
        return None
    found = {path for path, _ in _files(directory)}
    try:
        if (directory / MANIFEST).stat().st_size > MAX_MANIFEST_BYTES:
            raise BadResult(f"its manifest is larger than {MAX_MANIFEST_BYTES} bytes")
        outputs = read_manifest((directory / MANIFEST).read_bytes()).outputs
        promised = [output.path for output in outputs]
        described = [describe_output(path, directory / path) for path in promised if path in found]
    except (OSError, BadManifest) as error:
        raise BadResult(f"its manifest or a file cannot be read: {error}") from error
    if promised != _expected(spec, promised):
        raise BadResult(f"it does not have what these inputs promise: {', '.join(promised)[:300]}")
    if found != {*promised, *_BESIDE_OUTPUTS}:
        raise BadResult(
            f"it has or lacks files: {', '.join(sorted(found ^ {*promised, *_BESIDE_OUTPUTS}))[:300]}"
        )
    if described != list(outputs):
        wrong = next(given.path for given, seen in zip(outputs, described, strict=True) if given != seen)
        raise BadResult(f"{wrong} is not what its manifest says")
    return read_result(job_dir, spec)


def delivered_result(workplace: Path, job_dir: Path, spec: JobSpec, determinism_class: str) -> Finished:
    """Return the result that a worker says it left in ``workplace``, checked and in ``job_dir``.

    Raises BadResult, JobFailed if it is of other inputs, OSError for trouble with our own disk.
    """
    if workplace != job_dir:
        take_over(workplace, job_dir)
    finished = checked_result(job_dir, spec)
    if finished is None or finished.determinism_class != determinism_class:
        raise BadResult("it is not there, or of another class than was told")
    return finished


def remove_result(job_dir: Path) -> None:
    """Take a bad result away, so that the job is rendered again from its stages."""
    shutil.rmtree(job_dir / RESULT, ignore_errors=True)


def sweep(exchange: Path, older_than_s: float, now: float) -> None:
    """Remove what workers left of jobs that nobody has asked for since."""
    try:
        for folder in exchange.iterdir():
            if now - folder.lstat().st_mtime > older_than_s:
                shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        # Whoever connects there is told what is wrong with it.
        return


def take_over(theirs: Path, job_dir: Path) -> None:
    """Copy the result that another user's process wrote in ``theirs``, as ours, durably and all at once.

    Raises BadResult for anything that is no plain file or too much, OSError for trouble with our own disk.
    """
    partial = job_dir / f"{RESULT}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    left = _MAX_BYTES
    for path, handle in _files(theirs / RESULT, opened=True):
        target = partial / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(handle, "rb") as source, target.open("wb") as copy:
            while content := source.read(_COPY_BYTES):
                left -= len(content)
                if left < 0:
                    raise BadResult(f"it has more than {_MAX_BYTES} bytes")
                copy.write(content)
            copy.flush()
            os.fsync(copy.fileno())
    appear(job_dir)


def _expected(spec: JobSpec, promised: list[str]) -> list[str]:
    """Return what the inputs promise; only how many frames a clip has is the profile's business."""
    frames = sum(path.startswith(frame_path(1, 1).rpartition("/")[0]) for path in promised)
    return expected_outputs(spec, frames or 1)


def _files(directory: Path, *, opened: bool = False) -> Iterator[tuple[str, int]]:
    """Yield every file below a directory by its path from there, and, if ``opened``, a descriptor to read it.

    Raises BadResult for links, devices and whatever else is neither file nor folder.
    """
    try:
        root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise BadResult(f"{directory} cannot be opened: {error.strerror}") from error
    budget = [_MAX_FILES]
    try:
        yield from _walk(root, "", 0, budget, opened=opened)
    finally:
        os.close(root)


def _walk(
    folder: int, prefix: str, depth: int, budget: list[int], *, opened: bool
) -> Iterator[tuple[str, int]]:
    for name in sorted(os.listdir(folder)):
        path = prefix + name
        budget[0] -= 1
        if budget[0] < 0 or depth > _MAX_DEPTH:
            raise BadResult(f"it has more than {_MAX_FILES} files, or folders too deep")
        try:
            # Without O_NONBLOCK the opening of a pipe would wait for whoever writes to it.
            handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        except OSError as error:
            raise BadResult(f"{path!r:.100} cannot be opened: {error.strerror}") from error
        handed_over = False
        try:
            mode = os.fstat(handle).st_mode
            if stat.S_ISDIR(mode):
                yield from _walk(handle, f"{path}/", depth + 1, budget, opened=opened)
            elif not stat.S_ISREG(mode):
                raise BadResult(f"{path!r:.100} is neither a file nor a folder")
            else:
                handed_over = opened
                yield path, handle
        finally:
            if not handed_over:
                os.close(handle)

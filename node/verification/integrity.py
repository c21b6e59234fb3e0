"""Whether a directory is the result that it says it is: every file, every hash, and the inputs as understood.

Nothing is executed and no picture is decoded. All problems are found at once, each a sentence; a result
without problems may still show something else than what the job describes, which only ``comparison`` tells.
"""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from node.job.manifest import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    OUTPUTS,
    BadManifest,
    Manifest,
    class_name,
    digest,
    read_manifest,
)
from node.job.outputs import FRAMES, expected_outputs
from node.job.spec import InvalidInputs, JobSpec, parse_inputs
from node.job.stages import computed_stages

EXIT_CODE = "exitCode"
TEXTS = ("stdout", "stderr")
_BESIDE_OUTPUTS = (EXIT_CODE, *TEXTS, MANIFEST)
_MAX_FILES = 8192
_MAX_DEPTH = 3
_MAX_EXIT_CODE_BYTES = 16
_MAX_TOLD = 20
_MAX_SENTENCE = 300


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found in a directory.

    ``manifest`` and ``spec`` are None if there is none to read; ``files`` has the SHA-256 of every file by
    its path; ``failed`` tells that the provider itself reported a failure with its exit code.
    """

    manifest: Manifest | None
    spec: JobSpec | None
    files: Mapping[str, str]
    problems: tuple[str, ...]
    failed: bool = False


def examine(directory: Path, wanted: JobSpec | None = None) -> Examined:
    """Check everything in a result directory, against the job it was made for if that is known.

    Raises OSError if the directory itself cannot be read.
    """
    if directory.is_symlink() or not directory.is_dir():
        return Examined(None, None, {}, ("it is not a directory",))
    problems: list[str] = []
    files = _hashed(directory, problems)
    failed = _exit_code_problem(directory, files, problems)
    problems += [f"{name} is missing, or not a plain file" for name in TEXTS if name not in files]
    try:
        manifest = read_manifest(_bytes(directory / MANIFEST, MAX_MANIFEST_BYTES + 1))
    except BadManifest as error:
        problems.append(str(error))
        manifest = None
    except OSError:
        problems.append(f"{MANIFEST} is missing, or not a plain file")
        manifest = None
    spec = None
    if manifest is not None:
        spec = _understood(manifest, wanted, problems)
        _check_class(manifest, problems)
        _check_outputs(directory, manifest, spec if wanted is None else wanted, files, problems)
        _check_stages(manifest, spec, problems)
    return Examined(manifest, spec, files, _bounded(problems), failed)


def problem_of_exit_code(content: bytes) -> str | None:
    """Return what is wrong with the content of ``exitCode``, or None."""
    code = content.strip()
    shown = ascii(code.decode("utf-8", "replace"))[:60]
    return None if code == b"0" else f"the provider's own exit code is {shown}, expected '0'"


def _exit_code_problem(directory: Path, files: Mapping[str, str], problems: list[str]) -> bool:
    if EXIT_CODE not in files:
        problems.append(f"{EXIT_CODE} is missing, or not a plain file")
        return False
    content = _bytes(directory / EXIT_CODE, _MAX_EXIT_CODE_BYTES + 1)
    if len(content) > _MAX_EXIT_CODE_BYTES:
        problems.append(f"{EXIT_CODE} is longer than {_MAX_EXIT_CODE_BYTES} bytes")
        return False
    problem = problem_of_exit_code(content)
    if problem is not None:
        problems.append(problem)
    return problem is not None and content.strip().isdigit()


def _understood(manifest: Manifest, wanted: JobSpec | None, problems: list[str]) -> JobSpec | None:
    """Return the job that the manifest is of, if its inputs are what reading them again gives."""
    try:
        inputs = {name: str(value) for name, value in manifest.inputs.items()}
        spec = parse_inputs(manifest.module, inputs)
    except InvalidInputs as error:
        problems.append(f"the manifest's inputs are not valid: {str(error)[:_MAX_SENTENCE]}")
        return None
    if spec.module != manifest.module or spec.tunables() != manifest.inputs:
        problems.append("the manifest's inputs are not complete, or not as this module understands them")
    if wanted is not None:
        if manifest.module != wanted.module:
            shown = ascii(manifest.module)[:80]
            problems.append(f"the manifest is of module {shown}, not {wanted.module}")
        if manifest.inputs != wanted.tunables():
            names = sorted(
                name for name, value in wanted.tunables().items() if manifest.inputs.get(name) != value
            )
            problems.append(f"the manifest's inputs are not those of the job: {', '.join(names)} differ")
    return spec


def _check_class(manifest: Manifest, problems: list[str]) -> None:
    parts = manifest.class_parts
    if class_name(parts) != manifest.determinism_class:
        problems.append("the manifest's determinism class is not that of the parts it lists")
    if parts.get("weights") != digest(dict(manifest.weights)):
        problems.append("the manifest's weights are not those in its determinism class")
    if parts.get("profile") != manifest.profile:
        problems.append("the manifest's profile is not the one in its determinism class")


def _check_outputs(
    directory: Path, manifest: Manifest, spec: JobSpec | None, files: Mapping[str, str], problems: list[str]
) -> None:
    listed = {output.path: output for output in manifest.outputs}
    promised = () if spec is None else expected_outputs(spec, FRAMES)
    problems += [
        f"{path} is promised by the job and missing from the manifest"
        for path in promised
        if path not in listed
    ]
    if spec is not None:
        more = sorted(listed.keys() - set(promised))
        problems += [
            f"the manifest lists {ascii(path)[:80]}, which the job does not promise" for path in more
        ]
    for path, output in listed.items():
        shown = ascii(path)[1:-1][:80]
        if path not in files:
            problems.append(f"{shown} is missing, or not a plain file")
            continue
        size_bytes = (directory / path).lstat().st_size
        if size_bytes != output.size_bytes:
            problems.append(f"{shown} has {size_bytes} bytes, the manifest says {output.size_bytes}")
        elif files[path] != output.sha256:
            problems.append(f"{shown} is not the file that the manifest describes")
    for path in sorted(files.keys() - listed.keys() - set(_BESIDE_OUTPUTS)):
        problems.append(f"{ascii(path)[1:-1][:80]} is there, and the manifest does not list it")


def _check_stages(manifest: Manifest, spec: JobSpec | None, problems: list[str]) -> None:
    problems += [
        f"the manifest's stages do not tell the hash of {ascii(output.path)[1:-1][:80]} that its outputs tell"
        for output in manifest.outputs
        if manifest.stages.get(output.path) != output.sha256
    ]
    if spec is not None:
        problems += [
            f"the manifest tells no hash of the stage {stage}"
            for stage in computed_stages(spec)
            if stage not in manifest.stages
        ]


def _bounded(problems: list[str]) -> tuple[str, ...]:
    if len(problems) <= _MAX_TOLD:
        return tuple(problems)
    return *problems[:_MAX_TOLD], f"and {len(problems) - _MAX_TOLD} more problems"


def _hashed(directory: Path, problems: list[str]) -> dict[str, str]:
    """Return the SHA-256 of every plain file by its path; whatever else is there is a problem."""
    hashes: dict[str, str] = {}
    for path, entry in _walk(directory, "", 0):
        if len(hashes) >= _MAX_FILES:
            problems.append(f"it has more than {_MAX_FILES} files")
            break
        if not stat.S_ISREG(entry.lstat().st_mode):
            problems.append(f"{ascii(path)[1:-1][:80]} is not a plain file")
            continue
        try:
            with opened(entry) as content:
                hashes[path] = hashlib.file_digest(content, "sha256").hexdigest()
        except OSError as error:
            problems.append(f"{ascii(path)[1:-1][:80]} cannot be read: {error.strerror}")
    return hashes


def _walk(folder: Path, prefix: str, depth: int) -> Iterator[tuple[str, Path]]:
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    if prefix and not entries:
        yield prefix[:-1], folder
    for entry in entries:
        path = prefix + entry.name
        if entry.is_dir(follow_symlinks=False) and depth < _MAX_DEPTH and path.startswith(OUTPUTS):
            yield from _walk(Path(entry.path), f"{path}/", depth + 1)
        else:
            yield path, Path(entry.path)


def _bytes(path: Path, most: int) -> bytes:
    with opened(path) as content:
        return content.read(most)


def opened(path: Path) -> BufferedReader:
    """Open what should be a plain file, following no link and waiting for nobody. Raises OSError."""
    # Without O_NONBLOCK the opening of a pipe would wait for whoever writes to it.
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")

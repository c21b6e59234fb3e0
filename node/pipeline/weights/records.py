"""``weights.json``: what a profile's directory holds, and two ways to ask whether it is whole.

The cheap one compares sizes and times of change with the record, the thorough one hashes every byte. Imports
no torch, so that the daemon may ask before it offers a profile.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from node.errors import Fatal
from node.pipeline.profiles import Profile
from node.pipeline.results import sync_directory, write_durably
from node.pipeline.weights.layout import RECIPE, RECORD, expected_files
from node.pipeline.weights.sources import Group, Source, is_safe_path

VERSION = 1
CHUNK_BYTES = 4 << 20
_MAX_RECORD_BYTES = 1 << 20
_MADE_HERE = "origin.json"
_NEVER = -1
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"

OnBytes = Callable[[str, int], None]
State = Literal["ok", "missing", "truncated", "too long", "wrong", "pickled", "unexpected", "unrecorded"]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A file as it was when it was written."""

    size_bytes: int
    mtime_ns: int
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """Return the entry in ``weights.json``."""
        return {"bytes": self.size_bytes, "mtime_ns": self.mtime_ns, "sha256": self.sha256}


@dataclass(frozen=True, slots=True)
class Verified:
    """What hashing one file found; ``finding`` says what was expected where it is not ok."""

    path: str
    state: State
    finding: str

    def to_json(self) -> dict[str, str]:
        """Return the entry for programs."""
        return {"path": self.path, "state": self.state, "finding": self.finding}


def describe(path: Path, on_bytes: OnBytes = lambda _name, _count: None) -> Recorded:
    """Hash a file. Raises OSError."""
    state = path.stat()
    return Recorded(state.st_size, state.st_mtime_ns, sha256_of(path, on_bytes))


def sha256_of(path: Path, on_bytes: OnBytes = lambda _name, _count: None) -> str:
    """Return the SHA-256 of a file, telling how many bytes were read since the last call. Raises OSError."""
    digest = hashlib.sha256()
    for chunk in read_chunks(path):
        digest.update(chunk)
        on_bytes(path.name, len(chunk))
    return digest.hexdigest()


def read_chunks(path: Path) -> Iterator[bytes]:
    """Return the content of a file in pieces of bounded size. Raises OSError."""
    with path.open("rb") as content:
        while chunk := content.read(CHUNK_BYTES):
            yield chunk


def write_record(
    directory: Path, profile: Profile, sources: Mapping[Group, Any], files: Mapping[str, Recorded]
) -> None:
    """Write ``weights.json`` into a profile's directory; ``sources`` tell what each group was made from."""
    document = {
        "version": VERSION,
        "recipe": RECIPE,
        "profile": profile.name,
        "precision": profile.precision,
        "vae_precision": profile.vae_precision,
        "sources": dict(sources),
        "files": {path: files[path].to_json() for path in sorted(files)},
    }
    _write(directory, document)


def _write(directory: Path, document: Mapping[str, Any]) -> None:
    write_durably(directory / RECORD, f"{json.dumps(document, indent=1)}\n".encode())
    sync_directory(directory)


def read_record(directory: Path) -> dict[str, Any] | None:
    """Return the record, or None if there is none. Raises Fatal if it cannot be understood."""
    path = directory / RECORD
    try:
        if path.stat().st_size > _MAX_RECORD_BYTES:
            raise ValueError("it is too large")  # noqa: TRY301 - one sentence for every way to be wrong
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["version"] != VERSION:
            raise ValueError(f"it is of version {document['version']!r}, {VERSION} is read")  # noqa: TRY301
        for name, file in document["files"].items():
            if not is_safe_path(name):
                raise ValueError(f"{name!r} is not a path in a profile's directory")  # noqa: TRY301
            Recorded(int(file["bytes"]), int(file["mtime_ns"]), str(file["sha256"]))
        dict(document["sources"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Fatal(f"{path} cannot be read, pull the profile again: {error!r}") from error
    return dict(document)


def recorded_files(record: Mapping[str, Any]) -> dict[str, Recorded]:
    """Return the files of a record by their path in the profile's directory."""
    return {
        path: Recorded(int(file["bytes"]), int(file["mtime_ns"]), str(file["sha256"]))
        for path, file in record["files"].items()
    }


def recorded_hashes(directory: Path) -> dict[str, str] | None:
    """Return the SHA-256 of every file of a profile by its relative path, without reading them.

    None if the directory has no record (weights made here, or by hand). Raises Fatal, naming the file, if one
    is not as it was recorded: its hash would be a lie.
    """
    record = read_record(directory)
    if record is None:
        return None
    files = recorded_files(record)
    changed = [finding for path, file in files.items() if (finding := _changed(directory / path, path, file))]
    if changed:
        raise Fatal(f"{directory}: {'; '.join(changed)}: run sdv-node models verify {directory.name}")
    return {path: file.sha256 for path, file in sorted(files.items())}


def completeness(profile: Profile, data_dir: Path) -> list[str]:
    """Return what keeps a profile's weights from being used, in words; empty if nothing does.

    Looks at names, sizes and times only, so it may be asked often. Weights that are made here never lack.
    """
    return problems_of(profile, profile.directory(data_dir))


def problems_of(profile: Profile, directory: Path) -> list[str]:
    """Return the same as ``completeness`` for weights in a directory of any name."""
    if profile.made_here:
        return []
    pull = f"sdv-node models pull {profile.name}"
    try:
        record = read_record(directory)
    except Fatal as error:
        return [str(error)]
    if record is None:
        return [f"the weights of {profile.name} are not in {directory}: {pull}"]
    problems = [
        f"{setting} was {record.get(setting)} when the weights were converted and is {wanted} now: {pull}"
        for setting, wanted in (
            ("recipe", RECIPE),
            ("precision", profile.precision),
            ("vae_precision", profile.vae_precision),
        )
        if record.get(setting) != wanted
    ]
    problems += [
        f"the {group} weights are not those of {source.name} that the profile pins: {pull}"
        for group, source in profile.sources.items()
        if not is_of_source(record["sources"].get(group), source)
    ]
    files = recorded_files(record)
    problems += [f"{path} is not recorded: {pull}" for path in expected_files(profile) if path not in files]
    found = [finding for path, file in files.items() if (finding := _changed(directory / path, path, file))]
    return problems + [f"{finding}: sdv-node models verify {profile.name}" for finding in found]


def bytes_on_disk(profile: Profile, data_dir: Path) -> int:
    """Return how much a profile's directory takes."""
    directory = profile.directory(data_dir)
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def verify(
    profile: Profile, data_dir: Path, on_bytes: OnBytes = lambda _name, _count: None
) -> list[Verified]:
    """Hash every file of a profile and compare it with the record. Raises Fatal if the record is unreadable.

    A file that is right and only has another time (a restored backup) is good again afterwards; one that is
    wrong stays a problem of the profile, even if its size and time are as they were.
    """
    directory = profile.directory(data_dir)
    if profile.made_here:
        return _verify_made_here(directory, on_bytes)
    record = read_record(directory)
    if record is None:
        return [
            Verified(path, "missing", f"sdv-node models pull {profile.name}")
            for path in expected_files(profile)
        ]
    files = recorded_files(record)
    results = [
        _check(directory / path, path, file.sha256, file.size_bytes, on_bytes) for path, file in files.items()
    ]
    results += [
        Verified(path, "unrecorded", "the profile needs it and the record lacks it")
        for path in expected_files(profile)
        if path not in files
    ]
    results += [
        Verified(path, "unexpected", "not part of the profile: remove it")
        for path in _present(directory)
        if path not in files and path != RECORD
    ]
    _note(directory, record, files, {result.path for result in results if result.state != "ok"})
    return sorted(results, key=lambda result: result.path)


def _note(directory: Path, record: dict[str, Any], files: Mapping[str, Recorded], bad: set[str]) -> None:
    """Bring the times in the record up to date, so that the cheap question gets the thorough answer.

    A file that hashing found wrong is given a time that none can have; one that is right, the time it has.
    """
    fresh = {
        path: Recorded(
            file.size_bytes, _NEVER if path in bad else (directory / path).stat().st_mtime_ns, file.sha256
        )
        for path, file in files.items()
    }
    if fresh != files:
        _write(directory, record | {"files": {path: file.to_json() for path, file in fresh.items()}})


def _verify_made_here(directory: Path, on_bytes: OnBytes) -> list[Verified]:
    try:
        files = dict(json.loads((directory / _MADE_HERE).read_text(encoding="utf-8"))["files"])
        if not all(is_safe_path(path) for path in files):
            raise ValueError("it names files outside the profile's directory")  # noqa: TRY301
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [Verified(_MADE_HERE, "wrong", f"cannot be read, it is made again on the next start: {error}")]
    found = [
        _check(directory / path, path, str(sha256), None, on_bytes)
        if (directory / path).exists()
        else Verified(path, "missing", "it is made again on the next start")
        for path, sha256 in files.items()
    ]
    found += [
        Verified(path, "unexpected", "not part of the profile: remove it")
        for path in _present(directory)
        if path not in files and path != _MADE_HERE
    ]
    return sorted(found, key=lambda result: result.path)


def _check(file: Path, path: str, sha256: str, size: int | None, on_bytes: OnBytes) -> Verified:
    """Compare a file with its recorded hash and size (None: it was not recorded)."""
    wanted = "expected " + ("" if size is None else f"{size} bytes with ") + f"SHA-256 {sha256}"
    try:
        found = describe(file, on_bytes)
    except FileNotFoundError:
        return Verified(path, "missing", wanted)
    except OSError as error:
        return Verified(path, "wrong", f"cannot be read ({error.strerror}), {wanted}")
    if size in {None, found.size_bytes} and found.sha256 == sha256:
        return Verified(path, "ok", f"{found.size_bytes} bytes, SHA-256 {sha256}")
    finding = f"{found.size_bytes} bytes with SHA-256 {found.sha256}, {wanted}"
    if looks_pickled(file):
        return Verified(path, "pickled", f"a pickle, which could run code when loaded: {finding}")
    if size is not None and found.size_bytes < size:
        return Verified(path, "truncated", finding)
    too_long = size is not None and found.size_bytes > size
    return Verified(path, "too long" if too_long else "wrong", finding)


def is_of_source(recorded: Any, source: Source) -> bool:
    """Return whether what was converted, as the record tells it, is what a source pins."""
    if not isinstance(recorded, dict) or recorded.get("source") != source.name:
        return False
    pinned = {file.path: file.sha256 for file in (*source.files, source.single_file) if file.sha256}
    used = recorded.get("files")
    return (
        recorded.get("revision") == source.revision
        and isinstance(used, dict)
        and all(
            isinstance(file, dict) and pinned.get(path, file.get("sha256")) == file.get("sha256")
            for path, file in used.items()
        )
    )


def looks_pickled(file: Path) -> bool:
    """Return whether a file begins like a pickle or torch's archive of pickles. Raises OSError."""
    with file.open("rb") as content:
        head = content.read(9)
    # A safetensors file begins with the length of its header, 8 bytes, and the header's brace.
    return head[8:9] != b"{" and (head.startswith((_ZIP, _PICKLE)))


def _changed(file: Path, path: str, expected: Recorded) -> str | None:
    try:
        state = file.stat()
    except OSError:
        return f"{path} is missing"
    if state.st_size != expected.size_bytes:
        return f"{path} has {state.st_size} bytes and had {expected.size_bytes}"
    return f"{path} was changed" if state.st_mtime_ns != expected.mtime_ns else None


def _present(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())

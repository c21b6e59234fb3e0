"""The files a provider delivered: where they lie, whether they are what was promised, how to look at them.

Layout ``<data dir>/downloaded-files/<deal id>/`` and the closing hints follow ``lilypad run``. Whether the
bytes are those of the submitted CID is decided before anything here is read.
"""

import hashlib
import shlex
from pathlib import Path
from typing import Any

from node.errors import NodeError
from node.job.spec import JobSpec
from node.requester.foreign_json import read_json
from node.requester.steps import printable
from node.types import Cid, DealId

FOLDER = "downloaded-files"
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 1024 * 1024
MAX_OUTPUTS = 4096
SHOWN_STDERR_BYTES = 4096
STILL = "still_{number:05d}_.png"
CLIPS = ("output_{number:05d}_.png", "output_{number:05d}_.webp", "output_{number:05d}_.mp4")
FRAME = "frames_{number:05d}_/frame_{frame:05d}_.png"
FRAMES = 25


class BadDelivery(NodeError):
    """The files are those that were submitted, but not those that the job promises."""


def result_folder(data_dir: Path, deal_id: DealId) -> Path:
    """Return where the result of a deal is kept."""
    return data_dir / FOLDER / deal_id


def set_aside(folder: Path) -> None:
    """Rename a folder that is in the way of a download, if there is one; its files are kept."""
    if not folder.exists():
        return
    number = 1
    while (old := folder.with_name(f"{folder.name}.old-{number}")).exists():
        number += 1
    folder.rename(old)


def check_delivery(directory: Path, spec: JobSpec) -> None:
    """Raise BadDelivery unless everything that the job and the manifest promise is there and unchanged."""
    exit_code = _bytes(directory / "exitCode", 16).strip()
    if exit_code != b"0":
        shown = _shown(exit_code.decode("utf-8", "replace"))
        raise BadDelivery(f"the provider's own exit code is {shown}, expected '0'")
    for name in ("stdout", "stderr"):
        _regular_file(directory / name)
    manifest = _manifest(directory / MANIFEST)
    if manifest.get("module") != spec.module:
        raise BadDelivery(f"the manifest is of module {_shown(manifest.get('module'))}, not {spec.module}")
    computed = manifest.get("inputs")
    wanted = spec.tunables()
    if not isinstance(computed, dict) or any(computed.get(name) != value for name, value in wanted.items()):
        raise BadDelivery("the manifest's inputs are not those of the job")
    listed = _listed_outputs(manifest)
    for name in promised_outputs(spec):
        if name not in listed:
            raise BadDelivery(f"outputs/{name} is promised by the job and missing from the manifest")
    for name, (size_bytes, sha256) in listed.items():
        _check_output(directory / "outputs" / name, size_bytes, sha256)


def promised_outputs(spec: JobSpec) -> tuple[str, ...]:
    """Return the files in ``outputs/`` without which the job is not done."""
    frames = FRAMES if spec.frames == "png" else 0
    return tuple(
        name
        for number in range(1, spec.batching + 1)
        for name in (
            *(name.format(number=number) for name in (STILL, *CLIPS)),
            *(FRAME.format(number=number, frame=frame) for frame in range(1, frames + 1)),
        )
    )


def failure_text(directory: Path) -> str:
    """Return the end of what a failing provider wrote to stderr, in one line safe to print."""
    path = directory / "stderr"
    try:
        _regular_file(path)
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - SHOWN_STDERR_BYTES))
            return printable(file.read(SHOWN_STDERR_BYTES).decode("utf-8", "replace"))
    except (OSError, BadDelivery):
        return ""


def closing_hints(directory: Path, cid: Cid | None, public_gateway: str) -> list[str]:
    """Return the lines that ``lilypad run`` ends with: open the folder, read stdout and stderr, the link."""
    hints = [
        "Job completed, try:",
        f"    open {shlex.quote(str(directory))}",
        f"    cat {shlex.quote(str(directory / 'stdout'))}",
        f"    cat {shlex.quote(str(directory / 'stderr'))}",
    ]
    if cid is not None:
        hints.append(f"    {public_gateway.rstrip('/')}/ipfs/{cid}")
    return hints


def _shown(value: object) -> str:
    return repr(printable(str(value), 60))


def _regular_file(path: Path) -> None:
    if path.is_symlink() or not path.is_file():
        raise BadDelivery(f"{path.name} is missing, or not a plain file")


def _bytes(path: Path, limit_bytes: int) -> bytes:
    _regular_file(path)
    with path.open("rb") as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise BadDelivery(f"{path.name} is longer than {limit_bytes} bytes")
    return data


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = read_json(_bytes(path, MAX_MANIFEST_BYTES))
    except ValueError as error:
        raise BadDelivery(f"{MANIFEST} is not JSON") from error
    if not isinstance(manifest, dict):
        raise BadDelivery(f"{MANIFEST} is not a JSON object")
    return manifest


def _listed_outputs(manifest: dict[str, Any]) -> dict[str, tuple[int, str]]:
    outputs = manifest.get("outputs")
    if not isinstance(outputs, list) or len(outputs) > MAX_OUTPUTS:
        raise BadDelivery(f"the manifest lists no outputs, or more than {MAX_OUTPUTS}")
    listed: dict[str, tuple[int, str]] = {}
    for entry in outputs:
        if not isinstance(entry, dict):
            raise BadDelivery("the manifest's outputs are not objects")
        path, size_bytes, sha256 = entry.get("path"), entry.get("bytes"), entry.get("sha256")
        if not isinstance(path, str) or type(size_bytes) is not int or not isinstance(sha256, str):
            raise BadDelivery("an output in the manifest lacks its path, bytes or sha256")
        name = path.removeprefix("outputs/")
        if not name or any(part in {"", ".", ".."} for part in name.split("/")) or "\0" in name:
            raise BadDelivery(f"the manifest lists an output outside outputs/: {_shown(path)}")
        listed[name] = (size_bytes, sha256)
    return listed


def _check_output(path: Path, size_bytes: int, sha256: str) -> None:
    name = printable(f"outputs/{path.name}", 80)
    try:
        _regular_file(path)
        if path.stat().st_size != size_bytes:
            raise BadDelivery(f"{name} has {path.stat().st_size} bytes, the manifest says {size_bytes}")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadDelivery(f"{name} cannot be read: {error.strerror}") from error
    if found != sha256.lower():
        raise BadDelivery(f"{name} is not the file that the manifest describes")

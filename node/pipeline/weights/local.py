"""Weights that are on this machine already: directories in Hugging Face layout and single-file checkpoints.

They are the operator's: read where they lie, never changed, moved or removed. Imports no torch.
"""

from collections.abc import Callable
from pathlib import Path

from node.errors import Misconfigured
from node.pipeline.checkpoints.safe import BadCheckpoint, open_safetensors
from node.pipeline.weights.first_use import FirstUse
from node.pipeline.weights.hub import Fetched, WrongFile
from node.pipeline.weights.records import looks_pickled, sha256_of
from node.pipeline.weights.sources import GROUPS, Group, PinnedFile, Source


def parse_single_files(given: tuple[str, ...]) -> dict[Group, Path]:
    """Return ``still=PATH`` and ``clip=PATH`` by their group. Raises Misconfigured for anything else."""
    found: dict[Group, Path] = {}
    for text in given:
        name, separator, path = text.partition("=")
        group = next((group for group in GROUPS if group == name), None)
        if group is None or not separator or not path:
            raise Misconfigured(f"--single-file {text!r} is not still=PATH or clip=PATH")
        if group in found:
            raise Misconfigured(f"--single-file names {group} twice")
        found[group] = Path(path).expanduser().absolute()
    return found


def check_single_file(path: Path, source: Source) -> None:
    """Refuse at once what cannot be a source's single file, by its header and size; no tensor is read.

    Raises Misconfigured, naming the file and what was expected.
    """
    wanted = f"expected {source.repository}/{source.single_file.name}"
    try:
        open_safetensors(path).close()
        size = path.stat().st_size
    except BadCheckpoint as error:
        raise Misconfigured(f"{error}; {wanted}") from error
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}; {wanted}") from error
    if source.single_file.size_bytes not in {0, size}:
        raise Misconfigured(
            f"{path} is another file: it has {size} bytes, {wanted} with {source.single_file.size_bytes}"
        )


def layout_folders(directory: Path, source: Source, group: Group) -> list[Path]:
    """Return where below ``directory`` a repository may lie: a hub's cache, a clone, or right there."""
    owner, _, name = source.repository.partition("/")
    cached = Path(f"models--{owner}--{name}") / "snapshots" / source.revision
    return [
        directory / cached,
        directory / "hub" / cached,
        directory / owner / name,
        directory / name,
        directory / source.name,
        directory / group,
        directory,
    ]


def find_files(
    directory: Path, source: Source, group: Group, wanted: tuple[PinnedFile, ...]
) -> dict[str, Path] | None:
    """Return the files of a repository by their path in it, from the first folder that has all of them."""
    for folder in layout_folders(directory, source, group):
        if all((folder / file.path).is_file() for file in wanted):
            return {file.path: folder / file.path for file in wanted}
    return None


def find_single_file(directory: Path, source: Source) -> Path | None:
    """Return the source's single-file checkpoint in a directory, or where ComfyUI keeps it below one."""
    places = (directory, directory / "checkpoints", directory / "models" / "checkpoints")
    return next((path for place in places if (path := place / source.single_file.name).is_file()), None)


def what_was_sought(directory: Path, source: Source, group: Group) -> str:
    """Return what a directory lacks, for a refusal."""
    lacks = min(
        (
            [file.path for file in source.files if not (folder / file.path).is_file()]
            for folder in layout_folders(directory, source, group)
        ),
        key=len,
    )
    shown = ", ".join(lacks[:4]) + (f" and {len(lacks) - 4} more" if len(lacks) > 4 else "")
    return (
        f"{directory} has no weights for the {group}: neither {source.single_file.name} nor "
        f"{source.repository} in Hugging Face layout (not there: {shown})"
    )


def check_file(
    path: Path, source: Source, file: PinnedFile, first_use: FirstUse, on_bytes: Callable[[int], None]
) -> Fetched:
    """Hash one of the operator's files and compare it with what is expected.

    Raises WrongFile, naming the file, what was expected and what was found; Misconfigured if it cannot be
    read.
    """
    pinned = first_use.pinned(source, file)
    wanted = f"expected {source.repository}/{file.path}"
    try:
        size = path.stat().st_size
        if file.is_weights and looks_pickled(path):
            raise WrongFile(f"{path} is a pickle, which could run code when loaded: {wanted} in safetensors")
        if pinned.size_bytes and size != pinned.size_bytes:
            state = "is truncated" if size < pinned.size_bytes else "is another file"
            raise WrongFile(f"{path} {state}: it has {size} bytes, {wanted} with {pinned.size_bytes}")
        if file.is_weights:
            open_safetensors(path).close()
        sha256 = sha256_of(path, lambda _name, count: on_bytes(count))
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}") from error
    if pinned.sha256 and sha256 != pinned.sha256:
        raise WrongFile(
            f"{path} is another file: SHA-256 {sha256} was found, {wanted} with {pinned.sha256} "
            f"({first_use.explain(source, pinned)})"
        )
    return Fetched(file, path, size, sha256)

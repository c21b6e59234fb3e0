"""Getting the files of a source from the first place that has them, every one hashed and compared.

Imports no torch.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from node.errors import Fatal, Misconfigured, Unreachable
from node.locking import locked
from node.pipeline.profiles import load_profiles
from node.pipeline.weights import records
from node.pipeline.weights.conversion import Obtained, Reporter
from node.pipeline.weights.first_use import FirstUse
from node.pipeline.weights.hub import DEFAULT_ENDPOINT, Fetched, Hub, Offered, WrongFile
from node.pipeline.weights.local import (
    check_file,
    check_single_file,
    find_files,
    find_single_file,
    layout_folders,
    what_was_sought,
)
from node.pipeline.weights.secrets import Token
from node.pipeline.weights.sources import Group, PinnedFile, Source

_DOWNLOADS = ".downloads"
_SPARE_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Places:
    """Where the weights are looked for: ``single_files`` first, then ``directory``, else ``endpoint``."""

    endpoint: str = DEFAULT_ENDPOINT
    token: Token | None = None
    directory: Path | None = None
    single_files: Mapping[Group, Path] = field(default_factory=dict)


class Obtainer:
    """Finds or downloads sources below ``models``; ``origins`` tells of each group what it was made from."""

    def __init__(self, models: Path, places: Places, reporter: Reporter) -> None:
        self._models = models
        self._places = places
        self._reporter = reporter
        self._first_use = FirstUse(models)
        self._hub: Hub | None = None
        self._unrecorded: list[tuple[Source, Fetched]] = []
        self.origins: dict[Group, dict[str, Any]] = {}

    def obtain(self, group: Group, source: Source) -> Obtained:
        """Return the checked files of a source from the first place that has it."""
        given = self._places.single_files.get(group)
        if given is not None:
            return self._single_file(group, source, given)
        directory = self._places.directory
        if directory is None:
            return self._downloaded(group, source)
        files = find_files(directory, source, group, source.files)
        if files is not None:
            had = [self._checked(files[file.path], source, file) for file in source.files]
            return self._obtained(group, source, had)
        single = find_single_file(directory, source)
        if single is None:
            raise Misconfigured(what_was_sought(directory, source, group))
        return self._single_file(group, source, single)

    def _single_file(self, group: Group, source: Source, path: Path) -> Obtained:
        check_single_file(path, source)
        # First, because a missing vocabulary is known at once and hashing takes a while.
        small = self._vocabulary(group, source, path.parent)
        checkpoint = self._checked(path, source, source.single_file)
        self._remember(group, source, [checkpoint, *small], "single file")
        return Obtained(source, path, {had.file.path: had.path for had in small})

    def _vocabulary(self, group: Group, source: Source, beside: Path) -> list[Fetched]:
        """Return the small files that a single file lacks, from here if possible."""
        small = source.small_files
        if not small:
            return []
        folders = [directory for directory in (self._places.directory, beside) if directory is not None]
        for folder in folders:
            found = find_files(folder, source, group, small)
            if found is not None:
                return [self._checked(found[file.path], source, file) for file in small]
        for other in sorted(self._models.iterdir()):
            kept = {file.path: other / group / file.part / file.name for file in small}
            if all(
                file.sha256 and path.is_file() and records.sha256_of(path) == file.sha256
                for file, path in ((file, kept[file.path]) for file in small)
            ):
                return [self._checked(kept[file.path], source, file) for file in small]
        try:
            return self._download(source, small)
        except Unreachable as error:
            names = " and ".join(file.path for file in small)
            sought = ", ".join(str(folder) for folder in layout_folders(beside, source, group)[-3:])
            raise Unreachable(
                f"{source.single_file.name} comes without the vocabulary, {names}: put them below one of "
                f"{sought}, or let them be downloaded ({error})"
            ) from None

    def _checked(self, path: Path, source: Source, file: PinnedFile) -> Fetched:
        self._reporter.begin(f"checking {path.name}", path.stat().st_size)
        found = check_file(path, source, file, self._first_use, self._reporter.advance)
        if file.is_weights and not self._first_use.pinned(source, file).sha256:
            other = _published_as(found.sha256, source)
            if other is not None:
                # Of the same shapes, so that nothing else would tell.
                raise WrongFile(f"{path} is {other}: expected {source.repository}/{file.path}")
        return found

    def _downloaded(self, group: Group, source: Source) -> Obtained:
        return self._obtained(group, source, self._download(source, source.files))

    def _download(self, source: Source, files: tuple[PinnedFile, ...]) -> list[Fetched]:
        """Return the files, downloading those that are not here; the hub is asked about those only."""
        folder = self.downloads(source)
        folder.mkdir(parents=True, exist_ok=True)
        with locked(
            folder.with_name(f".{source.name}.lock"), f"{source.name} is being downloaded: wait for it"
        ):
            had = {file.path: self._already(source, file, folder) for file in files}
            offers = {
                file.path: self._hub_now().look_up(source, self._first_use.pinned(source, file))
                for file in files
                if had[file.path] is None
            }
            self.check_space(
                self._missing_bytes(source, files, offers), f"the download of {source.repository}"
            )
            return [had[file.path] or self._fetch(source, file, offers[file.path]) for file in files]

    def _already(self, source: Source, file: PinnedFile, folder: Path) -> Fetched | None:
        """Return a file that an earlier pull downloaded, if it is still what it should be."""
        path, pinned = folder / file.path, self._first_use.pinned(source, file)
        if not path.is_file():
            return None
        self._reporter.begin(f"checking {file.path}", path.stat().st_size)
        size, sha256 = (
            path.stat().st_size,
            records.sha256_of(path, lambda _name, n: self._reporter.advance(n)),
        )
        if sha256 == pinned.sha256:
            return Fetched(file, path, size, sha256)
        # Ours, and wrong or of an unknown hash: downloaded again.
        path.unlink()
        return None

    def _fetch(self, source: Source, file: PinnedFile, offered: Offered) -> Fetched:
        self._reporter.begin(
            f"downloading {source.repository}/{file.path}", file.size_bytes or offered.size_bytes or 0
        )
        pinned = self._first_use.pinned(source, file)
        target = self.downloads(source) / file.path
        fetched = self._hub_now().fetch(source, pinned, offered, target, self._reporter.advance)
        if not pinned.sha256:
            # At once: if this pull breaks off, the next one knows the file.
            self._note_first_use(source, file, fetched.sha256, "compared with the hub's own hash")
        return fetched

    def _obtained(self, group: Group, source: Source, had: list[Fetched]) -> Obtained:
        self._remember(group, source, had, "Hugging Face layout")
        return Obtained(source, None, {one.file.path: one.path for one in had})

    def _remember(self, group: Group, source: Source, had: list[Fetched], form: str) -> None:
        self._unrecorded += [
            (source, one) for one in had if not self._first_use.pinned(source, one.file).sha256
        ]
        self.origins[group] = {
            "source": source.name,
            "repository": source.repository,
            "revision": source.revision,
            "form": form,
            "files": {
                one.file.path: {
                    "bytes": one.size_bytes,
                    "sha256": one.sha256,
                    "hash": "pinned" if one.file.sha256 else "recorded on first use",
                }
                for one in had
            },
        }

    def record_first_use(self) -> None:
        """Record the hashes of the operator's files that had none. Call it once their conversion succeeded.

        Until then only their form is known to be right: a wrong file's hash would keep the right one out.
        """
        for source, one in self._unrecorded:
            self._note_first_use(source, one.file, one.sha256, "nothing was there to compare it with")
        self._unrecorded = []

    def _note_first_use(self, source: Source, file: PinnedFile, sha256: str, how: str) -> None:
        if self._first_use.record(source, file, sha256):
            self._reporter.note(
                f"{source.repository}/{file.path}: no published hash, recorded on first use ({how}): {sha256}"
            )

    def still_to_download(self, wanted: Mapping[Group, Source]) -> int:
        """Return how much will be downloaded, as far as sizes are known before the hub is asked."""
        if self._places.directory is not None:
            return 0
        sources = [source for group, source in wanted.items() if group not in self._places.single_files]
        here = sum(
            path.stat().st_size
            for source in sources
            for path in self.downloads(source).rglob("*")
            if path.is_file()
        )
        return max(0, sum(source.download_bytes for source in sources) - here)

    def _missing_bytes(
        self, source: Source, files: tuple[PinnedFile, ...], offers: Mapping[str, Offered]
    ) -> int:
        folder = self.downloads(source)
        wanted = sum(
            file.size_bytes or offers[file.path].size_bytes or 0 for file in files if file.path in offers
        )
        return max(0, wanted - sum(part.stat().st_size for part in folder.rglob("*.part")))

    def check_space(self, needed: int, what: str) -> None:
        """Raise Fatal unless the disk has so many bytes free."""
        free = shutil.disk_usage(self._models).free
        if needed and free < needed + _SPARE_BYTES:
            raise Fatal(
                f"{what} takes {needed / 1e9:.1f} GB and {self._models} has {free / 1e9:.1f} GB free: "
                "free some, or set node.data_dir to another disk"
            )

    def downloads(self, source: Source) -> Path:
        """Return where a source's files are downloaded to."""
        return self._models / _DOWNLOADS / source.name

    def _hub_now(self) -> Hub:
        if self._hub is None:
            self._hub = Hub(self._places.endpoint, self._places.token)
        return self._hub


def _published_as(sha256: str, source: Source) -> str | None:
    """Return which file of another source has this hash, if any."""
    for profile in load_profiles().values():
        for other in profile.sources.values():
            for file in (*other.files, other.single_file):
                if other.name != source.name and file.is_weights and file.sha256 == sha256:
                    return f"{other.repository}/{file.path}"
    return None

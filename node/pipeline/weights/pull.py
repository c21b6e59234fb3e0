"""Pulling a profile: find or download its files, check them, convert them, put them in place all at once.

One pull of a profile at a time; an interrupted one goes on where it was. Imports no torch.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from node.errors import Fatal
from node.locking import locked
from node.pipeline.checkpoints.architectures import CONFIGS
from node.pipeline.profiles import Profile
from node.pipeline.results import sync_directory
from node.pipeline.weights import records
from node.pipeline.weights.conversion import Obtained, Reporter, convert, require_libraries
from node.pipeline.weights.hub import WrongFile
from node.pipeline.weights.layout import converted_bytes, expected_files
from node.pipeline.weights.local import check_single_file
from node.pipeline.weights.obtaining import Obtainer, Places
from node.pipeline.weights.sharing import Shared, find_shared
from node.pipeline.weights.sources import Group


def pull(
    profile: Profile,
    data_dir: Path,
    places: Places,
    reporter: Reporter,
    *,
    keep_originals: bool = False,
    configs: Mapping[str, Mapping[str, Any]] = CONFIGS,
) -> bool:
    """Make a profile complete; return False if it was already.

    Raises Fatal (``WrongFile`` among others) naming the file, what was expected and what was found;
    Unreachable if a hub does not answer; Retryable if another pull runs; Misconfigured for places that cannot
    be used.
    """
    if not records.completeness(profile, data_dir):
        return False
    for group, path in places.single_files.items():
        check_single_file(path, profile.sources[group])
    require_libraries()
    models = data_dir / "models"
    models.mkdir(parents=True, exist_ok=True)
    with locked(models / f".{profile.name}.lock", f"another pull of {profile.name} is running: wait for it"):
        # Whoever had the lock before may have done it.
        if not records.completeness(profile, data_dir):
            return False
        _remove_leftovers(models, profile)
        try:
            _Pull(profile, models, places, reporter, configs).run(keep_originals=keep_originals)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise Fatal(f"the disk of {models} is full: free some, then pull again to go on") from error
    return True


class _Pull:
    """One pull under its lock."""

    def __init__(
        self,
        profile: Profile,
        models: Path,
        places: Places,
        reporter: Reporter,
        configs: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self._profile = profile
        self._models = models
        self._places = places
        self._reporter = reporter
        self._configs = configs
        self._obtainer = Obtainer(models, places, reporter)

    def run(self, *, keep_originals: bool) -> None:
        reused = self._shared()
        wanted = {group: source for group, source in self._profile.sources.items() if group not in reused}
        converted = converted_bytes(self._profile, self._configs, wanted.keys())
        self._obtainer.check_space(
            converted + self._obtainer.still_to_download(wanted), f"profile {self._profile.name}"
        )
        obtained = {group: self._obtainer.obtain(group, source) for group, source in wanted.items()}
        self._obtainer.check_space(converted, "what was converted")
        fresh = Path(tempfile.mkdtemp(prefix=f".{self._profile.name}-", dir=self._models))
        try:
            if obtained:
                convert(self._profile, obtained, self._configs, fresh, self._reporter)
            for group, had in obtained.items():
                self._copy_small_files(group, had, fresh)
            self._obtainer.record_first_use()
            for shared in reused.values():
                shared.link(fresh)
            self._finish(
                fresh, {name: sha256 for one in reused.values() for name, sha256 in one.files.items()}
            )
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        if not keep_originals:
            for source in wanted.values():
                shutil.rmtree(self._obtainer.downloads(source), ignore_errors=True)

    def _finish(self, fresh: Path, known: Mapping[str, str]) -> None:
        """Record every file, make all durable, then let the directory appear under its name.

        ``known`` are the hashes that shared files must still have.
        """
        files = {}
        names = sorted(expected_files(self._profile))
        self._reporter.begin("hashing", sum((fresh / name).stat().st_size for name in names))
        for name in names:
            with (fresh / name).open("rb") as written:
                os.fsync(written.fileno())
            files[name] = records.describe(fresh / name, lambda _name, count: self._reporter.advance(count))
            if known.get(name, files[name].sha256) != files[name].sha256:
                raise WrongFile(
                    f"{name} of another profile here has SHA-256 {files[name].sha256}, expected "
                    f"{known[name]}: run sdv-node models verify"
                )
        for folder in (path for path in fresh.rglob("*") if path.is_dir()):
            sync_directory(folder)
        records.write_record(fresh, self._profile, self._obtainer.origins, files)
        fresh.chmod(0o755)
        directory = self._models / self._profile.name
        if directory.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{self._profile.name}-", dir=self._models))
            directory.rename(old / "old")
            fresh.rename(directory)
            shutil.rmtree(old, ignore_errors=True)
        else:
            fresh.rename(directory)
        sync_directory(self._models)

    def _copy_small_files(self, group: Group, had: Obtained, fresh: Path) -> None:
        for file in had.source.small_files:
            target = fresh / group / file.part / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(had.files[file.path], target)

    def _shared(self) -> dict[Group, Shared]:
        """Return the groups that another profile on this machine has in the very same form."""
        found: dict[Group, Shared] = {}
        for group, source in self._profile.sources.items():
            if group in self._places.single_files:
                continue
            shared = find_shared(self._models, self._profile, group, source)
            if shared is not None:
                found[group], self._obtainer.origins[group] = shared, shared.origin
                self._reporter.note(f"the {group} weights are those of profile {shared.directory.name} here")
        return found


def _remove_leftovers(models: Path, profile: Profile) -> None:
    """Remove what pulls that were killed left behind; only their own names are looked at."""
    for folder in models.glob(f".{profile.name}-*"):
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)

"""Weights that another profile on this machine already has in the very same form: linked, not fetched again.

Imports no torch.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.errors import Fatal
from node.pipeline.profiles import Profile
from node.pipeline.weights.layout import RECIPE, expected_files
from node.pipeline.weights.records import is_of_source, read_record, recorded_hashes
from node.pipeline.weights.sources import Group, Source


@dataclass(frozen=True, slots=True)
class Shared:
    """One group of weights in another profile's directory: where it came from, and its files' SHA-256."""

    directory: Path
    origin: dict[str, Any]
    files: dict[str, str]

    def link(self, fresh: Path) -> None:
        """Make the files appear in ``fresh``: the same ones where the file system can, else copies."""
        for name in self.files:
            target = fresh / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(self.directory / name, target)
            except OSError:
                shutil.copyfile(self.directory / name, target)


def find_shared(models: Path, profile: Profile, group: Group, source: Source) -> Shared | None:
    """Return the first profile below ``models`` with a group's weights of the same source and precision."""
    wanted = [name for name in expected_files(profile) if name.startswith(f"{group}/")]
    for directory in sorted(models.iterdir()):
        if directory.name == profile.name or directory.name.startswith("."):
            continue
        try:
            record, hashes = read_record(directory), recorded_hashes(directory)
        except Fatal:
            continue
        if record is None or hashes is None:
            continue
        form = (record.get("recipe"), record.get("precision"), record.get("vae_precision"))
        origin = record["sources"].get(group)
        if (
            form == (RECIPE, profile.precision, profile.vae_precision)
            and all(name in hashes for name in wanted)
            and is_of_source(origin, source)
        ):
            return Shared(directory, dict(origin), {name: hashes[name] for name in wanted})
    return None

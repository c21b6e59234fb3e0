"""What a profile's weights are made of: repositories at a pinned revision and their files' SHA-256.

Owns the form and the bounds of the ``sources`` table of ``config/models.toml``. Imports no torch.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Group = Literal["still", "clip"]
GROUPS: tuple[Group, ...] = ("still", "clip")

_MAX_FILE_BYTES = 64 * 10**9
_SAFE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


@dataclass(frozen=True, slots=True)
class PinnedFile:
    """One file of a repository. ``part`` is the folder it belongs to in a profile's directory.

    ``sha256`` is empty and ``size_bytes`` 0 where they are not publicly known: the hash is then taken from
    the hub at the pinned revision and recorded on first use.
    """

    path: str
    part: str
    size_bytes: int
    sha256: str

    @property
    def name(self) -> str:
        """The file's name without its folders."""
        return self.path.rpartition("/")[2]

    @property
    def is_weights(self) -> bool:
        """Whether the file holds tensors."""
        return self.path.endswith(".safetensors")


@dataclass(frozen=True, slots=True)
class Source:
    """The weights of the still or of the clip as they are published.

    ``files`` are in Hugging Face layout; ``single_file`` holds the same networks in one checkpoint.
    """

    name: str
    repository: str
    revision: str
    gated: bool
    licence: str
    single_file: PinnedFile
    files: tuple[PinnedFile, ...]

    @property
    def page(self) -> str:
        """Where people read and accept the licence."""
        return f"https://huggingface.co/{self.repository}"

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts in the order of the table."""
        return tuple(dict.fromkeys(file.part for file in self.files))

    @property
    def networks(self) -> tuple[str, ...]:
        """The parts that are networks."""
        return tuple(dict.fromkeys(file.part for file in self.files if file.is_weights))

    @property
    def small_files(self) -> tuple[PinnedFile, ...]:
        """The files that a single-file checkpoint lacks and that are copied as they are: the vocabulary."""
        return tuple(file for file in self.files if file.part not in self.networks)

    @property
    def download_bytes(self) -> int:
        """The size of ``files``, as far as it is known."""
        return sum(file.size_bytes for file in self.files)


def is_safe_path(path: str) -> bool:
    """Return whether a path stays below the folder it is joined to, in characters every system takes."""
    return len(path) <= 200 and _SAFE_NAME.fullmatch(path) is not None


_Path = Annotated[str, StringConstraints(max_length=200, pattern=f"^{_SAFE_NAME.pattern}$")]
_Sha256 = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")]
_Bytes = Annotated[int, Field(ge=0, le=_MAX_FILE_BYTES)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _File(_Strict):
    part: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,40}$")]
    bytes: _Bytes
    sha256: _Sha256


class _SingleFile(_Strict):
    name: Annotated[
        str, StringConstraints(max_length=100, pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*\.safetensors$")
    ]
    bytes: _Bytes
    sha256: _Sha256


class SourceRow(_Strict):
    """One table below ``sources``."""

    repository: Annotated[
        str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$")
    ]
    revision: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
    gated: bool
    licence: str
    single_file: _SingleFile
    files: Annotated[dict[_Path, _File], Field(min_length=1)]

    def to_source(self, name: str) -> Source:
        """Return the row as the rest of the package knows it."""
        return Source(
            name=name,
            repository=self.repository,
            revision=self.revision,
            gated=self.gated,
            licence=self.licence,
            single_file=PinnedFile(
                self.single_file.name, "", self.single_file.bytes, self.single_file.sha256
            ),
            files=tuple(
                PinnedFile(path, row.part, row.bytes, row.sha256) for path, row in self.files.items()
            ),
        )

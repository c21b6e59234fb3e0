"""Profiles: which models at which sizes on which device, read from ``config/models.toml``.

Owns the reading and the bounds, not the weights. Imports no torch, so that the daemon and the command line
may list profiles.
"""

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError, model_validator

from node.errors import Misconfigured
from node.pipeline.weights.sources import Group, Source, SourceRow
from node.resources import data_path

PIPELINE_VERSION = "3"
"""Part of the determinism class: raise it with every change that can change a byte of a result."""

Precision = Literal["float32", "float16", "bfloat16"]
Stage = Literal["still", "still decode", "clip", "clip decode"]
Gigabytes = Annotated[float, Field(ge=0, le=1024)]
Pixels = Annotated[int, Field(ge=64, le=4096, multiple_of=16)]


@dataclass(frozen=True, slots=True)
class Profile:
    """What a worker loads and how it computes. Every field that can change a bit is part of the class.

    Sizes in pixels. ``precision`` is that of the two UNets, ``vae_precision`` of the two VAEs; the encoders
    always compute in float32. ``threads`` is torch's CPU thread count, which the bits depend on.
    ``memory_gb`` is what a job needs of the device, models included (10^9 bytes; 0 on the CPU), and
    ``swapped_memory_gb`` the same where the two sets of models take turns on it; which of the two
    ``residency`` says is the operator's choice and changes no bit. ``stages_gb`` are the needs of single
    stages, models included, as far as the profile states them.
    ``serves`` names the profiles of modules (``node.job.modules``) that this one may compute. ``still`` and
    ``clip`` say where the weights come from; both are None when they are made here.
    """

    name: str
    made_here: bool
    device: str
    precision: str
    vae_precision: str
    kernels: str
    memory_gb: float
    swapped_memory_gb: float
    serves: tuple[str, ...]
    threads: int
    still_size: int
    clip_width: int
    clip_height: int
    frames: int
    still: Source | None = None
    clip: Source | None = None
    residency: str = "resident"
    stages_gb: tuple[tuple[str, float], ...] = ()
    swapped_stages_gb: tuple[tuple[str, float], ...] = ()

    def placed(self, residency: str) -> "Profile":
        """Return the profile with its models "resident" on the device or "swapped", and what that needs."""
        if residency != "swapped":
            return replace(self, residency=residency)
        return replace(
            self, residency=residency, memory_gb=self.swapped_memory_gb, stages_gb=self.swapped_stages_gb
        )

    @property
    def sources(self) -> dict[Group, Source]:
        """Where the weights come from, by their folder in the profile's directory; empty if made here."""
        found: dict[Group, Source | None] = {"still": self.still, "clip": self.clip}
        return {group: source for group, source in found.items() if source is not None}

    def directory(self, data_dir: Path) -> Path:
        """Return where the profile's weights are: one folder per network, in the precision of its use."""
        return data_dir / "models" / self.name


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    made_here: bool
    device: Literal["cpu", "cuda"]
    precision: Precision
    # The SDXL VAE overflows in float16.
    vae_precision: Literal["float32", "bfloat16"]
    kernels: Literal["eager", "compiled"]
    memory_gb: Gigabytes
    swapped_memory_gb: Gigabytes
    stages_gb: dict[Stage, Gigabytes] = {}
    swapped_stages_gb: dict[Stage, Gigabytes] = {}
    serves: Annotated[tuple[Literal["sdv-1.0", "sdv-1.1"], ...], Strict(strict=False)]
    threads: Annotated[int, Field(ge=1, le=64)]
    still_size: Pixels
    clip_width: Pixels
    clip_height: Pixels
    frames: Annotated[int, Field(ge=2, le=25)]
    still: str = ""
    clip: str = ""

    @model_validator(mode="after")
    def _has_weights(self) -> "_Row":
        named = bool(self.still) + bool(self.clip)
        if named != (0 if self.made_here else 2):
            raise ValueError("a profile names both still and clip of the sources, or has made_here = true")
        return self

    @model_validator(mode="after")
    def _largest_stage_is_the_need(self) -> "_Row":
        for name, whole, stages in (
            ("", self.memory_gb, self.stages_gb),
            ("swapped_", self.swapped_memory_gb, self.swapped_stages_gb),
        ):
            if stages and max(stages.values()) != whole:
                raise ValueError(f"{name}memory_gb is {whole:g}, which is not the largest of {name}stages_gb")
        return self


class _Table(BaseModel):
    sources: dict[str, SourceRow] = {}


_Model = TypeVar("_Model", bound=BaseModel)


def load_profiles(path: Path | None = None) -> dict[str, Profile]:
    """Return profiles by name: those of ``path`` alone, or the shipped ones with the operator's own.

    The operator's are in the first of /etc/sdv-node/models.toml and ~/.config/sdv-node/models.toml that
    exists; a table there replaces the shipped one of its name. Raises Misconfigured if a file cannot be read
    or a profile is wrong.
    """
    shipped = data_path("config/models.toml")
    given, rows = _read(path or shipped)
    own = _own_file() if path is None else None
    if own is not None:
        path = own
        more_given, more_rows = _read(own)
        given |= more_given
        rows |= more_rows
    sources = {name: row.to_source(name) for name, row in given.items()}
    for name, row in rows.items():
        for source in (row.still, row.clip):
            if source and source not in sources:
                raise Misconfigured(
                    f"{path or shipped}: profile {name} names the source {source!r}, "
                    f"there are {', '.join(sources)}"
                )
    return {
        name: Profile(
            name=name,
            **row.model_dump(exclude={"still", "clip", "stages_gb", "swapped_stages_gb"}),
            stages_gb=tuple(row.stages_gb.items()),
            swapped_stages_gb=tuple(row.swapped_stages_gb.items()),
            still=sources.get(row.still),
            clip=sources.get(row.clip),
        )
        for name, row in rows.items()
    }


def _read(path: Path) -> tuple[dict[str, SourceRow], dict[str, _Row]]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise Misconfigured(f"{path} is not a table of model profiles: {error}") from error
    given = _checked(path, "", _Table, {"sources": tables.pop("sources", {})}).sources
    return given, {name: _checked(path, f"{name}.", _Row, table) for name, table in tables.items()}


def _checked(path: Path, place: str, kind: type[_Model], table: object) -> _Model:
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        wrong = "; ".join(
            f"{place}{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()
        )
        raise Misconfigured(f"{path} is not a table of model profiles: {wrong}") from None


def _own_file() -> Path | None:
    usual = (Path("/etc/sdv-node/models.toml"), Path("~/.config/sdv-node/models.toml").expanduser())
    return next((path for path in usual if path.is_file()), None)


def load_profile(name: str, path: Path | None = None) -> Profile:
    """Return one profile. Raises Misconfigured, naming those that exist, if there is none of this name."""
    profiles = load_profiles(path)
    if name not in profiles:
        raise Misconfigured(f"there is no profile {name!r}; allowed: {', '.join(profiles)}")
    return profiles[name]

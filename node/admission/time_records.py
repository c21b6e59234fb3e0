"""Measured run times as they are kept: ``run-times.json`` in the data directory, small, versioned, atomic.

Owns the file and what is remembered of each machine; what the numbers mean is in ``estimate``. A file that
cannot be read is set aside and told, and everything is measured anew.
"""

from pathlib import Path
from statistics import median
from typing import Annotated, Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from node.admission.estimate import LONGEST_S, UnitTimes
from node.admission.work import Part
from node.pipeline.results import sync_directory, write_durably

FILE = "run-times.json"
MAX_BYTES = 256 * 1024
KEPT_SAMPLES = 15
"""Of each part: the median of so many follows a changed machine within eight jobs, and no single outlier."""
KEPT_MACHINES = 16

_Seconds = Annotated[float, Field(ge=0, le=LONGEST_S)]
_Samples = Annotated[list[_Seconds], Field(max_length=KEPT_SAMPLES)]
_Ratios = Annotated[list[Annotated[float, Field(gt=0, le=1e6)]], Field(max_length=KEPT_SAMPLES)]
_Name = Annotated[str, Field(max_length=200)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Machine(_Model):
    """What was measured with one profile on one GPU model in one determinism class; newest samples last."""

    profile: _Name
    gpu: _Name
    determinism_class: _Name
    updated_at: Annotated[float, Field(ge=0)] = 0.0
    parts: dict[Annotated[Part, Field(strict=False)], _Samples] = {}
    whole_s: _Samples = []
    ratios: _Ratios = []
    priced: dict[Annotated[Part, Field(strict=False)], _Seconds] = {}
    """The seconds per unit that prices by the second are made of, until times have moved away from them."""

    def keep(self, samples: list[float], sample: float) -> None:
        """Add a sample to one of the lists, and forget the oldest beyond their bound."""
        samples.append(min(max(sample, 0.0), LONGEST_S))
        del samples[:-KEPT_SAMPLES]

    def unit_times(self) -> UnitTimes:
        """Return the medians."""
        return UnitTimes(
            parts={part: median(samples) for part, samples in self.parts.items() if samples},
            whole_s=median(self.whole_s) if self.whole_s else None,
            ratios=tuple(self.ratios),
        )


class _File(_Model):
    version: Literal[1]
    machines: Annotated[list[Machine], Field(max_length=KEPT_MACHINES)]


class TimeRecords:
    """The machines on record. ``problem`` tells why an earlier file could not be read, or None."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE
        self.machines: list[Machine] = []
        self.problem: str | None = None
        try:
            self.machines = self._read()
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            self._set_aside(error)

    def find(self, profile: str, gpu: str, determinism_class: str | None) -> Machine | None:
        """Return a machine's record; without a class the newest of the profile and GPU."""
        found = [
            machine
            for machine in self.machines
            if (machine.profile, machine.gpu) == (profile, gpu)
            and determinism_class in {None, machine.determinism_class}
        ]
        return max(found, key=lambda machine: machine.updated_at, default=None)

    def find_or_add(self, profile: str, gpu: str, determinism_class: str) -> Machine:
        """Return a machine's record, a new one in place of the oldest if there are too many."""
        found = self.find(profile, gpu, determinism_class)
        if found is None:
            found = Machine(profile=profile, gpu=gpu, determinism_class=determinism_class)
            self.machines.append(found)
            if len(self.machines) > KEPT_MACHINES:
                others = self.machines[:-1]
                self.machines.remove(min(others, key=lambda machine: machine.updated_at))
        return found

    def text(self) -> bytes:
        """Return what ``save`` writes."""
        return _File(version=1, machines=self.machines).model_dump_json(indent=1).encode() + b"\n"

    def save(self, text: bytes) -> None:
        """Write the file in one piece. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(self._path, text)
        sync_directory(self._path.parent)

    def _read(self) -> list[Machine]:
        with self._path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"it is longer than {MAX_BYTES} bytes")
        try:
            return _File.model_validate_json(content).machines
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise ValueError(f"{place}: {first['msg']}") from None

    def _set_aside(self, error: Exception) -> None:
        damaged = self._path.with_name(f"{FILE}.damaged")
        self.problem = f"{self._path} cannot be used: {error}; run times are measured anew (sdv-node bench)"
        try:
            self._path.replace(damaged)
        except OSError as left:
            self.problem += f"; it could not be set aside either: {left}"
        structlog.get_logger().warning("run_times_damaged", problem=self.problem, kept_as=str(damaged))

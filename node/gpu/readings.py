"""What is known of GPUs at one moment, as plain values: the words of the probe, the gate and the status.

Facts come from NVML (``node.gpu.probe``); a reading that a driver or a GPU does not offer is None, and
``missing`` says why. Memory in bytes, temperatures in degrees Celsius, power in watts, clocks in hertz.
"""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from node.types import GpuUuid


class FaultKind(StrEnum):
    """What keeps the driver or one GPU from answering."""

    NO_DRIVER = "no_driver"
    NOT_LOADED = "driver_not_loaded"
    MISMATCH = "driver_mismatch"
    NO_PERMISSION = "no_permission"
    TOO_OLD = "driver_too_old"
    NO_GPU = "no_gpu"
    LOST = "gpu_lost"
    RESET_REQUIRED = "reset_required"
    HUNG = "driver_hung"
    NOT_READ = "not_read"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why the driver, or the GPU named in ``gpu``, cannot be read, with what to do about it."""

    kind: FaultKind
    words: str
    gpu: str | None = None

    def __str__(self) -> str:
        return self.words if self.gpu is None else f"{self.gpu}: {self.words}"


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process of somebody else on the GPU. ``memory_bytes`` and ``name`` are None where they are hidden.

    ``computes`` is False for one that only draws, like a desktop.
    """

    pid: int
    memory_bytes: int | None
    name: str | None = None
    computes: bool = True

    def __str__(self) -> str:
        # Without its name: what is said of GPUs is told to the public too.
        held = "" if self.memory_bytes is None else f" with {self.memory_bytes / 1e9:.1f} GB"
        return f"process {self.pid}{held}"

    @property
    def named(self) -> str:
        """What the operator of the machine is told."""
        return f"{self} ({self.name})" if self.name else str(self)


@dataclass(frozen=True, slots=True)
class Xid:
    """A critical error that the driver reported of a GPU. ``at`` is wall time, in seconds.

    ``fatal``: the GPU computes nothing sound until the remedy is carried out.
    """

    number: int
    at: float
    meaning: str
    remedy: str
    fatal: bool


@dataclass(frozen=True, slots=True)
class GpuInfo:
    """One GPU as it is now. ``missing`` names the readings this GPU did not give, each with the cause."""

    index: int
    name: str
    uuid: GpuUuid
    memory_total_bytes: int
    memory_free_bytes: int
    memory_used_bytes: int
    utilisation_percent: int | None = None
    temperature_c: int | None = None
    slowdown_temperature_c: int | None = None
    """From which on the card slows itself down."""
    power_w: float | None = None
    power_limit_w: float | None = None
    sm_clock_hz: int | None = None
    sm_clock_max_hz: int | None = None
    memory_clock_hz: int | None = None
    throttle_reasons: tuple[str, ...] = ()
    """Why its clocks are lower than they could be, in words; none while it idles."""
    ecc_enabled: bool | None = None
    ecc_uncorrected_errors: int | None = None
    """Since the driver was loaded."""
    recovery: str | None = None
    """What the driver asks for before the GPU can be used again, None for nothing."""
    xid: Xid | None = None
    """The last critical error since the node started; a fatal one stays."""
    xid_errors: int = 0
    """How many of them were reported since the node started."""
    mig_enabled: bool | None = None
    own_memory_bytes: int | None = None
    """What processes of this node hold, None where the driver hides it; 0 if it lists none of them."""
    other_processes: tuple[GpuProcess, ...] = ()
    driver_version: str | None = None
    cuda_version: str | None = None
    missing: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """How people are told which GPU is meant."""
        return f"GPU {self.index} ({self.name})"

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name, for the status document."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class GpuReport:
    """The GPUs that answer, and what is wrong with the others or with the driver."""

    gpus: tuple[GpuInfo, ...]
    faults: tuple[Fault, ...] = ()

    @property
    def problem(self) -> str | None:
        """All faults in words, None if there are none."""
        return "; ".join(map(str, self.faults)) or None

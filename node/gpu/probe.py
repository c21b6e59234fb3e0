"""Reading NVIDIA GPUs through NVML. The only home of pynvml.

A machine without a driver, without a GPU or with a sick one is an ordinary answer with a remedy, never an
exception. Facts come from libnvidia-ml.so.1; a reading that a driver or a GPU does not offer is None.
"""

import contextlib
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeVar

import pynvml

from node.types import GpuUuid

T = TypeVar("T")

_REMEDIES: Final = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: (
        "no NVIDIA driver on this machine (libnvidia-ml.so.1 was not found): install the driver, "
        "or start the container with GPU access"
    ),
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: (
        "the NVIDIA driver is installed but not loaded: run `nvidia-smi`, then reboot or `modprobe nvidia`"
    ),
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
        "the NVIDIA driver was updated while it was loaded (library and kernel module differ): "
        "reboot the machine"
    ),
    pynvml.NVML_ERROR_NO_PERMISSION: (
        "no permission to use the GPU: give this user access to /dev/nvidia* "
        "(group `video` on many systems, DeviceAllow= in a systemd unit)"
    ),
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: "the NVIDIA driver is too old for this query: update the driver",
    pynvml.NVML_ERROR_GPU_IS_LOST: "the GPU fell off the bus: reboot the machine, then check power and riser",
    pynvml.NVML_ERROR_RESET_REQUIRED: "the GPU must be reset: stop its programs and run `nvidia-smi -r`",
    pynvml.NVML_ERROR_NOT_SUPPORTED: "this GPU or its mode (MIG, vGPU) does not offer the query",
}


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A compute process of somebody else on the GPU. ``memory_bytes`` is None where the driver hides it."""

    pid: int
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class GpuInfo:
    """One GPU as it is now. ``missing`` names the readings this GPU did not give, each with the cause."""

    index: int
    name: str
    uuid: GpuUuid
    memory_total_bytes: int
    memory_free_bytes: int
    memory_used_bytes: int
    utilisation_percent: int | None
    temperature_c: int | None
    power_w: float | None
    other_processes: tuple[GpuProcess, ...]
    driver_version: str | None
    cuda_version: str | None
    missing: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the fields by name, for the status document."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class GpuReport:
    """The GPUs that answer, and in words what is wrong with the others or with the driver."""

    gpus: tuple[GpuInfo, ...]
    problem: str | None


def probe(own_pids: Collection[int] = ()) -> GpuReport:
    """Read every GPU once (microseconds). ``own_pids`` are our processes, left out of ``other_processes``."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return GpuReport((), _words(error))
    try:
        return _read_all(frozenset(own_pids))
    except pynvml.NVMLError as error:
        return GpuReport((), _words(error))
    finally:
        # What was read stays true if the library cannot close its session.
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()


def _read_all(own_pids: frozenset[int]) -> GpuReport:
    missing: list[str] = []
    driver = _optional("driver version", pynvml.nvmlSystemGetDriverVersion, missing)
    cuda = _optional("CUDA version", pynvml.nvmlSystemGetCudaDriverVersion_v2, missing)
    gpus, problems = [], []
    count = pynvml.nvmlDeviceGetCount()
    for index in range(count):
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            gpus.append(_read(index, handle, driver, _cuda_text(cuda), own_pids, tuple(missing)))
        except pynvml.NVMLError as error:
            problems.append(f"GPU {index}: {_words(error)}")
    if count == 0:
        problems.append("the NVIDIA driver works but sees no GPU: check `lspci`, the container's GPU access")
    return GpuReport(tuple(gpus), "; ".join(problems) or None)


def _read(
    index: int,
    handle: object,
    driver: str | None,
    cuda: str | None,
    own_pids: frozenset[int],
    missing_before: tuple[str, ...],
) -> GpuInfo:
    missing = list(missing_before)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    use = _optional("utilisation", lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu, missing)
    temperature = _optional("temperature", lambda: _temperature_c(handle), missing)
    power_mw = _optional("power", lambda: pynvml.nvmlDeviceGetPowerUsage(handle), missing)
    running = _optional("processes", lambda: pynvml.nvmlDeviceGetComputeRunningProcesses_v3(handle), missing)
    return GpuInfo(
        index=index,
        name=pynvml.nvmlDeviceGetName(handle),
        uuid=GpuUuid(pynvml.nvmlDeviceGetUUID(handle)),
        memory_total_bytes=int(memory.total),
        memory_free_bytes=int(memory.free),
        memory_used_bytes=int(memory.used),
        utilisation_percent=use,
        temperature_c=temperature,
        power_w=None if power_mw is None else power_mw / 1000,
        other_processes=tuple(
            GpuProcess(int(process.pid), process.usedGpuMemory)
            for process in running or ()
            if process.pid not in own_pids
        ),
        driver_version=driver,
        cuda_version=cuda,
        missing=tuple(missing),
    )


def _temperature_c(handle: object) -> int:
    try:
        return int(pynvml.nvmlDeviceGetTemperatureV(handle, pynvml.NVML_TEMPERATURE_GPU))
    except pynvml.NVMLError_FunctionNotFound:
        # Drivers before 560 know only the older call.
        return int(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))


def _optional(reading: str, read: Callable[[], T], missing: list[str]) -> T | None:
    """Return a reading, or None with its cause noted; a lost GPU is not a missing reading and goes up."""
    try:
        return read()
    except pynvml.NVMLError as error:
        if error.value in {pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED}:
            raise
        missing.append(f"{reading}: {_words(error)}")
        return None


def _cuda_text(version: int | None) -> str | None:
    return None if version is None else f"{version // 1000}.{version % 1000 // 10}"


def _words(error: pynvml.NVMLError) -> str:
    # str(error) would call nvmlErrorString in a library that may be the thing that is broken.
    return _REMEDIES.get(
        error.value, f"NVML answered with error {error.value}: run `nvidia-smi` and look at `dmesg`"
    )

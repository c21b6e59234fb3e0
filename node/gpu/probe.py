"""Reading NVIDIA GPUs through NVML. The only home of pynvml.

A machine without a driver, without a GPU or with a sick one is an ordinary answer with a remedy, never an
exception. Every call may hang in a sick driver: the daemon reads through ``node.gpu.watch``, in a thread of
its own. Facts come from libnvidia-ml.so.1; a reading that a driver or a GPU does not offer is None.
"""

import contextlib
import ctypes
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import pynvml

from node.gpu import faults
from node.gpu.processes import process_name, started_here
from node.gpu.readings import Fault, FaultKind, GpuInfo, GpuProcess, GpuReport, Xid
from node.gpu.xid import xid
from node.types import GpuUuid

T = TypeVar("T")

MAX_PROCESSES: Final = 64
MAX_EVENTS_AT_ONCE: Final = 256
_HERTZ_PER_MHZ: Final = 1_000_000
_UNCORRECTED: Final = pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED
_SINCE_LOADED: Final = pynvml.NVML_VOLATILE_ECC
_GONE: Final = frozenset({faults.LOST, faults.RESET_REQUIRED})

_THROTTLE: Final = {
    pynvml.nvmlClocksThrottleReasonApplicationsClocksSetting: "the clocks are set lower by hand",
    pynvml.nvmlClocksThrottleReasonSwPowerCap: "power limit",
    pynvml.nvmlClocksThrottleReasonHwSlowdown: "slowed down by the hardware",
    pynvml.nvmlClocksThrottleReasonSyncBoost: "kept at the pace of other GPUs",
    pynvml.nvmlClocksThrottleReasonSwThermalSlowdown: "too hot (slowed down by the driver)",
    pynvml.nvmlClocksThrottleReasonHwThermalSlowdown: "too hot (slowed down by the hardware)",
    pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown: "power brake (the power supply asks for less)",
    pynvml.nvmlClocksThrottleReasonDisplayClockSetting: "the clocks are set by the display",
    pynvml.nvmlClocksThrottleReasonBoardLimit: "limit of the board",
    pynvml.nvmlClocksThrottleReasonReliability: "voltage limit",
}
_RECOVERY: Final = {
    pynvml.NVML_GPU_RECOVERY_ACTION_GPU_RESET: "stop the node and run `nvidia-smi -r`",
    pynvml.NVML_GPU_RECOVERY_ACTION_NODE_REBOOT: "reboot the machine",
    pynvml.NVML_GPU_RECOVERY_ACTION_DRAIN_AND_RESET: "stop the node and run `nvidia-smi -r`",
    pynvml.NVML_GPU_RECOVERY_ACTION_BUS_RESET: "stop the node and reset the card's bus, or reboot",
    pynvml.NVML_GPU_RECOVERY_ACTION_SYSTEM_REBOOT: "reboot the machine",
}


@dataclass(frozen=True, slots=True)
class _Driver:
    version: str | None
    cuda: str | None
    missing: tuple[str, ...]


@dataclass(slots=True)
class _Heard:
    """The critical errors of one GPU: how many, the last one, and the last fatal one."""

    count: int = 0
    last: Xid | None = None
    fatal: Xid | None = None

    def add(self, error: Xid) -> None:
        self.count += 1
        self.last = error
        self.fatal = error if error.fatal else self.fatal


class NvmlSession:
    """A session with the driver that stays open, so that critical errors are heard of. Not thread-safe.

    ``ours`` tells this node's own processes by their pid; ``now`` is wall time in seconds.
    """

    def __init__(
        self, ours: Callable[[int], bool] | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self._ours = ours or started_here()
        self._now = now
        self._open = False
        self._events: Any = None
        self._events_missing: dict[int, str] = {}
        self._names: dict[int, str] = {}
        self._index_of: dict[int, int] = {}
        self._heard: dict[int, _Heard] = {}

    def read(self) -> GpuReport:
        """Read every GPU once (some milliseconds). Opens the session again if the driver was away."""
        try:
            if not self._open:
                pynvml.nvmlInit()
                self._open = True
            return self._read_all()
        except pynvml.NVMLError as error:
            self.close()
            return GpuReport((), (faults.fault(error.value),))
        except (ValueError, OSError) as error:
            self.close()
            return GpuReport((), (_unreadable(error),))

    def close(self) -> None:
        """End the session. What was read stays true if the library cannot close it."""
        if not self._open:
            return
        with contextlib.suppress(pynvml.NVMLError):
            if self._events is not None:
                pynvml.nvmlEventSetFree(self._events)
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()
        self._open, self._events = False, None
        self._index_of.clear()
        self._events_missing.clear()

    def _read_all(self) -> GpuReport:
        missing: list[str] = []
        version = _optional("driver version", pynvml.nvmlSystemGetDriverVersion, missing)
        cuda = _optional("CUDA version", pynvml.nvmlSystemGetCudaDriverVersion_v2, missing)
        driver = _Driver(version, _cuda_text(cuda), tuple(missing))
        gpus: list[GpuInfo] = []
        found: list[Fault] = []
        count = pynvml.nvmlDeviceGetCount()
        handles = {}
        for index in range(count):
            try:
                handles[index] = pynvml.nvmlDeviceGetHandleByIndex(index)
                self._listen(index, handles[index])
            except pynvml.NVMLError as error:
                handles.pop(index, None)
                found.append(faults.fault(error.value, self._label(index)))
        self._hear()
        for index, handle in handles.items():
            try:
                gpus.append(self._read(index, handle, driver))
            except pynvml.NVMLError as error:
                found.append(faults.fault(error.value, self._label(index)))
        if count == 0:
            found.append(faults.NO_GPU)
        return GpuReport(tuple(gpus), tuple(found))

    def _label(self, index: int) -> str:
        name = self._names.get(index)
        told = f"GPU {index} ({name})" if name else f"GPU {index}"
        heard = self._heard[index].last if index in self._heard else None
        return told if heard is None else f"{told}, which reported Xid {heard.number} ({heard.meaning})"

    def _listen(self, index: int, handle: Any) -> None:
        """Ask once for the critical errors of a GPU; what cannot be asked for is a missing reading."""
        address = ctypes.cast(handle, ctypes.c_void_p).value or 0
        if address in self._index_of:
            return
        self._index_of[address] = index
        lacking: list[str] = []

        def register() -> None:
            if self._events is None:
                self._events = pynvml.nvmlEventSetCreate()
            pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, self._events)

        _optional("Xid errors", register, lacking)
        if lacking:
            self._events_missing[index] = lacking[0]

    def _hear(self) -> None:
        """Take the critical errors that were reported since the last time, without waiting for any."""
        if self._events is None:
            return
        for _ in range(MAX_EVENTS_AT_ONCE):
            try:
                event = pynvml.nvmlEventSetWait_v2(self._events, 0)
            except pynvml.NVMLError as error:
                if error.value != faults.TIMEOUT:
                    told = f"Xid errors: {faults.fault(error.value).words}"
                    self._events_missing.update(dict.fromkeys(self._index_of.values(), told))
                return
            address = ctypes.cast(event.device, ctypes.c_void_p).value or 0
            index = self._index_of.get(address)
            if index is not None and event.eventType == pynvml.nvmlEventTypeXidCriticalError:
                self._heard.setdefault(index, _Heard()).add(xid(int(event.eventData), self._now()))

    def _read(self, index: int, handle: Any, driver: _Driver) -> GpuInfo:
        missing = [*driver.missing, *filter(None, [self._events_missing.get(index)])]

        def optional(reading: str, read: Callable[[], T]) -> T | None:
            return _optional(reading, read, missing)

        name = pynvml.nvmlDeviceGetName(handle)
        self._names[index] = name
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        power_mw = optional("power", lambda: pynvml.nvmlDeviceGetPowerUsage(handle))
        limit_mw = optional("power limit", lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(handle))
        ecc = optional("ECC mode", lambda: pynvml.nvmlDeviceGetEccMode(handle)[0])
        mig = optional("MIG mode", lambda: pynvml.nvmlDeviceGetMigMode(handle)[0])
        recovery = optional("recovery action", lambda: _recovery(handle))
        own_bytes, others = _processes(handle, self._ours, missing)
        heard = self._heard.get(index, _Heard())
        return GpuInfo(
            index=index,
            name=name,
            uuid=GpuUuid(pynvml.nvmlDeviceGetUUID(handle)),
            memory_total_bytes=int(memory.total),
            memory_free_bytes=int(memory.free),
            memory_used_bytes=int(memory.used),
            utilisation_percent=optional(
                "utilisation", lambda: int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
            ),
            temperature_c=optional("temperature", lambda: _temperature_c(handle)),
            slowdown_temperature_c=optional("slowdown temperature", lambda: _slowdown_c(handle)),
            power_w=None if power_mw is None else power_mw / 1000,
            power_limit_w=None if limit_mw is None else limit_mw / 1000,
            sm_clock_hz=optional("clock", lambda: _clock_hz(handle, pynvml.NVML_CLOCK_SM)),
            sm_clock_max_hz=optional("highest clock", lambda: _highest_clock_hz(handle)),
            memory_clock_hz=optional("memory clock", lambda: _clock_hz(handle, pynvml.NVML_CLOCK_MEM)),
            throttle_reasons=optional("throttle reasons", lambda: _throttle_reasons(handle)) or (),
            ecc_enabled=None if ecc is None else bool(ecc),
            # A card without ECC has no counter to be missed.
            ecc_uncorrected_errors=optional("ECC errors", lambda: _uncorrected(handle)) if ecc else None,
            recovery=_RECOVERY.get(recovery) if recovery else None,
            xid=heard.fatal or heard.last,
            xid_errors=heard.count,
            mig_enabled=None if mig is None else bool(mig),
            own_memory_bytes=own_bytes,
            other_processes=others,
            driver_version=driver.version,
            cuda_version=driver.cuda,
            missing=tuple(missing),
        )


def probe(ours: Callable[[int], bool] | None = None) -> GpuReport:
    """Read every GPU once in a session of its own. It may hang: see ``node.gpu.watch``."""
    session = NvmlSession(ours)
    try:
        return session.read()
    finally:
        session.close()


def _processes(
    handle: Any, ours: Callable[[int], bool], missing: list[str]
) -> tuple[int | None, tuple[GpuProcess, ...]]:
    """Return what this node's processes hold, and everybody else's processes."""
    computing = _optional(
        "processes", lambda: pynvml.nvmlDeviceGetComputeRunningProcesses_v3(handle), missing
    )
    drawing = _optional(
        "drawing processes", lambda: pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3(handle), missing
    )
    held: dict[int, tuple[int | None, bool]] = {}
    for found, computes in ((drawing, False), (computing, True)):
        for process in found or ():
            size = process.usedGpuMemory
            held[int(process.pid)] = (None if size is None else int(size), computes)
    own = {pid for pid in held if ours(pid)}
    own_sizes = [held[pid][0] for pid in own]
    hidden = computing is None or None in own_sizes
    others = [
        GpuProcess(pid, size, process_name(pid), computes)
        for pid, (size, computes) in sorted(held.items())
        if pid not in own
    ]
    return None if hidden else sum(size or 0 for size in own_sizes), tuple(others[:MAX_PROCESSES])


def _temperature_c(handle: Any) -> int:
    try:
        return int(pynvml.nvmlDeviceGetTemperatureV(handle, pynvml.NVML_TEMPERATURE_GPU))
    except pynvml.NVMLError_FunctionNotFound:
        # Drivers before 560 know only the older call.
        return int(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))


def _slowdown_c(handle: Any) -> int:
    return int(pynvml.nvmlDeviceGetTemperatureThreshold(handle, pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN))


def _throttle_reasons(handle: Any) -> tuple[str, ...]:
    try:
        reasons = pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle)
    except pynvml.NVMLError_FunctionNotFound:
        # The name before driver 535.
        reasons = pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
    return tuple(words for bit, words in _THROTTLE.items() if reasons & bit)


def _uncorrected(handle: Any) -> int:
    return int(pynvml.nvmlDeviceGetTotalEccErrors(handle, _UNCORRECTED, _SINCE_LOADED))


def _recovery(handle: Any) -> int:
    value = pynvml.nvmlDeviceGetFieldValues(handle, [pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION])[0]
    if value.nvmlReturn != pynvml.NVML_SUCCESS:
        raise pynvml.NVMLError(value.nvmlReturn)
    return int(value.value.uiVal)


def _clock_hz(handle: Any, clock: int) -> int:
    return int(pynvml.nvmlDeviceGetClockInfo(handle, clock)) * _HERTZ_PER_MHZ


def _highest_clock_hz(handle: Any) -> int:
    return int(pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_SM)) * _HERTZ_PER_MHZ


def _optional(reading: str, read: Callable[[], T], missing: list[str]) -> T | None:
    """Return a reading, or None with its cause noted; a lost GPU is not a missing reading and goes up."""
    try:
        return read()
    except pynvml.NVMLError as error:
        # str(error) would call nvmlErrorString in a library that may be the thing that is broken.
        if error.value in _GONE:
            raise
        missing.append(f"{reading}: {faults.fault(error.value).words}")
        return None


def _unreadable(error: Exception) -> Fault:
    return Fault(FaultKind.OTHER, f"the NVIDIA driver's answer cannot be read ({error}): update the driver")


def _cuda_text(version: int | None) -> str | None:
    return None if version is None else f"{version // 1000}.{version % 1000 // 10}"

"""NVML's return codes as faults in words, each with its remedy. The numbers are those of nvml.h."""

from dataclasses import replace
from typing import Final

from node.gpu.readings import Fault, FaultKind

NOT_SUPPORTED: Final = 3
TIMEOUT: Final = 10
LOST: Final = 15
RESET_REQUIRED: Final = 16

_FAULTS: Final[dict[int, Fault]] = {
    NOT_SUPPORTED: Fault(FaultKind.OTHER, "this GPU or its mode (MIG, vGPU) does not offer the query"),
    4: Fault(
        FaultKind.NO_PERMISSION,
        "no permission to use the GPU: give this user access to /dev/nvidia* "
        "(group `video` on many systems, DeviceAllow= in a systemd unit)",
    ),
    9: Fault(
        FaultKind.NOT_LOADED,
        "the NVIDIA driver is installed but not loaded: run `nvidia-smi`, then reboot or `modprobe nvidia`",
    ),
    12: Fault(
        FaultKind.NO_DRIVER,
        "no NVIDIA driver on this machine (libnvidia-ml.so.1 was not found): install the driver, "
        "or start the container with GPU access (NVIDIA_DRIVER_CAPABILITIES=compute,utility)",
    ),
    13: Fault(FaultKind.TOO_OLD, "the NVIDIA driver is too old for this query: update the driver"),
    LOST: Fault(FaultKind.LOST, "the GPU fell off the bus: reboot the machine, then check power and riser"),
    RESET_REQUIRED: Fault(
        FaultKind.RESET_REQUIRED,
        "the GPU must be reset: stop its programs (this node too) and run `nvidia-smi -r`",
    ),
    18: Fault(
        FaultKind.MISMATCH,
        "the NVIDIA driver was updated while it was loaded (library and kernel module differ): "
        "reboot the machine",
    ),
}


def fault(code: int, gpu: str | None = None) -> Fault:
    """Return what a return code means of the driver, or of the GPU that is named."""
    known = _FAULTS.get(code)
    if known is None:
        words = f"NVML answered with error {code}: run `nvidia-smi` and look at `dmesg`"
        return Fault(FaultKind.OTHER, words, gpu)
    return replace(known, gpu=gpu)


NO_GPU: Final = Fault(
    FaultKind.NO_GPU,
    "the NVIDIA driver works but sees no GPU: check `lspci`, the container's GPU access",
)


def hung(seconds: float) -> Fault:
    """Return what is told while a call into the driver does not come back."""
    return Fault(
        FaultKind.HUNG,
        f"the NVIDIA driver has not answered for {seconds:.0f} s: look at `dmesg`; a driver that hangs is "
        "mended by a reboot only",
    )

"""Device memory as a condition, never as a choice: what a job needs is stated before it starts.

With little memory left, cuDNN and the allocator would take other kernels than in the determinism class, so a
job is refused instead (docs, performance 3.4). What runs out all the same ends the job with a typed error;
nothing is ever computed in another way, in smaller pieces or on another device.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from node.errors import Fatal, OutOfMemory
from node.pipeline.profiles import Profile

# torch has types for the first of these alone; cuBLAS, cuDNN and the CPU's allocator say it in words.
_OUT_OF_MEMORY = (
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
)
_ASKED_BYTES = re.compile(r"allocate (\d+) bytes")
_ASKED_UNITS = re.compile(r"Tried to allocate ([0-9.]+) (KiB|MiB|GiB)")
_UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def require_device(profile: Profile) -> None:
    """Raise Fatal if the profile computes on a card and torch sees none."""
    if profile.device == "cuda" and not torch.cuda.is_available():
        raise Fatal(f"profile {profile.name} needs a CUDA device and torch {torch.__version__} sees none")


def require(profile: Profile) -> None:
    """Make sure that the device has what a job of ``profile`` needs. Call it before a job starts.

    What this process holds already, models and cached blocks, counts as free: the need includes them.

    Raises OutOfMemory with the need and what is free.
    """
    needed = round(profile.memory_gb * 1e9)
    if needed == 0:
        return
    free = free_bytes(profile.device)
    if free < needed:
        raise OutOfMemory(
            f"profile {profile.name} does not start on this device", needed_bytes=needed, free_bytes=free
        )


def free_bytes(device: str) -> int:
    """Return what this process may use of a device: what nobody holds and what it holds itself."""
    if device == "cuda":
        free, _ = torch.cuda.mem_get_info()
        return int(free) + torch.cuda.memory_reserved()
    free = _proc_bytes(Path("/proc/meminfo"), "MemAvailable")
    return free + _proc_bytes(Path("/proc/self/status"), "VmRSS")


@contextmanager
def stage(name: str, profile: Profile) -> Iterator[None]:
    """Turn running out of memory inside into OutOfMemory that names the stage, the need and what is free.

    The need is that of the whole profile where it states one, else that of the allocation that failed.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        asked = _asked_bytes(str(error))
        needed = round(profile.memory_gb * 1e9) or asked
        what = f"stage {name!r} of profile {profile.name} ran out of memory"
        if asked is not None:
            what += f" when it asked for {asked / 1e9:.2f} GB"
        free = free_bytes(profile.device)
        raise OutOfMemory(what, needed_bytes=needed, free_bytes=free, stage=name) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of torch or Python means that memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


def _asked_bytes(text: str) -> int | None:
    if plain := _ASKED_BYTES.search(text):
        return int(plain[1])
    if rounded := _ASKED_UNITS.search(text):
        return round(float(rounded[1]) * _UNITS[rounded[2]])
    return None


def _proc_bytes(path: Path, key: str) -> int:
    """Return a figure of the kernel's tables, which are in KiB."""
    for line in path.read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(":")
        if name == key:
            return int(rest.split()[0]) * 1024
    raise OSError(f"{path} has no line {key}")

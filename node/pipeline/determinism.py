"""Everything that makes bits repeatable, and the name of what they repeat within: the determinism class.

Same job and same class mean the same bytes. The class names no host, no clock rate and not where models wait
between stages; it changes whenever a weight, a library, the kind of processor or a switch changes. Which
switches, and why these: docs, performance 3.2 to 3.4. Seeds are in ``noise``: every number of a job comes
from generators of its own, none from the global ones.
"""

import ctypes
import hashlib
import os
import platform
import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from PIL import features

from node.errors import Fatal
from node.job.manifest import digest
from node.pipeline import processor
from node.pipeline.acceleration import decoder, unets, vae_attention
from node.pipeline.environment import objections
from node.pipeline.profiles import PIPELINE_VERSION, Profile
from node.pipeline.threads import flushes_denormals
from node.pipeline.weights.records import recorded_hashes

_LIBRARIES = ("torch", "diffusers", "transformers", "tokenizers", "safetensors", "av", "pillow", "numpy")
_FP32_USERS = tuple(
    (backend, operation) for backend in ("cuda", "mkldnn") for operation in ("matmul", "conv", "rnn")
)
_HOPPER = (9, 0)
# In the numbering of torch's own list of priorities.
_ATTENTION_BACKENDS = {"math": 0, "flash": 1, "mem_efficient": 2, "cudnn": 3}


@dataclass(frozen=True, slots=True)
class _Switch:
    read: Callable[[], object]
    write: Callable[[Any], object]


def _attribute(owner: Any, name: str) -> _Switch:
    return _Switch(lambda: getattr(owner, name), lambda value: setattr(owner, name, value))


def _read(switch: _Switch) -> object:
    try:
        return switch.read()
    except RuntimeError as error:
        # torch refuses to tell a switch that an older and a newer name have set to different values.
        return f"in contradiction ({error})"


def _read_attention() -> str:
    order = torch._C._get_sdp_priority_order()  # noqa: SLF001, the public form is a context, not a setting
    named = sorted(_ATTENTION_BACKENDS, key=lambda name: order.index(_ATTENTION_BACKENDS[name]))
    return " ".join(name for name in named if getattr(torch.backends.cuda, f"{name}_sdp_enabled")())


def _write_attention(backends: str) -> None:
    wanted = backends.split()
    for name in _ATTENTION_BACKENDS:
        getattr(torch.backends.cuda, f"enable_{name}_sdp")(name in wanted)
    order = [_ATTENTION_BACKENDS[name] for name in wanted]
    order += [number for number in torch._C._get_sdp_priority_order() if number not in order]  # noqa: SLF001
    torch._C._set_sdp_priority_order(order)  # noqa: SLF001


def _fp32_precision(backend: str, operation: str) -> _Switch:
    return _Switch(
        lambda: torch._C._get_fp32_precision_getter(backend, operation),  # noqa: SLF001
        lambda value: torch._C._set_fp32_precision_setter(backend, operation, value),  # noqa: SLF001
    )


def _write_flush_denormal(on: bool) -> None:  # noqa: FBT001, a switch's one value
    torch.set_flush_denormal(on)


def _read_algorithms() -> str:
    if not torch.are_deterministic_algorithms_enabled():
        return "any"
    only_warn = torch.is_deterministic_algorithms_warn_only_enabled()
    return "deterministic, warn" if only_warn else "deterministic, raise"


def _write_algorithms(_: str) -> None:
    # Raising would also refuse cuDNN's attention, whose backward pass alone varies (docs, performance 3.2).
    torch.use_deterministic_algorithms(mode=True, warn_only=True)


def _read_inductor() -> bool:
    import torch._inductor.config as inductor

    return bool(inductor.deterministic)


def _write_inductor(on: bool) -> None:  # noqa: FBT001, a switch's one value
    import torch._inductor.config as inductor

    inductor.deterministic = on


def _write_interop_threads(threads: int) -> None:
    # The second call of a process raises, whatever the number.
    if torch.get_num_interop_threads() != threads:
        torch.set_num_interop_threads(threads)


_MATMUL = torch.backends.cuda.matmul
_SWITCHES: Mapping[str, _Switch] = {
    "threads": _Switch(torch.get_num_threads, torch.set_num_threads),
    "interop threads": _Switch(torch.get_num_interop_threads, _write_interop_threads),
    "algorithms": _Switch(_read_algorithms, _write_algorithms),
    "inductor deterministic": _Switch(_read_inductor, _write_inductor),
    # Filling every torch.empty costs a tenth of the time and no kernel in use reads what it did not write.
    "fill uninitialized memory": _attribute(torch.utils.deterministic, "fill_uninitialized_memory"),
    "flush denormals": _Switch(flushes_denormals, _write_flush_denormal),
    "default type": _Switch(
        lambda: str(torch.get_default_dtype()), lambda _: torch.set_default_dtype(torch.float32)
    ),
    "cudnn": _attribute(torch.backends.cudnn, "enabled"),
    "cudnn benchmark": _attribute(torch.backends.cudnn, "benchmark"),
    "cudnn deterministic": _attribute(torch.backends.cudnn, "deterministic"),
    "mkldnn": _attribute(torch.backends.mkldnn, "enabled"),
    # The older two names come first: written later they would undo the newer ones, and left alone they
    # contradict them, which torch answers with an error wherever the older ones are read.
    "matmul precision": _Switch(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "cudnn tf32": _attribute(torch.backends.cudnn, "allow_tf32"),
    **{f"fp32 {backend} {use}": _fp32_precision(backend, use) for backend, use in _FP32_USERS},
    "fp16 accumulation": _attribute(_MATMUL, "allow_fp16_accumulation"),
    "fp16 reduced reduction": _attribute(_MATMUL, "allow_fp16_reduced_precision_reduction"),
    "bf16 reduced reduction": _attribute(_MATMUL, "allow_bf16_reduced_precision_reduction"),
    "reduced reduction in plain attention": _Switch(
        torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed,
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp,
    ),
    "attention": _Switch(_read_attention, _write_attention),
}


_OF_THREADS = ("threads", "flush denormals", "inductor deterministic")
"""Switches that each thread has for itself, with the process's defaults until it sets them."""
_thread = threading.local()


def configure(profile: Profile) -> None:
    """Set torch's switches for the whole process. Call it before the first model is loaded.

    Raises Fatal if the process environment speaks against it or a switch cannot be set.
    """
    against = objections(os.environ, profile.device)
    if against:
        raise Fatal(f"the environment of this process would change results: {'; '.join(against)}")
    for name, value in _wanted(profile).items():
        try:
            _SWITCHES[name].write(value)
        except RuntimeError as error:
            raise Fatal(
                f"torch's switch {name!r} cannot be set to {value} in this process: {error}"
            ) from error
    check(profile)


def in_force() -> dict[str, object]:
    """Return the value every switch has now, as the calling thread sees it."""
    return {name: _read(switch) for name, switch in _SWITCHES.items()}


def check(profile: Profile) -> None:
    """Make sure that every switch still is as configured. Call it in the thread of a job before each job.

    A thread that calls it for the first time is given those switches that threads have for themselves.
    Raises Fatal naming the switches that something else has changed since.
    """
    if getattr(_thread, "configured_for", None) != profile:
        for name in _OF_THREADS:
            _SWITCHES[name].write(_wanted(profile)[name])
        _thread.configured_for = profile
    now = in_force()
    changed = [
        f"{name} is {now[name]}, not {value}"
        for name, value in _wanted(profile).items()
        if now[name] != value
    ]
    if changed:
        raise Fatal(
            "switches that results depend on were changed in this process, by a library or by hand: "
            f"{'; '.join(changed)}; start the worker again, and remove what changes them"
        )


def weights_hashes(directory: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a profile's models by its relative path.

    Those recorded when the files were written, where there is a record and no file has changed since; else
    all files are read. Raises Fatal, naming the file, if one is not as it was recorded.
    """
    recorded = recorded_hashes(directory)
    return read_hashes(directory) if recorded is None else recorded


def read_hashes(directory: Path) -> dict[str, str]:
    """Return the same as ``weights_hashes`` from the files themselves, all of them read."""
    paths = sorted(path for path in directory.rglob("*") if path.is_file() and path.parent != directory)
    hashes = {}
    for path in paths:
        with path.open("rb") as weights:
            sha256 = hashlib.file_digest(weights, "sha256").hexdigest()
        hashes[path.relative_to(directory).as_posix()] = sha256
    return hashes


def class_parts(profile: Profile, weights: dict[str, str]) -> dict[str, str]:
    """Return what the class is made of, in words that people can compare between two machines."""
    import av

    parts = {
        "pipeline": PIPELINE_VERSION,
        "profile": profile.name,
        "sizes": (
            f"still {profile.still_size}, clip {profile.clip_width}x{profile.clip_height}, "
            f"{profile.frames} frames"
        ),
        "weights": digest(weights),
        "precision": profile.precision,
        "vae_precision": profile.vae_precision,
        "kernels": profile.kernels,
        "rewrites": f"{unets.REWRITES}; {decoder.REWRITES}; {vae_attention.REWRITES}",
        "switches": "; ".join(f"{name}: {value}" for name, value in _wanted(profile).items()),
        **_device_parts(profile),
        **{name: version(name) for name in _LIBRARIES},
        "pillow_webp": _built_in("webp"),
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
        "ffmpeg": digest({name: list(number) for name, number in av.library_versions.items()}),
    }
    return dict(sorted(parts.items()))


def _wanted(profile: Profile) -> dict[str, object]:
    return {
        "threads": profile.threads,
        "interop threads": 1,
        "algorithms": "deterministic, warn",
        "inductor deterministic": True,
        "fill uninitialized memory": False,
        "flush denormals": False,
        "default type": "torch.float32",
        "cudnn": True,
        "cudnn benchmark": False,
        "cudnn deterministic": True,
        "mkldnn": True,
        "matmul precision": "highest",
        "cudnn tf32": False,
        **{f"fp32 {backend} {use}": "ieee" for backend, use in _FP32_USERS},
        "fp16 accumulation": False,
        "fp16 reduced reduction": False,
        "bf16 reduced reduction": False,
        "reduced reduction in plain attention": False,
        "attention": _attention(profile),
    }


def _attention(profile: Profile) -> str:
    """Return the attention kernels allowed, the preferred one first.

    Never the memory-efficient one, whose sums differ between runs. The plain one serves the encoders alone:
    they compute in float32, which no fused kernel takes, over a few hundred tokens.
    """
    if profile.device == "cuda" and torch.cuda.get_device_capability(0) >= _HOPPER:
        return "cudnn flash math"
    return "flash math"


def _device_parts(profile: Profile) -> dict[str, str]:
    if profile.device == "cuda":
        card = torch.cuda.get_device_properties(0)
        return {
            "device": card.name,
            "compute_capability": f"{card.major}.{card.minor}",
            "multiprocessors": str(card.multi_processor_count),
            "cuda": str(torch.version.cuda),
            "cublas": _cublas_version(),
            "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
            "triton": _installed("triton"),
            # Noise and schedules are made here, and vector instructions show in their last digit.
            "host": f"{platform.machine()} {processor.vendor()} {torch.backends.cpu.get_cpu_capability()}",
        }
    return {
        # The processor's vendor and caches decide how the kernels sum.
        "device": f"{platform.machine()} {processor.model()}",
        "compute_capability": torch.backends.cpu.get_cpu_capability(),
    }


def _cublas_version() -> str:
    """Return the version of the cuBLAS that torch has loaded. Raises Fatal if it does not say."""
    library = f"libcublas.so.{str(torch.version.cuda).partition('.')[0]}"
    numbers = []
    try:
        tell = ctypes.CDLL(library).cublasGetProperty
    except (OSError, AttributeError) as error:
        raise Fatal(f"the version of cuBLAS cannot be read from {library}: {error}") from error
    for kind in range(3):  # major, minor, patch level
        number = ctypes.c_int()
        if tell(kind, ctypes.byref(number)) != 0:
            raise Fatal(f"{library} does not tell its version")
        numbers.append(str(number.value))
    return ".".join(numbers)


def _installed(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "none"


def _built_in(feature: str) -> str:
    return str(features.version(feature))

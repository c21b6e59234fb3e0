"""Everything that makes bits repeatable, and the name of what they repeat within: the determinism class.

Same job and same class mean the same bytes. The class names no host; it changes whenever a weight, a
library, the kind of processor or a switch changes.
"""

import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path

import av
import torch
from PIL import features

from node.pipeline.profiles import PIPELINE_VERSION, Profile

_KERNELS = (
    "eager, deterministic algorithms, no tf32, no reduced-precision reduction, sdpa flash+efficient+math"
)
_LIBRARIES = ("torch", "diffusers", "transformers", "tokenizers", "safetensors", "av", "pillow", "numpy")
_CLASS_DIGITS = 16


def configure(profile: Profile) -> None:
    """Set torch's switches for the whole process. Call it before the first model is loaded."""
    torch.set_num_threads(profile.threads)
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    # Filling every torch.empty costs a tenth of the time and no kernel in use reads what it did not write.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cuda.matmul.allow_fp16_accumulation = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.enable_cudnn_sdp(enabled=False)
    torch.backends.cuda.enable_flash_sdp(enabled=True)
    torch.backends.cuda.enable_mem_efficient_sdp(enabled=True)
    torch.backends.cuda.enable_math_sdp(enabled=True)


def weights_hashes(directory: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a profile's models by its relative path."""
    paths = sorted(path for path in directory.rglob("*") if path.is_file() and path.parent != directory)
    hashes = {}
    for path in paths:
        with path.open("rb") as weights:
            hashes[path.relative_to(directory).as_posix()] = hashlib.file_digest(
                weights, "sha256"
            ).hexdigest()
    return hashes


def class_parts(profile: Profile, weights: dict[str, str]) -> dict[str, str]:
    """Return what the class is made of, in words that people can compare between two machines."""
    parts = {
        "pipeline": PIPELINE_VERSION,
        "profile": profile.name,
        "weights": digest(weights),
        "precision": profile.precision,
        "threads": str(torch.get_num_threads()),
        "kernels": _KERNELS,
        **_device_parts(profile),
        **{name: version(name) for name in _LIBRARIES},
        **{f"pillow_{name}": _built_in(name) for name in ("webp", "zlib")},
        "ffmpeg": digest({name: list(number) for name, number in av.library_versions.items()}),
    }
    return dict(sorted(parts.items()))


def class_name(parts: dict[str, str]) -> str:
    """Return the short name of a class."""
    return digest(parts)[:_CLASS_DIGITS]


def digest(document: object) -> str:
    """Return the SHA-256 of a document's canonical JSON."""
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _device_parts(profile: Profile) -> dict[str, str]:
    if profile.device == "cuda":
        card = torch.cuda.get_device_properties(0)
        return {
            "device": card.name,
            "compute_capability": f"{card.major}.{card.minor}",
            "multiprocessors": str(card.multi_processor_count),
            "cuda": str(torch.version.cuda),
            "cudnn": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]
        }
    return {
        "device": f"{platform.machine()} {_processor()}",
        "compute_capability": torch.backends.cpu.get_cpu_capability(),
    }


def _built_in(feature: str) -> str:
    return str(features.version(feature))


def _processor() -> str:
    """Return the processor's model: its vendor and caches decide how the kernels sum."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"

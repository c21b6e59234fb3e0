"""The process environment in which the pipeline's bits are made. Imports nothing heavy.

These variables are read when torch, cuBLAS or the tokenizer library initialise, so whoever starts the
process sets them; the switches that can be set later are in ``determinism``.
"""

from collections.abc import Mapping
from types import MappingProxyType

ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        # 16 KiB workspaces are deterministic too, but forbid the fast kernels of recent cards.
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "NVIDIA_TF32_OVERRIDE": "0",
        "TORCHINDUCTOR_DETERMINISTIC": "1",
        "PYTORCH_ALLOC_CONF": "expandable_segments:True",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        # A library that lowers its thread count under load sums in another order.
        "OMP_DYNAMIC": "FALSE",
        "MKL_DYNAMIC": "FALSE",
        "PYTHONHASHSEED": "0",
        "TOKENIZERS_PARALLELISM": "false",
        # Weights come from a directory that was verified; nothing here may ask a hub.
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
)

_NEEDED_ON_CUDA = ("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "PYTORCH_ALLOC_CONF")
_CHOOSE_KERNELS = (
    "ATEN_CPU_CAPABILITY",
    "CUBLAS",
    "CUDNN_",
    "DISABLE_ADDMM_CUDA_LT",
    "DNNL_",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "NVIDIA_TF32_",
    "ONEDNN_",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_TUNABLEOP_",
    "TORCHINDUCTOR_",
    "TORCH_ALLOW_TF32",
    "TORCH_BLAS_PREFER",
    "TORCH_CUDNN_",
    "TORCH_LINALG_PREFER",
)
_HARMLESS = ("TORCHINDUCTOR_CACHE_DIR",)


def objections(environment: Mapping[str, str], device: str) -> list[str]:
    """Return what in a process environment would let another process make other bits, a sentence each.

    That is every variable that chooses kernels with another value than that of ``ENVIRONMENT``, and for the
    device "cuda" also those that are missing.
    """
    found = []
    for name, text in sorted(environment.items()):
        wanted = ENVIRONMENT.get(name)
        if name in _HARMLESS or not name.startswith(_CHOOSE_KERNELS) or text == wanted:
            continue
        found.append(f"{name} must be {'unset' if wanted is None else repr(wanted)}, not {text!r}")
    if device == "cuda":
        found += [
            f"{name} must be {ENVIRONMENT[name]!r}, and is unset"
            for name in _NEEDED_ON_CUDA
            if name not in environment
        ]
    return found

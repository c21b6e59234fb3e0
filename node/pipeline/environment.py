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
        "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "PYTHONHASHSEED": "0",
        "TOKENIZERS_PARALLELISM": "false",
        # Weights come from a directory that was verified; nothing here may ask a hub.
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
)

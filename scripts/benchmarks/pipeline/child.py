"""One leg in its own process: sets the switches, runs the leg, writes its figures where it was told to."""

import importlib
import json
import os
import platform
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from scripts.benchmarks.pipeline.networks import SCALES, Scale
from scripts.benchmarks.pipeline.options import LEGS

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Request:
    """What a leg is asked for."""

    leg: str
    device: torch.device
    scale: Scale
    dtype: torch.dtype
    contenders: tuple[str, ...]
    rewrites: tuple[str, ...] | None
    steps: int
    rounds: int
    job_steps: int
    cache: Path
    document: dict[str, Any]

    @property
    def part(self) -> str | None:
        """Which contender or variation this process is, where a leg needs one process for each."""
        return self.document.get("part")

    @property
    def cuda(self) -> bool:
        """Whether there is a GPU to measure."""
        return self.device.type == "cuda"

    @property
    def kernels(self) -> str:
        """How our networks run: as a profile of this device would have them."""
        return "compiled" if self.cuda or self.document["compile_on_cpu"] else "eager"

    def wants(self, contender: str) -> bool:
        """Tell whether a contender takes part; compiling on a CPU has to be asked for."""
        if contender == "compiled" and not (self.cuda or self.document["compile_on_cpu"]):
            return False
        return contender in self.contenders


def read_request(document: dict[str, Any]) -> Request:
    """Return the request that ``__main__`` or another leg wrote."""
    rewrites = document["rewrites"]
    return Request(
        leg=document["leg"],
        device=torch.device(document["device"]),
        scale=SCALES[document["scale"]],
        dtype=_DTYPES[document["dtype"]],
        contenders=tuple(document["contenders"]),
        rewrites=None if rewrites is None else tuple(rewrites),
        steps=document["steps"],
        rounds=document["rounds"],
        job_steps=document["job_steps"],
        cache=Path(document["cache"]),
        document=document,
    )


def machine(device: torch.device) -> dict[str, Any]:
    """Return what the figures were measured on."""
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "diffusers": _version("diffusers"),
        "transformers": _version("transformers"),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processor": platform.machine(),
    }
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        found |= {
            "gpu": card.name,
            "multiprocessors": card.multi_processor_count,
            "memory_gb": round(card.total_memory / 1e9, 1),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    return found


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return str(getattr(importlib.import_module(package), "__version__", "unknown"))


def main() -> int:
    """Run the leg of ``argv[1]``, a JSON document."""
    document = json.loads(sys.argv[1])
    request = read_request(document)
    module = importlib.import_module(f"scripts.benchmarks.pipeline.{LEGS[request.leg].module}")
    answer = Path(document["answer"])
    figures: dict[str, Any] = {"machine": {}}

    def keep(found: dict[str, Any]) -> None:
        """Write what is known so far, so that a leg that is cut off leaves its first half."""
        figures.update(found)
        answer.write_text(json.dumps(figures))

    try:
        from scripts.benchmarks.pipeline.switches import configure

        configure(request.scale, request.device, request.dtype, request.kernels)
        figures["machine"] = machine(request.device)
        with torch.inference_mode():
            keep(module.run(request, keep))
    except Exception as error:  # noqa: BLE001 - a leg's failure is a figure too, the others go on
        traceback.print_exc()
        keep({"error": f"{type(error).__name__}: {str(error)[:300]}"})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

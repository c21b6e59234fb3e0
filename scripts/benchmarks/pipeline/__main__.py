"""``scripts/bench pipeline``: starts one process per leg, collects their figures, writes the report.

Imports no torch, so that every leg starts from a fresh process with the pipeline's own environment.
"""

import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from node import __version__
from scripts.benchmarks.pipeline.options import CPU_LEGS, CUDA_LEGS, LEGS, parser
from scripts.benchmarks.pipeline.processes import run_leg
from scripts.benchmarks.pipeline.report import report

_LEAST_S = 20.0
_REQUESTED = ("contenders", "rewrites", "steps", "rounds", "job_steps", "compile_on_cpu")


def _device(asked: str) -> str:
    """Return "cuda" or "cpu"; asks torch in a process of its own."""
    if asked != "auto":
        return asked
    question = "import torch, sys; sys.exit(not torch.cuda.is_available())"
    return "cpu" if subprocess.run([sys.executable, "-c", question], check=False).returncode else "cuda"


def _merged(paths: list[Path]) -> dict[str, Any]:
    """Return one document of several; of a leg that is in more than one, the last one counts."""
    whole: dict[str, Any] = {}
    for path in paths:
        for device, legs in json.loads(path.read_text()).items():
            whole.setdefault(device, {}).update(legs)
    return whole


def main() -> int:
    """Run what was asked for and write ``pipeline.json`` and ``pipeline.md``; return 1 if a leg failed."""
    options = parser().parse_args()
    figures = _merged(options.merge)
    options.out.mkdir(parents=True, exist_ok=True)

    def write() -> None:
        (options.out / "pipeline.json").write_text(json.dumps(figures, indent=2) + "\n")
        (options.out / "pipeline.md").write_text(report(figures))

    if options.report_only:
        write()
        return 0
    device = _device(options.device)
    legs = options.legs or (CUDA_LEGS if device == "cuda" else CPU_LEGS)
    scale = options.scale or ("full" if device == "cuda" else "tiny")
    request = {name: getattr(options, name) for name in _REQUESTED} | {
        "device": device,
        "scale": scale,
        "dtype": options.dtype if device == "cuda" else "float32",
    }
    deadline = time.monotonic() + options.budget_s
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        cache = options.cache or Path(scratch)
        for leg in legs:
            left = deadline - time.monotonic()
            if left < _LEAST_S:
                print(f"{leg}: not run, the {options.budget_s:.0f} s of this command are used up", flush=True)
                failed = True
                continue
            print(f"{leg}: {LEGS[leg].says} ({device}, {scale} size)", flush=True)
            found = run_leg(request | {"leg": leg, "cache": str(cache)}, cache, left)
            found |= {"scale": scale, "version": __version__, "date": f"{datetime.now(UTC):%Y-%m-%d}"}
            figures.setdefault(device, {})[leg] = found
            failed |= "error" in found
            print(json.dumps(found), flush=True)
            # After every leg, so that a command that is cut off leaves what it has.
            write()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

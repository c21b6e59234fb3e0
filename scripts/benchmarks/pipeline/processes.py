"""Processes of the benchmark: one leg, or one contender of a leg, each with the pipeline's environment.

Imports no torch.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from node.pipeline.environment import ENVIRONMENT

ROOT = Path(__file__).resolve().parents[3]


def environment(cache: Path) -> dict[str, str]:
    """Return the environment of a process whose compilers keep what they make in ``cache``."""
    kept = {
        name: text for name, text in os.environ.items() if not name.startswith(("TORCHINDUCTOR", "TRITON"))
    }
    places = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {
        "PYTHONPATH": os.pathsep.join(places),
        "PYTHONUNBUFFERED": "1",
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        "TRITON_CACHE_DIR": str(cache / "triton"),
    }
    return kept | dict(ENVIRONMENT) | own


def run_leg(document: Mapping[str, Any], cache: Path, limit_s: float | None = None) -> dict[str, Any]:
    """Run what ``document`` asks for in a fresh process; return its figures, or an ``error`` saying why not.

    ``process_s`` is the wall-clock time from its start to its end, imports included.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "figures.json"
        text = json.dumps({**document, "answer": str(answer)})
        command = [sys.executable, "-m", "scripts.benchmarks.pipeline.child", text]
        began = time.monotonic()
        child = subprocess.Popen(command, cwd=ROOT, env=environment(cache), process_group=0)
        try:
            code: int | None = child.wait(timeout=limit_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(child)
        found: dict[str, Any] = json.loads(answer.read_text()) if answer.exists() else {}
        found["process_s"] = round(time.monotonic() - began, 2)
        if code is None:
            found["error"] = f"stopped after {limit_s:.0f} s"
        elif code and "error" not in found:
            found["error"] = f"ended with exit code {code}"
        return found


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a child that still runs, with the children of its own that are in its group."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()

"""Converting published weights into ours, in a process of its own: the only part of pulling that needs torch.

Entry: ``python -m node.pipeline.weights.convert`` with a plan (JSON, made by ``conversion``) on standard
input. It writes one folder per network, one tensor at a time, and tells on standard output, a JSON object per
line, ``begin`` and ``total``, ``advance``, or in the end ``error``.
"""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from node.errors import NodeError
from node.pipeline.weights.canonical import write_tensors
from node.pipeline.weights.layout import CONFIG, WEIGHTS, stored_dtype

if TYPE_CHECKING:
    import torch

    from node.pipeline.checkpoints.component import Component

_TOLD_BYTES = 32 << 20
_LINES = sys.stdout


def main() -> int:
    """Convert what standard input asks for; return the exit code."""
    # What a library prints is not for whoever reads our lines.
    sys.stdout = sys.stderr
    try:
        plan = json.loads(sys.stdin.read())
        for group in plan["groups"]:
            _convert_group(Path(plan["target"]), group, plan["precision"], plan["vae_precision"])
    except (NodeError, ValueError) as error:
        _tell({"error": str(error)})
        return 1
    except OSError as error:
        _tell({"error": f"{error.filename or 'the disk'}: {error.strerror}"})
        return 1
    return 0


def _convert_group(target: Path, group: dict[str, Any], precision: str, vae_precision: str) -> None:
    """Convert the networks of one source: ``configs`` by path, and ``single_file`` or ``directory``."""
    from node.pipeline.checkpoints.layout import open_component
    from node.pipeline.checkpoints.single_file import open_single_file

    configs: dict[str, dict[str, Any]] = group["configs"]

    def kind_of(path: str) -> Callable[[str], str]:
        return lambda name: stored_dtype(path, name, precision=precision, vae_precision=vae_precision)

    if group.get("single_file"):
        with open_single_file(Path(group["single_file"]), configs) as checkpoint:
            for path, config in configs.items():
                _convert(target / path, config, checkpoint.component(path), kind_of(path))
        return
    for path, config in configs.items():
        with open_component(Path(group["directory"]) / path, path, config) as component:
            _convert(target / path, config, component, kind_of(path))


def _convert(
    folder: Path, config: dict[str, Any], component: "Component", kind: Callable[[str], str]
) -> None:
    import torch

    def dtype(name: str) -> torch.dtype:
        return cast("torch.dtype", getattr(torch, kind(name)))

    folder.mkdir(parents=True)
    sizes = (dtype(name).itemsize * math.prod(shape) for name, shape in component.shapes.items())
    _tell({"begin": component.path, "total": sum(sizes)})
    write_tensors(folder / WEIGHTS, component.shapes, kind, component.tensors(dtype), _counter())
    # Ours, not the source's: it has the same keys in the same order whatever published it.
    (folder / CONFIG).write_text(f"{json.dumps(config, indent=1, sort_keys=True)}\n", encoding="utf-8")


def _counter() -> Callable[[int], None]:
    waiting = 0

    def count(size: int) -> None:
        nonlocal waiting
        waiting += size
        if waiting >= _TOLD_BYTES:
            _tell({"advance": waiting})
            waiting = 0

    return count


def _tell(message: dict[str, Any]) -> None:
    _LINES.write(f"{json.dumps(message)}\n")
    _LINES.flush()


if __name__ == "__main__":
    sys.exit(main())

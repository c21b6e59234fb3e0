"""The one way tensors are written here: equal tensors give equal bytes, whatever they were read from.

The format is safetensors (https://github.com/huggingface/safetensors#format): 8 bytes of header length, a
JSON header, the tensors without gaps. Ours has no metadata; wider numbers come first, so that every tensor
begins at a multiple of its own width, then names in order. Tensors are written one at a time.
"""

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_TAGS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
_WIDTHS = {"float32": 4, "float16": 2, "bfloat16": 2}
_ALIGNMENT = 8


def write_tensors(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    dtype: Callable[[str], str],
    tensors: Iterable[tuple[str, "torch.Tensor"]],
    on_bytes: Callable[[int], None] = lambda _count: None,
) -> None:
    """Write tensors of the given shapes and kinds of numbers; they may come in any order, each exactly once.

    Raises ValueError for a tensor that is missing, repeated, unknown or of another shape or kind; OSError.
    """
    kinds = {name: dtype(name) for name in shapes}
    order = sorted(shapes, key=lambda name: (-_WIDTHS[kinds[name]], name))
    header: dict[str, object] = {}
    offsets: dict[str, tuple[int, int]] = {}
    end = 0
    for name in order:
        begin, end = end, end + _WIDTHS[kinds[name]] * math.prod(shapes[name])
        offsets[name] = begin, end
        header[name] = {
            "dtype": _TAGS[kinds[name]],
            "shape": list(shapes[name]),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    missing = set(shapes)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
        for name, tensor in tensors:
            if name not in missing:
                raise ValueError(f"{name} is not one of the tensors still to be written")
            missing.remove(name)
            content = _content(name, tensor, shapes[name], kinds[name])
            file.seek(8 + len(text) + offsets[name][0])
            file.write(content)
            on_bytes(len(content))
        if missing:
            raise ValueError(f"{len(missing)} tensors are missing, the first is {min(missing)}")
        file.flush()
        os.fsync(file.fileno())


def _content(name: str, tensor: "torch.Tensor", shape: tuple[int, ...], kind: str) -> memoryview:
    import torch

    if tuple(tensor.shape) != shape or str(tensor.dtype) != f"torch.{kind}":
        raise ValueError(f"{name} is {tensor.dtype} {tuple(tensor.shape)}, {kind} {shape} was expected")
    if tensor.numel() == 0:
        return memoryview(b"")
    # numpy has no bfloat16, so the bytes are looked at as integers.
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data

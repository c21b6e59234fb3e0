"""One network's weights, wherever they lie, under the names of the class that computes with them.

A layout (``single_file``, ``layout``) says where each tensor comes from and how it was stored; here that is
checked against what the class wants, and read one tensor at a time.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from node.pipeline.checkpoints.ldm import Change
from node.pipeline.checkpoints.safe import BadCheckpoint, SafeFile

_THIRDS: dict[str, int] = {"query": 0, "key": 1, "value": 2}
_FLOATS = ("F64", "F32", "F16", "BF16")
_NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one wanted tensor comes from. ``file`` is None for ``identity`` alone."""

    file: SafeFile | None
    name: str
    change: Change = "same"

    def stored_shapes(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
        """Return the shapes a stored tensor may have to become ``shape``."""
        match self.change:
            case "transposed":
                return (shape[::-1],)
            case "pointwise" if len(shape) == 2:
                return ((*shape, 1, 1), shape)
            case "query" | "key" | "value":
                return ((3 * shape[0], *shape[1:]),)
            case _:
                return (shape,)

    def read(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Return the tensor in the stored precision, contiguous, on the CPU."""
        if self.file is None:
            return _identity(self.name, shape)
        if self.change in _THIRDS:
            return self.file.read(self.name, _THIRDS[self.change], 3)
        tensor = self.file.read(self.name)
        return (tensor.T if self.change == "transposed" else tensor.reshape(shape)).contiguous()


def _identity(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    if name.endswith(".bias"):
        return torch.zeros(shape)
    return torch.eye(shape[0], shape[1]).reshape(shape)


@dataclass(frozen=True, slots=True)
class Component:
    """The weights of the network at ``path``. Its files must stay open while tensors are read."""

    path: str
    files: tuple[Path, ...]
    shapes: Mapping[str, tuple[int, ...]]
    origins: Mapping[str, Origin]

    def tensors(
        self, dtype: torch.dtype | Callable[[str], torch.dtype] | None = None
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield every tensor once, on the CPU, in the order in which the files hold them.

        ``dtype`` (one, or by name) casts; without it tensors keep the precision they are stored in. Raises
        BadCheckpoint if a value is not finite, before or because of the cast.
        """
        for name in sorted(self.shapes, key=self._place):
            tensor = self.origins[name].read(self.shapes[name])
            wanted = dtype(name) if callable(dtype) else dtype
            if wanted is not None:
                tensor = tensor.to(wanted)
            if not _finite(tensor):
                raise BadCheckpoint(
                    f"{self._where(name)}: {name} of {self.path} is not finite in {tensor.dtype}: "
                    "expected finite weights"
                )
            yield name, tensor

    def _place(self, name: str) -> tuple[str, int, int]:
        origin = self.origins[name]
        if origin.file is None:
            return "", 0, 0
        begin = origin.file.entries[origin.name].begin
        return str(origin.file.path), begin, _THIRDS.get(origin.change, 0)

    def _where(self, name: str) -> str:
        file = self.origins[name].file
        return self.path if file is None else str(file.path)


def _finite(tensor: torch.Tensor) -> bool:
    # Both extremes are NaN if any value is. One pass, some thirty times as fast as asking of each value.
    return not tensor.numel() or all(bool(torch.isfinite(end)) for end in torch.aminmax(tensor))


def checked(path: str, shapes: Mapping[str, tuple[int, ...]], origins: Mapping[str, Origin]) -> Component:
    """Return the component once every wanted tensor has an origin that is stored as it must be.

    Raises BadCheckpoint naming the tensors that are missing, of another shape, or not of floating point.
    """
    files = tuple(dict.fromkeys(origin.file.path for origin in origins.values() if origin.file))
    where = ", ".join(map(str, files))
    missing, wrong = [], []
    for name, shape in shapes.items():
        origin = origins[name]
        if origin.file is None:
            continue
        entry = origin.file.entries.get(origin.name)
        if entry is None:
            missing.append(origin.name)
        elif entry.shape not in origin.stored_shapes(shape):
            wanted = " or ".join(str(list(stored)) for stored in origin.stored_shapes(shape))
            wrong.append(f"{origin.name} is {list(entry.shape)}, expected {wanted}")
        elif entry.dtype not in _FLOATS:
            wrong.append(f"{origin.name} is {entry.dtype}, expected one of {', '.join(_FLOATS)}")
    if missing:
        raise BadCheckpoint(f"{where} lacks {named(missing)}, expected for {path}")
    if wrong:
        raise BadCheckpoint(f"{where} does not fit {path}: {named(wrong)}")
    return Component(path, files, dict(shapes), dict(origins))


def named(names: Collection[str]) -> str:
    """List names for an error: the first few, then how many more."""
    names = list(dict.fromkeys(names))
    shown = ", ".join(name if len(name) <= 160 else name[:157] + "..." for name in names[:_NAMES_SHOWN])
    return shown if len(names) <= _NAMES_SHOWN else f"{shown} and {len(names) - _NAMES_SHOWN} more"

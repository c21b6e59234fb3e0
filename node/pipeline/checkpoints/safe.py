"""One safetensors file, opened as if a stranger had written it. Format: huggingface/safetensors, README.

Eight bytes of header length (little-endian), a JSON header, then the data, which the tensors cover without
gap or overlap. All of that is checked before any data is read. Nothing is mapped into memory: a file cut
short later is an error here, where a mapping would end the process. Torch is only imported to make a tensor.
"""

import json
import math
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from node.errors import Fatal

if TYPE_CHECKING:
    import torch

MAX_HEADER_BYTES = 16 * 1024 * 1024
"""Above any honest header: the largest of these files has 2,500 tensors in 0.4 MB, previews included."""

_MAX_DIMENSIONS = 8
_ITEM_BYTES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}
_TORCH_NAMES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
_EXPECTED = "expected a safetensors file"


class BadCheckpoint(Fatal):
    """A file of weights that is not what it should be. The text names the file and what was expected."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor as the header describes it. ``begin`` and ``end`` count bytes from the file's start."""

    shape: tuple[int, ...]
    dtype: str
    begin: int
    end: int

    @property
    def size_bytes(self) -> int:
        """The length of the tensor's data."""
        return self.end - self.begin


class SafeFile:
    """An open safetensors file. A context manager; ``entries`` are in the order of the header."""

    def __init__(self, path: Path, file: FileIO, entries: Mapping[str, Entry]) -> None:
        self.path = path
        self.entries = MappingProxyType(dict(entries))
        self._file = file

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Tensors already read stay valid."""
        self._file.close()

    def read(self, name: str, part: int = 0, parts: int = 1) -> "torch.Tensor":
        """Return one tensor on the CPU, or the ``part``-th of ``parts`` equal pieces along its first axis.

        Raises BadCheckpoint if the file became shorter, KeyError if it has no such tensor.
        """
        import torch

        entry = self.entries[name]
        shape = entry.shape
        if parts != 1:
            if not shape or shape[0] % parts:
                raise BadCheckpoint(f"{self.path}: {name} {list(shape)} cannot be split into {parts} parts")
            shape = (shape[0] // parts, *shape[1:])
        dtype = getattr(torch, _TORCH_NAMES[entry.dtype])
        size = entry.size_bytes // parts
        if size == 0:
            return torch.empty(shape, dtype=dtype)
        try:
            self._file.seek(entry.begin + part * size)
            buffer = _exactly(self._file, size)
        except OSError as error:
            raise BadCheckpoint(f"{self.path}: {name} cannot be read: {error.strerror}") from error
        if buffer is None:
            raise BadCheckpoint(f"{self.path} became shorter while it was read: {name} needs {size} bytes")
        return torch.frombuffer(buffer, dtype=dtype).reshape(shape)


def _exactly(file: FileIO, size: int) -> bytearray | None:
    """Read ``size`` bytes, or return None if the file ends before."""
    buffer = bytearray(size)
    view, filled = memoryview(buffer), 0
    while filled < size:
        got = file.readinto(view[filled:])
        if not got:
            return None
        filled += got
    return buffer


def open_safetensors(path: Path) -> SafeFile:
    """Open a file and check its whole header against its size.

    Raises BadCheckpoint if it is missing, not a regular file, a pickle or zip archive, cut short, or if its
    header is malformed, too large, or does not describe exactly the bytes that follow.
    """
    try:
        # A named pipe would block an ordinary open for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise BadCheckpoint(f"{path}: {_EXPECTED}, but it cannot be opened: {error.strerror}") from error
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode):
        os.close(descriptor)
        raise BadCheckpoint(f"{path}: {_EXPECTED}, but it is not a regular file")
    # Without a buffer of its own, so that a file cut short meanwhile is noticed.
    file = FileIO(descriptor, "rb")
    try:
        entries = _entries(path, file, state.st_size)
    except OSError as error:
        file.close()
        raise BadCheckpoint(f"{path}: {_EXPECTED}, but reading failed: {error.strerror}") from error
    except BaseException:
        file.close()
        raise
    return SafeFile(path, file, entries)


def _entries(path: Path, file: FileIO, size: int) -> dict[str, Entry]:
    start = file.read(16)
    _refuse_pickles(path, start)
    if len(start) < 8:
        raise BadCheckpoint(f"{path}: {_EXPECTED}, but it has only {size} bytes")
    length = int.from_bytes(start[:8], "little")
    if start[8:9] != b"{":
        raise BadCheckpoint(f"{path}: {_EXPECTED}, but no header follows its first 8 bytes")
    if length > MAX_HEADER_BYTES:
        raise BadCheckpoint(
            f"{path}: {_EXPECTED}, but its header claims {length} bytes; allowed: {MAX_HEADER_BYTES}"
        )
    if 8 + length > size:
        raise BadCheckpoint(f"{path} is truncated: its header alone needs {8 + length} bytes, it has {size}")
    file.seek(8)
    header = _exactly(file, length)
    if header is None:
        raise BadCheckpoint(f"{path} became shorter while it was read: its header needs {length} bytes")
    rows = _parse(path, header)
    entries = {name: _entry(path, name, row, 8 + length) for name, row in rows.items()}
    _check_cover(path, entries, 8 + length, size)
    return entries


def _refuse_pickles(path: Path, start: bytes) -> None:
    """Tell by content what torch.save and pickle write: a zip archive, or a stream that opens with PROTO."""
    zipped = start[:4] in {b"PK\x03\x04", b"PK\x05\x06"}
    # A header of 128 bytes begins with the same byte as a pickle; only a header goes on with a brace.
    pickled = start[:1] in {b"\x80", b"c", b"("} and start[8:9] != b"{"
    if zipped or pickled:
        raise BadCheckpoint(
            f"{path} is a pickled checkpoint, which can run code when it is read: {_EXPECTED} in its place"
        )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise ValueError("a name appears twice")
    return row


def _parse(path: Path, header: bytearray) -> dict[str, Any]:
    try:
        rows = json.loads(header.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise BadCheckpoint(f"{path}: {_EXPECTED}, but its header is not JSON: {error}") from error
    if not isinstance(rows, dict):
        raise BadCheckpoint(f"{path}: {_EXPECTED}, but its header is not an object")
    rows.pop("__metadata__", None)
    if not rows:
        raise BadCheckpoint(f"{path}: {_EXPECTED} with weights, but it holds no tensor")
    return rows


def _entry(path: Path, name: str, row: Any, data_start: int) -> Entry:
    if not isinstance(row, dict) or set(row) != {"dtype", "shape", "data_offsets"}:
        raise BadCheckpoint(f"{path}: tensor {_short(name)} must have dtype, shape and data_offsets")
    dtype, shape, offsets = row["dtype"], row["shape"], row["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _ITEM_BYTES:
        allowed = ", ".join(_ITEM_BYTES)
        raise BadCheckpoint(f"{path}: tensor {_short(name)} has dtype {_short(dtype)}; allowed: {allowed}")
    if not _sizes(shape) or len(shape) > _MAX_DIMENSIONS:
        raise BadCheckpoint(f"{path}: tensor {_short(name)} has no valid shape: {_short(shape)}")
    if not _sizes(offsets) or len(offsets) != 2:
        raise BadCheckpoint(f"{path}: tensor {_short(name)} has no valid data_offsets: {_short(offsets)}")
    begin, end = offsets
    needed = math.prod(shape) * _ITEM_BYTES[dtype]
    if end - begin != needed:
        raise BadCheckpoint(
            f"{path}: tensor {_short(name)}, {dtype} {_short(shape)}, needs {needed} bytes; "
            f"its data_offsets give {end - begin}"
        )
    return Entry(tuple(shape), dtype, data_start + begin, data_start + end)


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**48 for item in value)


def _short(value: Any) -> str:
    """Quote what a stranger wrote, but not all of it."""
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


def _check_cover(path: Path, entries: Mapping[str, Entry], data_start: int, size: int) -> None:
    place = data_start
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != place:
            problem = "overlaps another" if entry.begin < place else "leaves a gap before it"
            raise BadCheckpoint(
                f"{path}: tensor {_short(name)} {problem}: expected it at {place}, not {entry.begin}"
            )
        place = entry.end
    if place > size:
        raise BadCheckpoint(f"{path} is truncated: its header describes {place} bytes, it has {size}")
    if place < size:
        raise BadCheckpoint(f"{path} has {size - place} bytes more than its header describes ({place})")

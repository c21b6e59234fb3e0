"""Durable stages: what a job has already computed survives the worker that computed it.

A stage is a tensor or a set of files in ``<job>/work`` with a record of its SHA-256 under the job's key, or
such a record alone for what is only compared. A stage whose record is missing, belongs to another job or
class, or does not match its bytes is computed again.
Different stages may be kept from different threads at once.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from node.job.manifest import OutputFile
from node.pipeline.results import describe_output, sync_directory, write_durably

_FOLDER = "files"


class StageStore:
    """The finished stages of one job; ``hashes`` grows with each stage that is found or kept."""

    def __init__(self, work: Path, key: str) -> None:
        self._work = work
        self._key = key
        self.hashes: dict[str, str] = {}
        work.mkdir(parents=True, exist_ok=True)

    def tensor(self, name: str, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Return the stage's tensor on the CPU, computing it unless it is on disk.

        What is returned was always read from the file, so that a resumed job and an uninterrupted one go on
        from memory of the same layout.
        """
        found = self.find(name)
        if found is None:
            self.keep(name, compute().detach().cpu())
            found = self.find(name)
        if found is None:
            raise OSError(f"{self.tensor_path(name)} does not hold what was just written to it")
        return found

    def find(self, name: str) -> torch.Tensor | None:
        """Return the stage's tensor, or None if it is not there as it was kept."""
        record = self._known(name)
        try:
            content = self.tensor_path(name).read_bytes()
            if record is None or hashlib.sha256(content).hexdigest() != record.get("file"):
                return None
            found = load(content)["data"].clone()
        except (OSError, KeyError, SafetensorError):
            return None
        self.hashes[name] = _digest(found)
        return found

    def keep(self, name: str, value: torch.Tensor) -> None:
        """Make a CPU tensor durable as the stage's."""
        content = save({"data": value.contiguous()})
        write_durably(self.tensor_path(name), content)
        self._record(name, {"file": hashlib.sha256(content).hexdigest()})
        self.hashes[name] = _digest(value)

    def digest(self, name: str, compute: Callable[[], Sequence[torch.Tensor]]) -> None:
        """Note the SHA-256 of tensors that are not kept themselves, computing them unless it is on record."""
        record = self._known(name)
        if record is None or not isinstance(record.get("numbers"), str):
            record = {"numbers": _digest(*(part.detach().cpu() for part in compute()))}
            self._record(name, record)
        self.hashes[name] = record["numbers"]

    def files(self, name: str, compute: Callable[[Path], Sequence[str]]) -> list[OutputFile]:
        """Return the stage's files, written by ``compute(folder)``, which returns their paths in it."""
        found = self._read_files(name)
        if found is None:
            folder = self.folder(name)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            found = [describe_output(path, folder / path) for path in compute(folder)]
            for output in found:
                with (folder / output.path).open("rb") as written:
                    os.fsync(written.fileno())
            for directory in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
                sync_directory(directory)
            self._record(name, {output.path: output.sha256 for output in found})
        self.hashes.update({output.path: output.sha256 for output in found})
        return found

    def folder(self, name: str) -> Path:
        """Return where the files of a stage are."""
        return self._work / _FOLDER / name

    def tensor_path(self, name: str) -> Path:
        """Return the safetensors file of a stage; its tensor is called ``data`` there."""
        return self._work / f"{name}.safetensors"

    def _read_files(self, name: str) -> list[OutputFile] | None:
        record = self._known(name)
        if record is None:
            return None
        try:
            found = [describe_output(path, self.folder(name) / path) for path in record]
        except OSError:
            return None
        return found if all(record[output.path] == output.sha256 for output in found) else None

    def _known(self, name: str) -> dict[str, str] | None:
        """Return what the record says, or None if it is missing, torn or of another job or class."""
        try:
            record = json.loads((self._work / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(record, dict) or record.get("key") != self._key:
            return None
        hashes = record.get("sha256")
        return hashes if isinstance(hashes, dict) else None

    def _record(self, name: str, hashes: dict[str, str]) -> None:
        document = {"key": self._key, "sha256": hashes}
        write_durably(self._work / f"{name}.json", json.dumps(document).encode())
        sync_directory(self._work)


def _digest(*values: torch.Tensor) -> str:
    """Return the SHA-256 of the numbers alone, one tensor after the other, which two machines can compare."""
    digest = hashlib.sha256()
    for value in values:
        digest.update(value.contiguous().numpy().data)
    return digest.hexdigest()

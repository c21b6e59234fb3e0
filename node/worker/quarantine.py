"""Inputs that cost workers, kept over restarts: whoever was in quarantine yesterday kills no worker today.

The file is bounded, the oldest inputs go first. Its content is only ever a digest of the inputs and why the
workers died.
"""

import hashlib
import json
from pathlib import Path
from threading import Lock
from typing import Any

import structlog

from node.errors import JobFailed
from node.job.spec import JobSpec
from node.pipeline.results import sync_directory, write_durably

DEADLY = 2
FILE = "quarantine.json"
_REMEMBERED_INPUTS = 2000
_REMEMBERED_DEATHS = 4
_REASON_CHARACTERS = 300
_MAX_BYTES = 8 * 2**20


class Quarantine:
    """Deaths by inputs. A file that cannot be read is put aside, and said so."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE
        # Workers die side by side, and each death is written from a thread of its own.
        self._turn = Lock()
        self._log = structlog.get_logger()
        self._deaths = self._read()

    def check(self, spec: JobSpec) -> None:
        """Raise JobFailed if these inputs have cost as many workers as they may."""
        deaths = self._deaths.get(inputs_key(spec), [])
        if len(deaths) >= DEADLY:
            raise JobFailed(
                f"quarantined: these inputs killed {len(deaths)} workers: {'; '.join(deaths)}. If the "
                f"machine was at fault, remove {self._path} while the node is stopped"
            )

    def died(self, spec: JobSpec, reason: str) -> int:
        """Remember a death, on disk before this returns, and return how many there are of these inputs."""
        key = inputs_key(spec)
        with self._turn:
            deaths = [*self._deaths.pop(key, []), reason[:_REASON_CHARACTERS]][-_REMEMBERED_DEATHS:]
            # Again at the end: what is oldest goes first.
            self._deaths[key] = deaths
            while len(self._deaths) > _REMEMBERED_INPUTS:
                del self._deaths[next(iter(self._deaths))]
            self._write()
        return len(deaths)

    def survived(self, spec: JobSpec) -> None:
        """Forget the deaths of inputs that were rendered after all."""
        with self._turn:
            if self._deaths.pop(inputs_key(spec), None) is not None:
                self._write()

    def count(self) -> int:
        """Return how many inputs are in quarantine."""
        return sum(len(deaths) >= DEADLY for deaths in list(self._deaths.values()))

    def _read(self) -> dict[str, list[str]]:
        try:
            with self._path.open("rb") as file:
                return _checked(json.loads(file.read(_MAX_BYTES)))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as problem:
            self._log.warning("quarantine_unreadable", file=str(self._path), problem=str(problem))
        aside = self._path.with_suffix(".damaged")
        try:
            Path(self._path).replace(aside)
        except OSError as problem:
            self._log.warning("quarantine_stays", file=str(self._path), problem=str(problem))
        return {}

    def _write(self) -> None:
        try:
            write_durably(self._path, json.dumps(self._deaths).encode())
            sync_directory(self._path.parent)
        except OSError as problem:
            # A full disk: it holds until the restart, and is written with the next death.
            self._log.warning("quarantine_not_written", file=str(self._path), problem=str(problem))


def inputs_key(spec: JobSpec) -> str:
    """Return what equal inputs have in common, whoever's job they are in."""
    document = json.dumps([spec.module, spec.tunables()], sort_keys=True)
    return hashlib.sha256(document.encode()).hexdigest()


def _checked(document: Any) -> dict[str, list[str]]:
    if not isinstance(document, dict) or len(document) > _REMEMBERED_INPUTS:
        raise ValueError("it is not a table of inputs")
    for deaths in document.values():
        if not isinstance(deaths, list) or not all(isinstance(reason, str) for reason in deaths):
            raise ValueError("it is not a table of deaths")
    return document

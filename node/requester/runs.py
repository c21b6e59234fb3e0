"""The memory of a requested job: one small JSON file per run, written before anything is sent.

The run's id goes into every transaction's intent, so that a run picked up again sends nothing twice. Owns no
transaction; those are the journal's.
"""

import json
import os
import re
import secrets
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from node.errors import NodeError
from node.types import Address, DealId

MAX_RECORD_BYTES = 64 * 1024
_RUN_ID = re.compile(r"[0-9a-f]{12}")


class UnknownRun(NodeError):
    """There is no record of that run, or it cannot be read."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Run:
    """What was asked, where, and how far it came. The chain knows the rest."""

    run_id: str
    chain_id: int
    controller: Address
    requester: Address
    module: str
    inputs: tuple[str, ...]
    max_price_wei: int
    from_block: int
    job_number: int | None = None
    deal_id: DealId | None = None

    @property
    def number(self) -> int:
        """The job's number, once it was posted."""
        if self.job_number is None:
            raise ValueError(f"the job of run {self.run_id} has no number before it is posted")
        return self.job_number

    def intent(self, action: str) -> str:
        """Return the id of the one transaction that does ``action`` in this run, now and after a restart."""
        return f"run:{self.run_id}:{action}"


def new_run_id() -> str:
    """Return a fresh random id of 12 hex digits."""
    return secrets.token_hex(6)


class RunRecords:
    """``<data dir>/requester/runs/<run id>.json``."""

    def __init__(self, data_dir: Path) -> None:
        self._root = data_dir / "requester" / "runs"

    def save(self, run: Run) -> None:
        """Replace the record in one step; after it returns the record survives a power cut."""
        self._root.mkdir(parents=True, exist_ok=True)
        final = self._root / f"{run.run_id}.json"
        partial = final.with_suffix(".part")
        with partial.open("w", encoding="utf-8") as file:
            json.dump(asdict(run), file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(final)
        directory = os.open(self._root, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def load(self, run_id: str) -> Run:
        """Return a run. Raises UnknownRun."""
        if _RUN_ID.fullmatch(run_id) is None:
            raise UnknownRun(
                f"{run_id[:40]!r} is no run id: it has 12 hex digits, as printed when the job was posted"
            )
        try:
            with (self._root / f"{run_id}.json").open("rb") as file:
                document = json.loads(file.read(MAX_RECORD_BYTES))
            return _run(document)
        except FileNotFoundError as error:
            raise UnknownRun(
                f"there is no run {run_id} in {self._root}: check the id and the data directory"
            ) from error
        except (OSError, ValueError, TypeError) as error:
            raise UnknownRun(f"the record of run {run_id} in {self._root} cannot be read: {error}") from error


def _run(document: Any) -> Run:
    if not isinstance(document, dict) or document.keys() != {field.name for field in fields(Run)}:
        raise ValueError("its fields are not those of a run")
    numbers = (document["chain_id"], document["max_price_wei"], document["from_block"])
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError("a number of it is not a whole number")
    inputs = document["inputs"]
    texts = (document["run_id"], document["controller"], document["requester"], document["module"])
    if not isinstance(inputs, list) or not all(isinstance(text, str) for text in (*texts, *inputs)):
        raise ValueError("a text of it is not text")
    return Run(**document | {"inputs": tuple(inputs)})

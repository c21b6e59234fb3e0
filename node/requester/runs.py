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
from typing import Literal

from pydantic import TypeAdapter

from node.errors import NodeError
from node.job.deal import Deal
from node.requester.checking import Check
from node.types import Address, DealId

Matching = Literal["both", "propose", "hire"]
"""How a deal is come by: by proposals, by hiring on a published offer, or by whichever is cheaper."""

MAX_RECORD_BYTES = 64 * 1024
_RUN_ID = re.compile(r"[0-9a-f]{12}")


class UnknownRun(NodeError):
    """There is no record of that run, or it cannot be read."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Run:
    """What was asked, where, and how far it came. The chain knows the rest.

    ``hire`` is the deal to which we agree first: nobody else could tell its terms before that is mined.
    ``passed_over`` are the providers that were hired and stayed silent. ``provider`` is the one asked for.
    """

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
    provider: Address | None = None
    matching: Matching = "propose"
    hire: Deal | None = None
    passed_over: tuple[Address, ...] = ()
    check: Check = "never"

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
                return _run(file.read(MAX_RECORD_BYTES))
        except FileNotFoundError as error:
            raise UnknownRun(
                f"there is no run {run_id} in {self._root}: check the id and the data directory"
            ) from error
        except (OSError, ValueError, TypeError) as error:
            raise UnknownRun(f"the record of run {run_id} in {self._root} cannot be read: {error}") from error


def _run(data: bytes) -> Run:
    """Read a record, also one of an earlier version, which lacks the newer fields."""
    document = json.loads(data)
    if not isinstance(document, dict) or document.keys() - {field.name for field in fields(Run)}:
        raise ValueError("its fields are not those of a run")
    run: Run = TypeAdapter(Run).validate_json(data, strict=True)
    if min(run.chain_id, run.max_price_wei, run.from_block) < 0:
        raise ValueError("a number of it is negative")
    return run

"""What the web room asks of the engine, and how its answers look on the wire."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from node.journal.ledger_rows import JobFilter


class StatusSource(Protocol):
    """The running node as seen from outside. Snapshots are plain JSON values and are cheap to take."""

    def status(self) -> dict[str, Any]:
        """Return the whole node's state."""
        ...

    async def jobs(
        self, limit: int, before: str | None, chosen: JobFilter | None = None
    ) -> list[dict[str, Any]]:
        """Return up to ``limit`` of the chosen jobs, newest first, older than ``before``."""
        ...

    async def job(self, job_id: str) -> dict[str, Any] | None:
        """Return one job with its timeline and transactions, or None."""
        ...

    def subscribe(self) -> AsyncIterator[dict[str, Any]]:
        """Yield ``{"type": "job" | "progress" | "status", "data": {...}}`` as things change, until closed."""
        ...


def wire(value: object) -> Any:
    """Return a JSON value in which amounts in wei are strings: a browser's numbers lose digits after 2^53."""
    if isinstance(value, Mapping):
        return {
            key: str(item) if key.endswith("_wei") and isinstance(item, int) else wire(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [wire(item) for item in value]
    return value

"""What changed, told to listeners: at most once each until they ask for it, however often it changed since.

A listener that falls behind is told less often and never made to wait for; nothing grows without bound.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import IntEnum

from node.types import JobId

MAX_WAITING = 256


class Change(IntEnum):
    """What changed; of one job a greater change holds the smaller one."""

    PROGRESS = 0
    STATUS = 1
    JOB = 2


@dataclass(frozen=True, slots=True)
class Item:
    """One change; ``job_id`` is None for the status."""

    change: Change
    job_id: JobId | None = None


class _Listener:
    def __init__(self) -> None:
        self.waiting: dict[JobId | None, Change] = {}
        self.some = asyncio.Event()


class News:
    """All listeners and what each has still to be told."""

    def __init__(self) -> None:
        self._listeners: set[_Listener] = set()

    def tell(self, change: Change, job_id: JobId | None = None) -> None:
        """Let every listener know. What already waits to be told of the same thing is told once."""
        for listener in self._listeners:
            known = listener.waiting.get(job_id)
            if known is None and len(listener.waiting) >= MAX_WAITING:
                continue
            listener.waiting[job_id] = change if known is None else max(known, change)
            listener.some.set()

    async def listen(self) -> AsyncGenerator[Item, None]:
        """Yield changes in the order in which they came first, until it is closed."""
        listener = _Listener()
        self._listeners.add(listener)
        try:
            while True:
                await listener.some.wait()
                while listener.waiting:
                    job_id = next(iter(listener.waiting))
                    yield Item(listener.waiting.pop(job_id), job_id)
                listener.some.clear()
        finally:
            self._listeners.discard(listener)

"""Room on the data directory's disk: needed to start at all, and to take on work."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from node.admission.disk import DiskRoom, data_room, shortage
from node.clock import Clock
from node.config import Config
from node.observe.systemd import Notifier

START_BYTES, START_FILES = 4 << 20, 32
"""What the journal, its lock and the control socket take to be opened."""
LOOK_AGAIN_S = 2.0
NO_ROOM = "there has been no room for another job"
OFFER_ENDS_AFTER_S, OFFER_BACK_AFTER_S = 300.0, 60.0
"""How long room must have been lacking before the published offer is taken back, and there again before it
stands again: both cost gas."""


def disk_problem(config: Config, job_bytes: int, *, jobs_ahead: int = 0) -> str | None:
    """Return why the data directory's disk has no room for another job of this size, or None."""
    return shortage(
        data_room(config.node.directory),
        floor_bytes=int(config.admission.min_free_disk_gb * 10**9),
        job_bytes=job_bytes,
        jobs_ahead=jobs_ahead,
    )


class LastingShortage:
    """Why nobody is to be hired: room has been lacking for minutes, or what ``words`` say.

    ``problem`` tells what is lacking at the moment.
    """

    def __init__(self, problem: Callable[[], str | None], clock: Clock, words: str = NO_ROOM) -> None:
        self._problem = problem
        self._clock = clock
        self._words = words
        self._lacking: str | None = None
        self._changed_at: float | None = None

    def look(self) -> str | None:
        """Return what has been lacking for so long, or None. Has to be asked every minute or so."""
        found = self._problem()
        if (found is None) == (self._lacking is None):
            self._lacking, self._changed_at = found, None
        elif self._changed_at is None:
            self._changed_at = self._clock.monotonic()
        else:
            lasts_s = OFFER_BACK_AFTER_S if found is None else OFFER_ENDS_AFTER_S
            if self._clock.monotonic() - self._changed_at >= lasts_s:
                self._lacking, self._changed_at = found, None
        if self._lacking is None:
            return None
        return f"{self._words} for some minutes: {self._lacking}"


async def room_to_start(directory: Path, shutdown: asyncio.Event) -> bool:
    """Wait until the node can be started, and say why; False if it was told to stop before.

    A service that ends for lack of room, again and again, would be given up by systemd and stay down when
    there is room.
    """
    told = False
    while not _enough(data_room(directory)):
        if not told:
            told = True
            room = data_room(directory)
            text = f"{directory} has {room.free_bytes} bytes and {room.free_files} files left: free some"
            structlog.get_logger().error("start_waits_for_room", problem=text)
            Notifier().status(text)
        try:
            async with asyncio.timeout(LOOK_AGAIN_S):
                await shutdown.wait()
                return False
        except TimeoutError:
            continue
    return True


def _enough(room: DiskRoom) -> bool:
    return room.free_bytes >= START_BYTES and (room.free_files is None or room.free_files >= START_FILES)

"""How the GPUs were over the last hours: a bounded ring of samples in memory, for the dashboard's charts.

Of each period the busiest moment is kept for memory and temperature, the mean for utilisation and power.
Nothing is written to disk: Prometheus is the place for longer histories.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from node.clock import Clock
from node.gpu.readings import GpuInfo
from node.types import GpuUuid

MIB = 1 << 20
MAX_CARDS = 64


class _Mean:
    """The mean of readings that may be missing."""

    def __init__(self) -> None:
        self._sum = 0.0
        self._count = 0

    def add(self, reading: float | None) -> None:
        if reading is not None:
            self._sum += reading
            self._count += 1

    @property
    def rounded(self) -> int | None:
        return round(self._sum / self._count) if self._count else None


@dataclass(slots=True)
class _Sample:
    """One period of one card; ``period`` counts periods since the Unix epoch."""

    period: int
    memory_bytes: int
    temperature_c: int | None
    utilisation: _Mean
    power: _Mean


@dataclass(slots=True)
class _Card:
    info: GpuInfo
    samples: deque[_Sample]


class GpuHistory:
    """``held`` samples of ``every_s`` seconds for each card that was seen, of at most ``MAX_CARDS``."""

    def __init__(self, clock: Clock, *, every_s: int = 60, held: int = 360) -> None:
        self._clock = clock
        self._every_s = every_s
        self._held = held
        self._cards: dict[GpuUuid, _Card] = {}

    def note(self, gpus: Iterable[GpuInfo]) -> None:
        """Take note of one reading of the cards that answer."""
        period = int(self._clock.now() // self._every_s)
        for gpu in gpus:
            card = self._cards.get(gpu.uuid)
            if card is None:
                if len(self._cards) >= MAX_CARDS:
                    continue
                card = self._cards[gpu.uuid] = _Card(gpu, deque(maxlen=self._held))
            card.info = gpu
            if not card.samples or card.samples[-1].period < period:
                card.samples.append(_Sample(period, 0, None, _Mean(), _Mean()))
            sample = card.samples[-1]
            sample.memory_bytes = max(sample.memory_bytes, gpu.memory_used_bytes)
            known = [reading for reading in (sample.temperature_c, gpu.temperature_c) if reading is not None]
            sample.temperature_c = max(known, default=None)
            sample.utilisation.add(gpu.utilisation_percent)
            sample.power.add(gpu.power_w)

    def to_json(self) -> dict[str, Any]:
        """Return the samples by card and reading, oldest first, None where nothing was read.

        Every list has the same length; its first entry belongs to the period that begins at ``from``, in
        seconds since the Unix epoch, and each next one to the period ``every_s`` later.
        """
        newest = int(self._clock.now() // self._every_s)
        oldest = newest - self._held + 1
        begun = [card.samples[0].period for card in self._cards.values()]
        first = max(oldest, min(begun, default=newest))
        return {
            "every_s": self._every_s,
            "held_s": self._held * self._every_s,
            "from": first * self._every_s,
            "gpus": [_told(card, first, newest) for card in self._cards.values()],
        }


def _told(card: _Card, first: int, newest: int) -> dict[str, Any]:
    by_period = {sample.period: sample for sample in card.samples}
    row = [by_period.get(period) for period in range(first, newest + 1)]
    return {
        "index": card.info.index,
        "uuid": card.info.uuid,
        "name": card.info.name,
        "memory_total_mib": card.info.memory_total_bytes // MIB,
        "power_limit_w": card.info.power_limit_w,
        "slowdown_temperature_c": card.info.slowdown_temperature_c,
        "memory_used_mib": [sample and sample.memory_bytes // MIB for sample in row],
        "utilisation_percent": [sample and sample.utilisation.rounded for sample in row],
        "temperature_c": [sample and sample.temperature_c for sample in row],
        "power_w": [sample and sample.power.rounded for sample in row],
    }

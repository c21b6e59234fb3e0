"""Whether the node is alive and whether it is ready, with reasons a person can act on.

Alive means that its loops still turn: a restart is the remedy when they do not. Ready means that it can take
a job now; an RPC endpoint that is down makes the node not ready, never dead: a restart would not help. Facts
come from the rooms: loops beat, and conditions are set where they are known.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from node.clock import Clock


@dataclass(frozen=True, slots=True)
class Check:
    """One named answer. ``why`` is empty when all is well."""

    name: str
    ok: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The answer of ``/livez`` or ``/readyz``: good only if every check is."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check is good."""
        return all(check.ok for check in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is not good, one sentence for each failing check."""
        return tuple(f"{check.name}: {check.why}" for check in self.checks if not check.ok)

    def to_json(self) -> dict[str, Any]:
        """Return ``{ok, reasons, checks: [{name, ok, why}]}``."""
        return {
            "ok": self.ok,
            "reasons": list(self.reasons),
            "checks": [{"name": check.name, "ok": check.ok, "why": check.why} for check in self.checks],
        }


@dataclass(slots=True)
class _Loop:
    within_s: float
    beaten_at: float


class Health:
    """What the rooms report, turned into two answers. Used from the event loop's thread only."""

    def __init__(self, clock: Clock) -> None:
        self._clock: Final = clock
        self._loops: Final[dict[str, _Loop]] = {}
        self._conditions: Final[dict[str, Check]] = {
            "started": Check("started", ok=False, why="the node is still starting")
        }
        self._probes: Final[dict[str, Callable[[], str | None]]] = {}
        self._held: str | None = None
        self._head: int | None = None
        self._head_moved_at = clock.monotonic()

    def expect(self, loop: str, within_s: float) -> None:
        """From now on, the node is alive only while this loop beats at least every ``within_s`` seconds."""
        self._loops[loop] = _Loop(within_s, self._clock.monotonic())

    def forget(self, loop: str) -> None:
        """Stop expecting a loop that ended on purpose."""
        self._loops.pop(loop, None)

    def beat(self, loop: str) -> None:
        """Record that a loop finished a turn, well or not. Raises KeyError for a loop nobody expects."""
        self._loops[loop].beaten_at = self._clock.monotonic()

    def hold(self, why: str | None) -> None:
        """Say that loops stand still for a reason that no restart would help with; None when it is over."""
        if why is None:
            now = self._clock.monotonic()
            for loop in self._loops.values():
                loop.beaten_at = now
        self._held = why
        self.condition("held", ok=why is None, why=why or "")

    def watch_head(self, stale_after_s: float) -> None:
        """Not ready while the chain's head stands still; leave it out for a chain that mines on demand."""

        def why() -> str | None:
            stood_s = self._clock.monotonic() - self._head_moved_at
            if stood_s <= stale_after_s:
                return None
            seen = "no block was seen" if self._head is None else f"the head stands at block {self._head}"
            return f"{seen} for {stood_s:.0f} s: check the RPC endpoint"

        self._probes["chain_head"] = why

    def probe(self, name: str, why: Callable[[], str | None]) -> None:
        """Not ready while ``why`` returns a reason; it is asked each time and must be quick."""
        self._probes[name] = why

    def head(self, number: int) -> None:
        """Record the newest block's number; only a change counts as progress."""
        if number != self._head:
            self._head = number
            self._head_moved_at = self._clock.monotonic()

    def condition(self, name: str, *, ok: bool, why: str = "") -> None:
        """Set a named readiness condition; ``why`` says what is missing and what to do, when it is not ok."""
        self._conditions[name] = Check(name, ok, "" if ok else why or "no reason was given")

    def started(self) -> None:
        """Say that the start is complete: from now on the other conditions alone decide."""
        self._conditions["started"] = Check("started", ok=True)

    def stopping(self) -> None:
        """Say that the node is shutting down and must get no new work."""
        self._conditions["started"] = Check("started", ok=False, why="the node is shutting down")

    def live(self) -> HealthReport:
        """Whether every expected loop beat in time, or stands still for a known reason."""
        now = self._clock.monotonic()
        checks = []
        for name, loop in self._loops.items():
            silent_s = now - loop.beaten_at
            late = silent_s > loop.within_s and self._held is None
            why = f"no turn for {silent_s:.0f} s, allowed are {loop.within_s:.0f} s" if late else ""
            checks.append(Check(name, not late, why))
        return HealthReport(tuple(checks))

    def ready(self) -> HealthReport:
        """Whether the node is alive and every condition for taking a job holds."""
        probed = [(name, probe()) for name, probe in self._probes.items()]
        return HealthReport(
            (
                *self._conditions.values(),
                *(Check(name, why is None, why or "") for name, why in probed),
                *self.live().checks,
            )
        )

"""One frame of ``sdv-node top``: the running node in a terminal of 80 by 24 or more."""

import time
from collections.abc import Iterator
from datetime import datetime

from rich.console import Group, RenderableType
from rich.text import Text

from node.cli.context import tokens
from node.cli.render_display import duration
from node.cli.top_feed import View

_QUEUED = ("AGREED", "RENDERED", "PUBLISHING", "PUBLISHED", "SUBMITTING")
_NOT_TOLD = frozenset({"event", "level", "logger", "timestamp", "exception", "stack"})
_GOOD, _BAD, _QUIET = "green", "red", "dim"
_PHASE_STYLES = {"PAID": _GOOD, "REFUSED": _QUIET, "LAPSED": _QUIET} | dict.fromkeys(
    ("FAILED", "UNPAID", "REJECTED"), _BAD
)


def frame(view: View, *, width: int, height: int, now: float, ascii_only: bool = False) -> RenderableType:
    """Return what is shown at ``now`` (wall time, s), at most ``height`` lines of ``width`` characters."""
    parts = _Parts(view, width, now, "#-" if ascii_only else "█░")
    fixed = [*parts.head(), *parts.running(), *parts.queue(), *parts.gpus(), *parts.money()]
    troubles = parts.troubles()
    offers = parts.offers()
    # Troubles are what a person looks for; offers fill what is left.
    left = max(0, height - len(fixed))
    shown = troubles[: max(2, left // 2)] if len(troubles) > 1 else troubles
    shown = shown[:left]
    lines = [*fixed, *offers[: left - len(shown)], *shown]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Group(*lines[:height])


class _Parts:
    """The parts of a frame, each a list of lines."""

    def __init__(self, view: View, width: int, now: float, blocks: str) -> None:
        self._view = view
        self._status = view.status
        self._width = width
        self._now = now
        self._blocks = blocks

    def head(self) -> list[Text]:
        """Return who this is, where the chain is, and whether jobs are taken."""
        status = self._status
        chain = status.get("chain") or {}
        clock = time.strftime("%H:%M:%S", time.localtime(self._now))
        line = Text.assemble(
            (f"sdv-node {status.get('version', '')}", "bold"),
            f"  chain {chain.get('chain_id', '?')} at block {chain.get('head', '?')}  {clock}  ",
        )
        if self._view.trouble is not None:
            line.append("not heard, trying again", "bold red")
        elif status.get("accepting"):
            line.append("taking jobs", _GOOD)
        elif "accepting" in status:
            line.append("taking no jobs", "yellow")
        return [line]

    def running(self) -> list[Text]:
        """Return each job that is rendered, with its steps and the time it still takes."""
        worker = self._status.get("worker") or {}
        slots = [slot for slot in worker.get("slots") or [] if slot.get("rendering")]
        if not slots:
            return [*_title("running"), Text(f"  nothing; worker {_clean(worker.get('state') or 'unknown')}")]
        lines = _title("running")
        for slot in slots:
            now = slot["rendering"]
            job = self._view.jobs.get(now["job"], {})
            progress = {**now, **(job.get("progress") or {})}
            left = (job.get("estimate") or {}).get("left_s")
            step, steps = progress.get("step") or 0, progress.get("steps") or 0
            told = f"{_clean(progress.get('stage') or 'begins')} {step}/{steps}" if steps else "begins"
            fraction = progress.get("fraction", step / steps if steps else 0.0)
            ends = "" if left is None else f"  {duration(left)} left"
            lines.append(
                Text.assemble(
                    f"  {_clean(now['job']):<5} ",
                    (self._bar(fraction, 20), _GOOD),
                    f" {fraction:4.0%}  {told}{ends}  ",
                    (_clean(job.get("prompt") or ""), _QUIET),
                )
            )
        return lines

    def queue(self) -> list[Text]:
        """Return what waits behind it."""
        waiting = [
            f"{_clean(job['job_id'])} {job['phase'].lower()}"
            for job in reversed(self._view.newest())
            if job.get("phase") in _QUEUED
        ]
        counts = (self._status.get("jobs") or {}).get("by_phase") or {}
        proposed = sum(count for phase, count in counts.items() if phase.startswith("PROPOS"))
        told = ", ".join(waiting) or "nothing waits"
        return [Text(f"  queue: {told}" + (f"; {proposed} proposals" if proposed else ""))]

    def gpus(self) -> list[Text]:
        """Return a gauge of load and of memory for each card."""
        lines = []
        for gpu in self._status.get("gpus") or []:
            total, free = gpu["memory_total_bytes"], gpu["memory_free_bytes"]
            load = gpu.get("utilisation_percent")
            rest = [
                f"{gpu[name]:.0f} {unit}"
                for name, unit in (("temperature_c", "°C"), ("power_w", "W"))
                if gpu.get(name) is not None
            ]
            gauge = "" if load is None else f"load {self._bar(load / 100, 8)} {load:3.0f} %  "
            used = self._bar(1 - free / total if total else 0.0, 8)
            memory = f"memory {used} {(total - free) / 2**30:.1f}/{total / 2**30:.0f} GiB"
            line = Text(f"  {gpu['index']} {gauge}{memory}  {'  '.join(rest)}  {_clean(gpu['name'])}")
            if gpu.get("shut"):
                line.stylize("yellow")
            lines.append(line)
        return [*_title("GPUs"), *lines] if lines else []

    def money(self) -> list[Text]:
        """Return what was earned, and what is tied up."""
        earned = self._status.get("earnings") or {}
        if not earned:
            return []
        symbol = _clean((self._status.get("chain") or {}).get("symbol") or "tokens")
        first = f"  day {tokens(earned['day_wei'])}, 30 days {tokens(earned['month_wei'])}, "
        first += f"all {tokens(earned['paid_wei'])} {symbol}, net {tokens(earned['net_wei'])}"
        second = f"  locked {tokens(earned['locked_wei'])}, claimable {tokens(earned['claimable_wei'])}"
        return [*_title("earned"), Text(first), Text(f"{second}, gas {tokens(earned['gas_wei'])}")]

    def offers(self) -> list[Text]:
        """Return the newest jobs and offers with what became of them."""
        lines = _title("last offers")
        for job in self._view.newest():
            phase = job.get("phase", "")
            price = f"{tokens(job['price_wei'])} " if job.get("price_wei") else ""
            why = job.get("reason") or job.get("prompt") or ""
            lines.append(
                Text.assemble(
                    f"  {_clean(job['job_id']):<5} ",
                    (f"{phase.lower():<11}", _PHASE_STYLES.get(phase, "")),
                    f" {price}{_clean(why)}",
                )
            )
        if len(lines) == 1:
            lines.append(Text("  none yet", _QUIET))
        return lines

    def troubles(self) -> list[Text]:
        """Return what keeps the node from taking jobs, then the newest troubles of its log."""
        lines = [Text(f"  {_clean(each)}", "yellow") for each in self._told_troubles()]
        for entry in self._view.log:
            at = _clock(str(entry.get("timestamp", "")))
            style = _BAD if entry.get("level") in {"error", "critical"} else "yellow"
            told = [f"{key}={value}" for key, value in entry.items() if key not in _NOT_TOLD]
            text = " ".join((str(entry.get("event", "")), *told))
            lines.append(Text.assemble((f"  {at} ", _QUIET), (_clean(text), style)))
        return [*_title("troubles"), *lines] if lines else []

    def _told_troubles(self) -> Iterator[str]:
        if self._view.trouble is not None:
            yield self._view.trouble
        yield from self._status.get("not_accepting_because") or []
        if self._status.get("gpu_problem"):
            yield f"GPU: {self._status['gpu_problem']}"
        for target in self._status.get("targets") or []:
            if target.get("problem"):
                yield f"{target['name']}: {target['problem']}"

    def _bar(self, fraction: float, cells: int) -> str:
        full = round(min(1.0, max(0.0, fraction)) * cells)
        return self._blocks[0] * full + self._blocks[1] * (cells - full)


def _clock(timestamp: str) -> str:
    """Return local time of day of a log's timestamp."""
    try:
        return datetime.fromisoformat(timestamp).astimezone().strftime("%H:%M:%S")
    except ValueError:
        return "--:--:--"


def _title(text: str) -> list[Text]:
    return [Text(text, "bold")]


def _clean(text: object) -> str:
    """Return a stranger's text without what could move a terminal's cursor."""
    return "".join(each if each.isprintable() else " " for each in str(text))

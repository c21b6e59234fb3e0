"""Whether the GPUs may be used at this moment. Pure: readings and what was before in, a judgement out.

A GPU is shut while using it would give wrong bits (MIG, broken memory), lose the job (a fatal Xid, too little
memory) or take from others what the operator left them. What is shut says which GPU, which stage and what to
do; what opens again opens later than it shut, so that nothing flickers.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from node.gpu.need import MemoryNeed
from node.gpu.readings import FaultKind, GpuInfo, GpuReport
from node.types import GpuUuid

BELOW_SLOWDOWN_C = 2
COOLER_C = 8
"""Where the operator sets no temperature: so far below the card's own slowdown, and so much cooler."""
_TOLD_PROCESSES = 3


class Cause(StrEnum):
    """Why a GPU is not to be used; also a label of the metrics."""

    FAULT = "fault"
    MIG = "mig"
    TOO_SMALL = "too_small"
    RECOVERY = "recovery"
    XID = "xid"
    ECC = "ecc"
    HOT = "hot"
    OTHERS = "others"
    MEMORY = "memory"


PASSING = frozenset({Cause.HOT, Cause.OTHERS, Cause.MEMORY})
"""What ends by itself or with what others do; the rest needs the operator."""


@dataclass(frozen=True, slots=True)
class GateRules:
    """The operator's part: temperatures in degrees Celsius (0: the card's own), times in seconds."""

    pause_above_c: int = 0
    resume_below_c: int = 0
    yield_to_others: bool = False
    resume_after_s: float = 60.0

    def pauses_above(self, gpu: GpuInfo) -> int | None:
        """Return the temperature above which a GPU pauses, None where neither operator nor card names one."""
        if self.pause_above_c:
            return self.pause_above_c
        slowdown = gpu.slowdown_temperature_c
        return None if slowdown is None else slowdown - BELOW_SLOWDOWN_C

    def resumes_at(self, pause_above_c: int) -> int:
        """Return how cool a GPU that paused has to be."""
        return self.resume_below_c or pause_above_c - COOLER_C


@dataclass(frozen=True, slots=True)
class Past:
    """What of the last judgement weighs on the next one. Times on a monotonic clock, in seconds."""

    hot: frozenset[GpuUuid] = frozenset()
    others_seen_at: Mapping[GpuUuid, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shut:
    """One reason against one GPU. ``gpu`` is None where no GPU answers that it could be about."""

    cause: Cause
    words: str
    gpu: GpuUuid | None = None

    @property
    def passes(self) -> bool:
        """Whether it can end without the operator."""
        return self.cause in PASSING


@dataclass(frozen=True, slots=True)
class Judgement:
    """``open``: the GPUs on which a job of the profile may start now. ``shut``: what is against the others.

    ``room_bytes``: what each GPU that answers has for this node, what its workers hold included.
    """

    open: tuple[GpuUuid, ...] = ()
    shut: tuple[Shut, ...] = ()
    room_bytes: Mapping[GpuUuid, int] = field(default_factory=dict)

    def reasons(self, gpu: GpuUuid) -> tuple[Shut, ...]:
        """Return what is against one GPU."""
        return tuple(each for each in self.shut if each.gpu == gpu)

    @property
    def obstacle(self) -> str | None:
        """Why no job can start on any GPU, in words; None while one can."""
        if self.open:
            return None
        return "; ".join(each.words for each in self.shut) or "no GPU was found"

    @property
    def passes(self) -> bool:
        """Whether waiting may open a GPU."""
        return bool(self.open) or any(each.passes for each in self.shut)


def judge(
    report: GpuReport,
    need: MemoryNeed,
    rules: GateRules,
    past: Past,
    *,
    now_s: float,
    worker_runs: bool,
) -> tuple[Judgement, Past]:
    """Return what may be used, and what to hand to the next judgement.

    ``worker_runs``: a worker of ours is there. Where the driver then names none of our processes (in some
    containers), what it holds is not counted as somebody else's.
    """
    hot = frozenset(gpu.uuid for gpu in report.gpus if _hot(gpu, rules, past))
    seen_at = {
        gpu.uuid: now_s if _computing(gpu) else past.others_seen_at[gpu.uuid]
        for gpu in report.gpus
        if _computing(gpu) or gpu.uuid in past.others_seen_at
    }
    present = Past(hot, seen_at)
    unseen = worker_runs and not any(gpu.own_memory_bytes for gpu in report.gpus)
    room = {gpu.uuid: _room_bytes(gpu, unseen=unseen) for gpu in report.gpus}
    shut: list[Shut] = []
    for gpu in report.gpus:
        shut += _against(gpu, need, rules, present, now_s=now_s, room_bytes=room[gpu.uuid])
    shut_gpus = {each.gpu for each in shut}
    usable = tuple(gpu.uuid for gpu in report.gpus if gpu.uuid not in shut_gpus)
    return Judgement(usable, (*_faults(report, need), *shut), room), present


def _faults(report: GpuReport, need: MemoryNeed) -> Iterator[Shut]:
    for fault in report.faults:
        why = (
            "" if report.gpus or fault.kind is FaultKind.NOT_READ else f"profile {need.profile} needs a GPU: "
        )
        yield Shut(Cause.FAULT, f"{why}{fault}")


def _against(
    gpu: GpuInfo, need: MemoryNeed, rules: GateRules, present: Past, *, now_s: float, room_bytes: int
) -> list[Shut]:
    told = f"{gpu.label} "
    found = [
        (Cause.MIG, gpu.mig_enabled is True, _mig),
        (Cause.TOO_SMALL, gpu.memory_total_bytes < need.bytes, _too_small),
        (Cause.RECOVERY, gpu.recovery is not None, _recovery),
        (Cause.XID, gpu.xid is not None and gpu.xid.fatal, _xid),
        (Cause.ECC, bool(gpu.ecc_uncorrected_errors), _ecc),
    ]
    lasting = [Shut(cause, told + words(gpu, need), gpu.uuid) for cause, holds, words in found if holds]
    if lasting:
        return lasting
    passing = []
    if gpu.uuid in present.hot:
        passing.append(Shut(Cause.HOT, told + _heat(gpu, rules), gpu.uuid))
    last_seen = present.others_seen_at.get(gpu.uuid)
    if rules.yield_to_others and last_seen is not None and now_s - last_seen <= rules.resume_after_s:
        passing.append(Shut(Cause.OTHERS, told + _left_to_others(gpu, rules, now_s - last_seen), gpu.uuid))
    elif room_bytes < need.bytes:
        passing.append(Shut(Cause.MEMORY, told + _short(gpu, need, room_bytes), gpu.uuid))
    return passing


def _mig(gpu: GpuInfo, _: MemoryNeed) -> str:
    return (
        "is in MIG mode, and a part of a GPU gives other bits than a whole one: "
        f"`nvidia-smi -i {gpu.index} -mig 0`, then start the node again"
    )


def _too_small(gpu: GpuInfo, need: MemoryNeed) -> str:
    return (
        f"has {gpu.memory_total_bytes / 1e9:.1f} GB of memory and "
        f"{need.words(gpu.memory_total_bytes)}: {need.remedy}"
    )


def _recovery(gpu: GpuInfo, _: MemoryNeed) -> str:
    return f"cannot be used before the driver's own remedy is carried out: {gpu.recovery}"


def _xid(gpu: GpuInfo, _: MemoryNeed) -> str:
    error = gpu.xid
    return "" if error is None else f"reported Xid {error.number} ({error.meaning}): {error.remedy}"


def _ecc(gpu: GpuInfo, _: MemoryNeed) -> str:
    return (
        f"had {gpu.ecc_uncorrected_errors} memory errors that ECC cannot correct since the driver came up: "
        "its results cannot be trusted: stop the node, run `nvidia-smi -r` or reboot, then start it again"
    )


def _heat(gpu: GpuInfo, rules: GateRules) -> str:
    limit = rules.pauses_above(gpu)
    if limit is None or gpu.temperature_c is None:
        return "was too hot and does not tell its temperature any more: `nvidia-smi`"
    return (
        f"is at {gpu.temperature_c} °C and pauses above {limit} (gpu.pause_above_c) until it is at "
        f"{rules.resumes_at(limit)}: if it stays hot, check its fans and the room"
    )


def _left_to_others(gpu: GpuInfo, rules: GateRules, gone_s: float) -> str:
    after = f"it goes on {rules.resume_after_s:g} s after that ended"
    if (names := _told(_others(gpu))) is not None:
        return f"is left to {names} (gpu.yield_to_others): {after}"
    return f"was left to others until {gone_s:.0f} s ago (gpu.yield_to_others): {after}"


def _short(gpu: GpuInfo, need: MemoryNeed, room_bytes: int) -> str:
    left = f"has {room_bytes / 1e9:.1f} GB left for this node and {need.words(room_bytes)}"
    holders = sorted(gpu.other_processes, key=lambda each: -(each.memory_bytes or 0))
    if (names := _told(holders)) is not None:
        return f"{left}: end {names}"
    return f"{left}, and the driver does not name who holds the rest: see `nvidia-smi` outside the container"


def _told(processes: Iterable[object]) -> str | None:
    names = [str(each) for each in processes]
    more = f" and {len(names) - _TOLD_PROCESSES} more" if len(names) > _TOLD_PROCESSES else ""
    return ", ".join(names[:_TOLD_PROCESSES]) + more if names else None


def _others(gpu: GpuInfo) -> list[object]:
    # A desktop draws all day on the card it is shown by; only what computes competes.
    return [process for process in gpu.other_processes if process.computes]


def _computing(gpu: GpuInfo) -> bool:
    return bool(_others(gpu))


def _hot(gpu: GpuInfo, rules: GateRules, past: Past) -> bool:
    limit = rules.pauses_above(gpu)
    was_hot = gpu.uuid in past.hot
    if limit is None or gpu.temperature_c is None:
        return was_hot
    return gpu.temperature_c > (rules.resumes_at(limit) if was_hot else limit)


def _room_bytes(gpu: GpuInfo, *, unseen: bool) -> int:
    others = sum(process.memory_bytes or 0 for process in gpu.other_processes)
    if unseen or gpu.own_memory_bytes is None:
        return max(0, gpu.memory_total_bytes - others)
    return min(gpu.memory_total_bytes, gpu.memory_free_bytes + gpu.own_memory_bytes)

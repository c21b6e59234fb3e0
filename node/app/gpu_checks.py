"""What ``sdv-node doctor`` says of the GPUs: each card, what is against using it, and the hours."""

import time
from collections.abc import Callable
from pathlib import Path

from node.app.checks import Check, problem
from node.app.gpu_need import configured_need, judged_once, worker_uid
from node.app.gpus import OwnProcesses
from node.config import Config
from node.errors import NodeError
from node.gpu.gate import Judgement
from node.gpu.hours import Hours
from node.gpu.probe import NvmlSession
from node.gpu.processes import descends_from
from node.gpu.readings import GpuInfo, GpuReport
from node.gpu.watch import Session, read_once

_TOLD_PROCESSES = 5
_ONLY_TINY = "only profiles on the processor, like tiny, run without one"


async def read_gpus(config: Config, session: Session | None = None) -> GpuReport:
    """Read the GPUs once; a node that runs here is not somebody else on them."""
    return await read_once(session or NvmlSession(ours=_ours(config)))


def check_gpus(config: Config, report: GpuReport, now: float | None = None) -> list[Check]:
    """Are there GPUs, is nothing against using them, and are they lent ``now`` (wall time, seconds)?"""
    try:
        needed = configured_need(config) is not None
        # Where a container hides whose memory it is, a node that runs is given the benefit of the doubt.
        judgement = judged_once(config, report, worker_runs=node_process(config.node.directory) is not None)
    except NodeError:
        # The profile's own check tells what is wrong with it.
        needed, judgement = False, None
    found = []
    for fault in report.faults:
        # Workers under another user may see what this process does not.
        bad = needed and not report.gpus and not config.worker.sockets
        found.append(problem("gpu", str(fault)) if bad else Check("gpu", "warning", str(fault), _ONLY_TINY))
    found += [_check_card(gpu, judgement) for gpu in report.gpus]
    return [*found, *_check_hours(config, time.time() if now is None else now)]


def _check_card(gpu: GpuInfo, judgement: Judgement | None) -> Check:
    reasons = () if judgement is None else judgement.reasons(gpu.uuid)
    if not reasons:
        # An error that did not shut the card is still worth a look.
        heard = "" if gpu.xid is None else f", Xid {gpu.xid.number}: {gpu.xid.meaning}"
        return Check("gpu", "ok", _described(gpu) + heard)
    told = "; ".join(reason.words for reason in reasons)
    if any(not reason.passes for reason in reasons):
        return problem("gpu", _described(gpu), told)
    return Check("gpu", "warning", _described(gpu), told)


def _described(gpu: GpuInfo) -> str:
    """Return one line on a card: what it is, what is free, how it is."""
    memory = f"{gpu.memory_free_bytes / 2**30:.1f} of {gpu.memory_total_bytes / 2**30:.1f} GiB free"
    driver = " ".join(
        f"{name} {version}"
        for name, version in (("driver", gpu.driver_version), ("CUDA", gpu.cuda_version))
        if version
    )
    others = ", ".join(process.named for process in gpu.other_processes[:_TOLD_PROCESSES])
    more = len(gpu.other_processes) - _TOLD_PROCESSES
    parts = (
        f"{gpu.label}",
        memory,
        None if gpu.temperature_c is None else f"{gpu.temperature_c} °C",
        driver or None,
        None if gpu.ecc_uncorrected_errors is None else f"ECC {gpu.ecc_uncorrected_errors}",
        "MIG on" if gpu.mig_enabled else None,
        f"throttled: {', '.join(gpu.throttle_reasons)}" if gpu.throttle_reasons else None,
        f"beside it {others}{f' and {more} more' if more > 0 else ''}" if others else "no other process",
    )
    return ", ".join(filter(None, parts))


def _check_hours(config: Config, now: float) -> list[Check]:
    if not config.gpu.hours:
        return []
    hours = Hours(config.gpu.windows)
    change = hours.changes_at(now)
    until = "" if change is None else f" until {hours.clock_at(change)}"
    listed = ", ".join(config.gpu.hours)
    if hours.open_at(now):
        return [Check("gpu hours", "ok", f"{listed}: jobs are taken{until}")]
    return [Check("gpu hours", "warning", f"{listed}: no job is taken{until}", "set gpu.hours")]


def _ours(config: Config) -> Callable[[int], bool]:
    own, node = OwnProcesses(worker_uid(config.worker)), node_process(config.node.directory)
    return lambda pid: own(pid) or (node is not None and descends_from(pid, node))


def node_process(directory: Path) -> int | None:
    """Return the process of the node that runs in this data directory, if the lock names one that lives."""
    try:
        pid = int((directory / "lock").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return pid if Path(f"/proc/{pid}").exists() else None

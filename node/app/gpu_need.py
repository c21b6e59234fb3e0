"""What a profile asks of a GPU, and the operator's rules for GPUs, in the words of the gate."""

import pwd

from node.clock import SystemClock
from node.config import Config, WorkerSection
from node.gpu.gate import GateRules, Judgement, Past, judge
from node.gpu.need import MemoryNeed
from node.gpu.readings import GpuReport
from node.gpu_settings import GpuSection
from node.pipeline.profiles import Profile, load_profile
from node.worker.fake import asks_for_gpu, is_fake

FAKE_BYTES = 22 * 10**9


def need_of(profile: Profile) -> MemoryNeed | None:
    """Return what jobs of a profile take of a GPU; None for one that computes on the processor."""
    if profile.device != "cuda":
        return None
    stages = {stage: round(size * 1e9) for stage, size in profile.stages_gb}
    swaps = profile.residency == "resident" and 0 < profile.swapped_memory_gb < profile.memory_gb
    return MemoryNeed(
        profile.name,
        stages or {"": max(1, round(profile.memory_gb * 1e9))},
        'set worker.residency to "swapped"' if swaps else "set worker.profile to one that fits",
    )


def configured_need(config: Config) -> MemoryNeed | None:
    """Return what the configured profile takes of a GPU; None for one on the processor.

    Raises Misconfigured if there is no such profile.
    """
    worker = config.worker
    if worker.backend == "ray":
        # The cards of a fleet are its hosts': Ray gives each worker one of its own.
        return None
    if is_fake(worker.profile):
        return MemoryNeed(worker.profile, {"fake": FAKE_BYTES}) if asks_for_gpu(worker.profile) else None
    return need_of(load_profile(worker.profile).placed(worker.residency))


def worker_uid(section: WorkerSection) -> int | None:
    """Return the user of the workers that somebody starts for this node, None if it has none of its own."""
    if not section.sockets or not section.user:
        return None
    try:
        return pwd.getpwnam(section.user).pw_uid
    except KeyError:
        return None


def rules_of(settings: GpuSection) -> GateRules:
    """Return the operator's rules for the gate."""
    return GateRules(
        settings.pause_above_c, settings.resume_below_c, settings.yield_to_others, settings.resume_after_s
    )


def judged_once(config: Config, report: GpuReport, *, worker_runs: bool = False) -> Judgement | None:
    """Return what a single reading says for the configured profile; None if it needs no GPU."""
    need = configured_need(config)
    if need is None:
        return None
    now_s = SystemClock().monotonic()
    return judge(report, need, rules_of(config.gpu), Past(), now_s=now_s, worker_runs=worker_runs)[0]

"""Faults that a prompt asks of the fake renderer, so that supervision is tested without a broken GPU.

A word ``fault:KIND``, ``fault:KIND-once`` or ``fault:KIND@STAGE`` (or both) has it happen at a stage, each
time or the first time only.
"""

import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from node.errors import JobFailed, OutOfMemory
from node.worker.deaths import EncoderDied

HANG_S = 3600.0
MARK = "fault-happened"
_WORD = re.compile(r"fault:([a-z]+)(-once)?(?:@(start|still|frames|encoded|result))?")
_USUAL_STAGES = {"taken": "start", "encoder": "encoded", "garbage": "result"}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is to happen where."""

    kind: str
    stage: str
    once: bool

    def due(self, stage: str, job_dir: Path) -> bool:
        """Whether it is to happen now; what happens once leaves a mark in the job's folder."""
        if stage != self.stage:
            return False
        mark = job_dir / MARK
        if self.once and mark.exists():
            return False
        mark.touch()
        return True


def faults_of(prompt: str) -> tuple[Fault, ...]:
    """Return what a prompt asks for."""
    found = [match for word in prompt.split(" ") if (match := _WORD.fullmatch(word))]
    return tuple(
        Fault(match[1], match[3] or _USUAL_STAGES.get(match[1], "still"), bool(match[2])) for match in found
    )


def strike(faults: tuple[Fault, ...], stage: str, job_dir: Path) -> None:
    """Have happen what is due. Raises what the fault is, or does not return."""
    for fault in faults:
        if fault.due(stage, job_dir):
            _strike(fault.kind)


def spoils_result(faults: tuple[Fault, ...], job_dir: Path) -> bool:
    """Whether the result is to be garbage."""
    return any(fault.kind == "garbage" and fault.due("result", job_dir) for fault in faults)


def _strike(kind: str) -> None:
    match kind:
        case "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segv":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "freeze":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "hang":
            time.sleep(HANG_S)
        case "cuda":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        case "memory":
            raise OutOfMemory("it ran out", needed_bytes=2 * 10**9, free_bytes=10**9, stage="fake")
        case "taken":
            raise OutOfMemory("others hold the memory", needed_bytes=2 * 10**9, free_bytes=10**9)
        case "refuse":
            raise JobFailed("the prompt asked for a refusal")
        case "disk":
            raise OSError("the prompt asked for a broken disk")
        case "encoder":
            raise EncoderDied("while it wrote clip 1, the encoder was killed by signal 11")

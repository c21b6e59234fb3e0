"""A node that kills itself at one durable boundary, exactly: just before or just after a journal write.

    python tests/chaos/crashing_node.py CONFIG JOB BOUNDARY

BOUNDARY is ``before:`` or ``after:`` and a phase (the commit in which the job enters it), or one of
``reserve``, ``record`` and ``settle`` with an effect, e.g. ``after:record:propose``.
"""

import os
import signal
import sys

from node.cli.main import main
from node.journal.journal import Journal
from node.journal.transactions import TransactionLog


def arm(job_id: str, boundary: str) -> None:
    when, _, what = boundary.partition(":")

    def die(moment: str, name: str) -> None:
        if (moment, name) == (when, what):
            os.kill(os.getpid(), signal.SIGKILL)

    commit = Journal.commit

    async def crashing_commit(self, batch):
        phases = [entry.job.phase.value for entry in batch.entries if entry.job.job_id == job_id]
        for phase in phases:
            die("before", phase)
        await commit(self, batch)
        for phase in phases:
            die("after", phase)

    Journal.commit = crashing_commit

    def wrap(method_name: str, label: str) -> None:
        method = getattr(TransactionLog, method_name)

        async def crashing(self, intent_id, *arguments):
            name = f"{label}:{intent_id.split(':')[1]}" if intent_id.startswith(f"{job_id}:") else ""
            die("before", name)
            result = await method(self, intent_id, *arguments)
            die("after", name)
            return result

        setattr(TransactionLog, method_name, crashing)

    wrap("reserve", "reserve")
    wrap("record_attempt", "record")
    wrap("settle", "settle")


if __name__ == "__main__":
    arm(sys.argv[2], sys.argv[3])
    main(["--config", sys.argv[1], "start"])

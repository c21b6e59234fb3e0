"""A requester that kills itself after a step: settings file, provider, name of the step."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from node.app.parties import requester
from node.config import load
from node.observe.logging import configure_logging
from node.requester.steps import Started

MODULE = "sdv-pipeline:v1.1-lilypad2"
STORY = ["Started", "JobPosted", "Chosen", "Hired", "DealAgreed", "ResultSubmitted", "Verified", "Accepted"]
INPUTS = ("Prompt=a fox", "Steps=5", "VideoSteps=5")


async def hire(settings: dict, provider: str, last: str) -> None:
    def on_step(step) -> None:
        if isinstance(step, Started):
            sys.stdout.write(step.run_id + "\n")
            sys.stdout.flush()
        # A provider can be quicker than the step that tells of waiting for it: then the next one is the last.
        if type(step).__name__ in STORY[STORY.index(last) :]:
            os.kill(os.getpid(), signal.SIGKILL)

    async with requester(load(environment={}, overrides=settings), on_step=on_step) as party:
        await party.request(MODULE, INPUTS, provider)


if __name__ == "__main__":
    configure_logging("console", "error")
    asyncio.run(hire(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2], sys.argv[3]))

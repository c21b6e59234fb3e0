"""Parameter sets drawn from a seed, and every pair of sampler and schedule once."""

import random
from collections.abc import Iterator

from node.job.spec import SAMPLERS, SCHEDULERS, JobSpec, parse_inputs

MODULE = "sdv-pipeline:v1.1-lilypad2"
WORDS = ("fox", "lake", "(snow:1.3)", "a ship", "((night))", "gold", "rain", "[fog]", "of glass", "1970s")
FEW = {"Steps": "5", "VideoSteps": "5"}
QUICK_SAMPLERS = tuple(name for name in SAMPLERS if name not in {"dpm_adaptive", "heunpp2"})
"""Without those that take far more evaluations than they have steps."""

CHEATED = parse_inputs(
    MODULE, {"Prompt": "a ship of glass", "Steps": "7", "VideoSteps": "7", "Sampler": "dpmpp_2m"}
)
"""A job of which each cheat gives another one: no input has the value that a cheat would give it."""


def drawn(seed: int, count: int) -> Iterator[JobSpec]:
    """Yield jobs of few steps that differ in everything else."""
    chance = random.Random(seed)
    for _ in range(count):
        inputs = {
            "Prompt": " ".join(chance.sample(WORDS, 4)),
            "Seed": str(chance.randrange(2**64)),
            "VideoSeed": str(chance.randrange(2**64)),
            "Steps": str(chance.randint(5, 7)),
            "VideoSteps": str(chance.randint(5, 7)),
            "Sampler": chance.choice(QUICK_SAMPLERS),
            "VideoSampler": chance.choice(QUICK_SAMPLERS),
            "Scheduler": chance.choice(SCHEDULERS),
            "VideoScheduler": chance.choice(SCHEDULERS),
            "Framerate": str(chance.randint(1, 20)),
            "Batching": chance.choice(("1", "1", "1", "2")),
        }
        yield parse_inputs(MODULE, inputs)


def every_pair() -> Iterator[JobSpec]:
    """Yield a job for each pair of a sampler and a schedule, of the still and of the clip."""
    for sampler in SAMPLERS:
        for scheduler in SCHEDULERS:
            names = {"Sampler": sampler, "Scheduler": scheduler}
            inputs = FEW | names | {f"Video{name}": value for name, value in names.items()}
            yield parse_inputs(MODULE, {"Prompt": "a lake"} | inputs)

"""One fraction for a whole job: it begins at nothing, never falls and ends at one."""

import pytest

from node.job.spec import parse_inputs
from node.pipeline.meter import Meter


def run(spec, seen):
    """Call what a renderer calls, in its order."""
    meter = Meter(spec, seen.append)

    def through(step, steps):
        for done in range(1, steps + 1):
            step(done, steps)

    through(meter.still(), spec.steps)
    through(meter.still_decode(), 1)
    meter.artifact("work/still.png")
    for _ in range(spec.batching):
        through(meter.clip(), spec.video_steps)
        through(meter.clip_decode(), 1)
    through(meter.encode(), spec.batching)


@pytest.mark.parametrize("inputs", [[], ["Batching=8", "Steps=200", "VideoSteps=5"], ["Steps=5"]])
def test_the_fraction_rises_from_the_first_step_to_one(inputs):
    seen = []
    spec = parse_inputs("sdv-pipeline", inputs)
    run(spec, seen)
    fractions = [progress.fraction for progress in seen]
    assert fractions[0] == 0
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    begun = [progress.stage for progress in seen if progress.step == 0]
    clips = ["clip", "clip decode"] * spec.batching
    assert begun == ["still", "still decode", *clips, "encode"]


def test_an_artifact_is_told_where_the_job_stands():
    seen = []
    run(parse_inputs("sdv-pipeline", []), seen)
    (index,) = (index for index, progress in enumerate(seen) if progress.artifact)
    assert seen[index].artifact == "work/still.png"
    assert (seen[index].stage, seen[index].fraction) == (seen[index - 1].stage, seen[index - 1].fraction)

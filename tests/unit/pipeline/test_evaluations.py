"""The counts that a job is reckoned by are those of the samplers and schedules that compute it."""

import pytest
import torch

from node.job.evaluations import (
    MOST_EVALUATIONS_PER_STEP,
    evaluations,
    evaluations_until,
    is_counted,
    sampler_steps,
)
from node.job.tunables import SAMPLERS, SCHEDULERS
from node.pipeline import samplers, schedules
from node.pipeline.noise import Noise
from node.pipeline.sampling import SDXL
from tests.oracles.denoisers import gaussian

COUNTED = [sampler for sampler in SAMPLERS if is_counted(sampler)]


@pytest.mark.parametrize("sampler", COUNTED)
@pytest.mark.parametrize(("scheduler", "steps"), [("normal", 5), ("ddim_uniform", 7), ("karras", 12)])
def test_each_step_takes_the_evaluations_it_is_reckoned_at(sampler, scheduler, steps):
    sigmas = schedules.sigmas(scheduler, steps, SDXL, sampler)
    noise = Noise(7)
    count = 0
    reported = []

    def denoise(x, sigma):
        nonlocal count
        count += 1
        return gaussian(x, sigma)

    def callback(done, levels):
        reported.append((count, evaluations_until(sampler, done, levels)))

    x = SDXL.start(noise.initial((1, 4, 4, 4)), sigmas)
    with torch.inference_mode():
        samplers.sample(sampler, denoise, x, sigmas, noise, callback)
    assert all(counted == reckoned for counted, reckoned in reported)
    assert count == evaluations(scheduler, sampler, steps)


@pytest.mark.parametrize("sampler", ["euler", "dpm_2", "dpm_2_ancestral", "heunpp2"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_steps_of_every_schedule_are_counted(sampler, scheduler):
    for steps in range(5, 201, 9):
        levels = len(schedules.sigmas(scheduler, steps, SDXL, sampler)) - 1
        assert sampler_steps(scheduler, sampler, steps) == levels


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_more_steps_never_take_fewer_evaluations(sampler, scheduler):
    counts = [evaluations(scheduler, sampler, steps) for steps in range(5, 201)]
    assert counts == sorted(counts)
    assert 0 < counts[-1] <= MOST_EVALUATIONS_PER_STEP * 250

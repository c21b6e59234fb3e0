"""NaN and infinite numbers end the job where they arise, with the stage and the step named."""

import math

import pytest
import torch

from node.errors import JobFailed, NotFinite
from node.pipeline import finite, samplers
from node.pipeline.noise import Noise

SIGMAS = torch.tensor([4.0, 3.0, 2.0, 1.0, 0.5, 0.0])
STEPS = len(SIGMAS) - 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_bad_number_among_many_is_found(dtype, bad):
    values = torch.zeros(2, 3, 50, 50, dtype=dtype)
    finite.check(values, "clip decode", "all 25 frames")
    values[1, 2, 30, 7] = bad
    with pytest.raises(NotFinite, match=r"^clip decode, all 25 frames: "):
        finite.check(values, "clip decode", "all 25 frames")


def test_a_step_may_be_given_as_its_number():
    with pytest.raises(NotFinite, match=r"^still, step 7: "):
        finite.check(torch.tensor([math.nan]), "still", 7)


def test_the_largest_numbers_are_finite():
    finite.check(torch.tensor([3.4e38, -3.4e38]), "still", 1)


def test_the_job_fails_and_is_not_tried_again():
    assert issubclass(NotFinite, JobFailed)


def run(denoise, sampler="euler_ancestral", on_step=lambda _done, _steps: None):
    x = torch.full((1, 4, 2, 2), 4.0)
    return finite.sample("still", sampler, denoise, x, SIGMAS, Noise(0), on_step)


def bad_from(evaluation, bad=math.nan):
    """A network whose estimates hold one bad number from this evaluation on, counted from 1."""
    count = 0

    def denoise(x, sigma):
        nonlocal count
        count += 1
        estimate = torch.zeros_like(x)
        if count >= evaluation:
            estimate[0, 1, 1, 0] = bad
        return estimate

    return denoise


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("step", [1, 2, 3, 4, 5])
def test_the_step_in_which_the_network_fails_is_named(step, bad):
    with pytest.raises(NotFinite, match=rf"^still, step {step} of 5: "):
        run(bad_from(step, bad))


@pytest.mark.parametrize("sampler", samplers.IMPLEMENTED)
def test_no_sampler_returns_latents_of_a_network_that_fails(sampler):
    with pytest.raises(NotFinite, match=r"^still, step [1-5] of 5: "):
        run(bad_from(3), sampler)


def test_an_error_of_the_sampler_s_own_gets_the_stage_and_the_step():
    def sees_for_itself(x, sigma):
        if float(sigma[0]) < 2.5:
            raise NotFinite("the error of the step is no number")
        return torch.zeros_like(x)

    with pytest.raises(NotFinite, match=r"^still, step 3 of 5: ") as caught:
        run(sees_for_itself)
    assert "error of the step" in str(caught.value.__cause__)


def test_finite_runs_are_untouched_and_every_step_is_reported():
    reported = []
    plain = samplers.sample(
        "euler_ancestral", bad_from(99), torch.full((1, 4, 2, 2), 4.0), SIGMAS, Noise(0), lambda *_: None
    )
    latents = run(bad_from(99), on_step=lambda done, steps: reported.append((done, steps)))
    assert torch.equal(latents, plain)
    assert reported == [(step, STEPS) for step in range(1, STEPS + 1)]


def test_a_network_that_fails_is_not_asked_for_the_rest_of_the_steps():
    asked = 0
    fails = bad_from(2)

    def counted(x, sigma):
        nonlocal asked
        asked += 1
        return fails(x, sigma)

    with pytest.raises(NotFinite):
        run(counted)
    assert asked == 2


def test_latents_that_the_sampler_itself_drives_beyond_all_numbers_are_refused():
    guard = finite.Guard("clip", 5)
    guard.callback(lambda _done, _steps: None)(5, 5)
    with pytest.raises(NotFinite, match=r"^clip, step 5 of 5: "):
        guard.checked(torch.tensor([3e38]) * 10)


def test_a_sampler_with_more_evaluations_than_steps_names_the_step():
    guard = finite.Guard("clip", 2)
    callback = guard.callback(lambda _done, _steps: None)
    denoise = guard.denoiser(bad_from(4))
    x, sigma = torch.zeros(1, 4, 2, 2), torch.ones(1)
    denoise(x, sigma)
    denoise(x, sigma)
    callback(1, 2)
    denoise(x, sigma)
    denoise(x, sigma)
    with pytest.raises(NotFinite, match=r"^clip, step 2 of 2: "):
        guard.checked(x)

"""Every schedule with every sampler in both models' spaces: finite latents, progress to the end."""

import pytest
import torch

from node.job.spec import SAMPLERS, SCHEDULERS
from node.pipeline import samplers, schedules
from node.pipeline.noise import Noise
from node.pipeline.sampling import SDXL, SVD
from tests.oracles import denoisers

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (1, 4, 4, 4)
STEPS = (5, 17, 50, 70, 200)
SDE = [name for name in SAMPLERS if "sde" in name]


class QuickNoise(Noise):
    """A Brownian path would take minutes here; white noise has the same size between any two levels."""

    def brownian(self, x, sigma_min, sigma_max):
        def between(a, b):
            assert sigma_min * 0.999999 <= b < a <= sigma_max * 1.000001
            return self.like(x)

        return between


def run(name, scheduler, steps, space, noise):
    sigmas = schedules.sigmas(scheduler, steps, space, name)
    x = space.start(noise.initial(SHAPE), sigmas)
    progress = []
    result = samplers.sample(
        name, denoisers.saturating, x, sigmas, noise, lambda done, of: progress.append((done, of))
    )
    case = (name, scheduler, steps)
    assert result.shape == SHAPE, case
    assert result.dtype == torch.float32, case
    assert bool(result.isfinite().all()), case
    total = len(sigmas) - 1
    counts = [done for done, _ in progress]
    assert progress[-1] == (total, total), case
    assert {of for _, of in progress} == {total}, case
    assert counts == sorted(counts), case
    return result


@pytest.mark.parametrize("space", [SDXL, SVD], ids=["sdxl", "svd"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_every_pair_gives_finite_latents_at_every_number_of_steps(name, space):
    for scheduler in SCHEDULERS:
        for steps in STEPS:
            run(name, scheduler, steps, space, QuickNoise(5))


@pytest.mark.parametrize("space", [SDXL, SVD], ids=["sdxl", "svd"])
@pytest.mark.parametrize("name", SDE)
def test_every_schedule_stays_inside_its_brownian_path(name, space):
    for scheduler in SCHEDULERS:
        run(name, scheduler, 5, space, Noise(5))


@pytest.mark.slow
@pytest.mark.parametrize("space", [SDXL, SVD], ids=["sdxl", "svd"])
@pytest.mark.parametrize("name", ["dpmpp_sde", "dpmpp_2m_sde"])
def test_a_brownian_path_serves_every_schedule_at_its_finest(name, space):
    for scheduler in SCHEDULERS:
        run(name, scheduler, 200, space, Noise(5))

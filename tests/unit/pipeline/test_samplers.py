"""What each sampler does, against closed forms and references worked out from the formulas in float64."""

import math

import pytest
import torch

from node.errors import JobFailed, NotFinite
from node.job.spec import SAMPLERS
from node.job.tunables import SAME_AS
from node.pipeline import samplers, schedules
from node.pipeline.noise import Noise
from node.pipeline.sampling import SDXL, SVD
from node.pipeline.solvers import dpm_solver
from node.pipeline.solvers.lms import multistep_weights
from tests.oracles import denoisers
from tests.oracles.watched import Watched, WatchedNoise

pytestmark = pytest.mark.usefixtures("one_thread")

STAYING = ("dpm_fast", "dpm_adaptive")
"""They end at the last level above 0."""
LISTED = [5.0, 2.0, 0.7, 0.2]


def levels(*numbers, dtype=torch.float64):
    return torch.tensor([*numbers, 0.0], dtype=dtype)


def geometric(first, last, count):
    return torch.logspace(math.log10(first), math.log10(last), count, dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "evaluations", "draws"),
    [
        ("euler", 10, 0),
        ("euler_ancestral", 10, 9),
        ("heun", 19, 0),
        ("heunpp2", 27, 0),
        ("dpm_2", 19, 0),
        ("dpm_2_ancestral", 19, 9),
        ("lms", 10, 0),
        ("dpm_fast", 10, 0),
        ("dpmpp_2s_ancestral", 19, 9),
        ("dpmpp_sde", 19, 18),
        ("dpmpp_sde_gpu", 19, 18),
        ("dpmpp_2m", 10, 0),
        ("dpmpp_2m_sde", 10, 9),
        ("dpmpp_2m_sde_gpu", 10, 9),
        ("dpmpp_3m_sde", 10, 9),
        ("dpmpp_3m_sde_gpu", 10, 9),
        ("ddpm", 10, 9),
        ("lcm", 10, 9),
    ],
)
def test_ten_steps_cost_the_evaluations_and_draws_of_the_table(name, evaluations, draws):
    denoise, noise = Watched(denoisers.saturating), WatchedNoise()
    sigmas = levels(*geometric(10, 0.1, 10).tolist())
    x = torch.ones(2, 4, 2, 2, dtype=torch.float64)
    samplers.sample(name, denoise, x, sigmas, noise)
    assert (len(denoise.seen), len(noise.drawn)) == (evaluations, draws)


def test_dpm_adaptive_costs_three_evaluations_an_attempt_and_no_noise():
    denoise, noise, attempts = Watched(denoisers.saturating), WatchedNoise(), []
    x = torch.ones(2, 4, 2, 2, dtype=torch.float64)
    samplers.sample(
        "dpm_adaptive", denoise, x, levels(10.0, 0.1), noise, lambda done, of: attempts.append((done, of))
    )
    assert len(denoise.seen) == 3 * len(attempts) > 3
    assert noise.drawn == []


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_picture_that_is_always_seen_is_what_comes_out(name):
    picture = torch.linspace(-2, 2, 16, dtype=torch.float64).reshape(1, 4, 2, 2)
    start = picture + 5.0 * torch.ones_like(picture)
    result = samplers.sample(name, lambda x, _: picture.expand_as(x), start, levels(*LISTED), WatchedNoise())
    # All slopes along the straight line to the picture are equal; those two stop where 0.2 of 5 is left.
    left = (start - picture) * 0.2 / 5.0 if name in STAYING else torch.zeros_like(start)
    assert torch.allclose(result, picture + left, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_latents_and_sigmas_that_were_given_stay_as_they_were(name):
    x, sigmas = torch.ones(1, 4, 2, 2), levels(*LISTED, dtype=torch.float32)
    kept = x.clone(), sigmas.clone()
    result = samplers.sample(name, denoisers.saturating, x, sigmas, Noise(1))
    assert result.dtype == torch.float32
    assert torch.equal(x, kept[0])
    assert torch.equal(sigmas, kept[1])


def flow(x, sigma_from, sigma_to):
    """The exact probability flow for normal data of denoisers.VARIANCE around 0."""
    variance = denoisers.VARIANCE
    return x * math.sqrt((variance + sigma_to**2) / (variance + sigma_from**2))


def centred(x, sigma):
    return x * denoisers.VARIANCE / (denoisers.VARIANCE + sigma.reshape(-1, 1) ** 2)


def observed_order(name):
    x = torch.ones(1, 1, dtype=torch.float64)
    errors = []
    # With 122 and 242 evaluations dpm_fast closes with an interval of order two, whose one error is cubic.
    for count in (121, 241):
        denoise = Watched(centred)
        sigmas = levels(*geometric(10, 0.1, count + 1).tolist())
        result = samplers.sample(name, denoise, x, sigmas, WatchedNoise())
        # The step to 0 has an error of its own, so the others are judged by where it starts.
        end = result if name == "dpm_fast" else denoise.seen[-1][1]
        errors.append(abs(float(end) - float(flow(x, 10, 0.1))))
    return math.log2(errors[0] / errors[1])


@pytest.mark.parametrize(
    ("name", "order"),
    [("euler", 1), ("heun", 2), ("heunpp2", 1), ("dpm_2", 2), ("dpmpp_2m", 2), ("dpm_fast", 3)],
)
def test_halving_the_steps_divides_the_error_by_the_power_of_the_order(name, order):
    assert observed_order(name) == pytest.approx(order, abs=0.1)


def test_the_first_step_of_lms_is_eulers_so_its_order_lies_between_two_and_four():
    assert 2 < observed_order("lms") < 4


def test_dpm_adaptive_follows_the_exact_flow_within_its_tolerance():
    x = torch.full((1, 1), 10.0, dtype=torch.float64)
    result = samplers.sample("dpm_adaptive", centred, x, levels(10.0, 0.1), WatchedNoise())
    assert float(result) == pytest.approx(float(flow(x, 10, 0.1)), rel=0.05)


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("euler_ancestral", 400),
        ("ddpm", 400),
        ("dpm_2_ancestral", 40),
        ("dpmpp_2s_ancestral", 40),
        ("dpmpp_sde", 20),
        ("dpmpp_2m_sde", 40),
        ("dpmpp_3m_sde", 40),
    ],
)
def test_with_noise_the_samples_have_the_variance_of_the_data(name, steps):
    sigmas = schedules.sigmas("karras", steps, SDXL, name)
    noise = Noise(2)
    x = SDXL.start(noise.initial((400, 50)), sigmas)
    result = samplers.sample(name, centred, x, sigmas, noise)
    # 20,000 numbers know their variance to 1 %.
    assert float(result.var()) == pytest.approx(denoisers.VARIANCE, rel=0.04)
    assert float(result.mean()) == pytest.approx(0, abs=0.03)


def test_multistep_weights_are_the_integrals_of_lagrange_polynomials():
    known, target = [2.0, 3.0, 5.0, 6.5], 0.0
    for used in range(1, 5):
        weights = multistep_weights(known[:used], target)
        for power in range(used):
            # Exact for every polynomial that so many points determine.
            integral = (target ** (power + 1) - known[0] ** (power + 1)) / (power + 1)
            summed = sum(weight * at**power for weight, at in zip(weights, known, strict=False))
            assert summed == pytest.approx(integral, rel=1e-12)
    assert multistep_weights([1.0, 2.0, 3.0, 4.0], 0.0) == pytest.approx(
        [-55 / 24, 59 / 24, -37 / 24, 9 / 24]
    )


def test_dpmpp_sde_asks_for_noise_to_the_middle_and_then_to_the_end():
    noise = WatchedNoise()
    sigmas = levels(4.0, 1.0, 0.25)
    samplers.sample("dpmpp_sde", denoisers.saturating, torch.ones(1, 4, 2, 2).double(), sigmas, noise)
    assert noise.path == (0.25, 4.0)
    assert [pytest.approx(pair) for pair in [(4, 2), (4, 1), (1, 0.5), (1, 0.25)]] == noise.asked


def test_dpmpp_sde_asks_at_levels_that_come_back_from_their_logarithms():
    noise = WatchedNoise()
    sigmas = schedules.sigmas("karras", 20, SVD, "dpmpp_sde")
    samplers.sample("dpmpp_sde", denoisers.saturating, torch.ones(1, 4, 2, 2), sigmas, noise)
    back = [float((-sigma.log()).neg().exp()) for sigma in sigmas[:-1]]
    assert [a for a, _ in noise.asked[::2]] == back[:-1]
    assert [b for _, b in noise.asked[1::2]] == back[1:]
    assert back != sigmas[:-1].tolist()


@pytest.mark.parametrize("name", ["dpmpp_2m_sde", "dpmpp_3m_sde"])
def test_the_multistep_sde_samplers_ask_from_level_to_level(name):
    noise = WatchedNoise()
    sigmas = levels(4.0, 1.0, 0.25)
    samplers.sample(name, denoisers.saturating, torch.ones(1, 4, 2, 2).double(), sigmas, noise)
    assert noise.path == (0.25, 4.0)
    assert noise.asked == [(4, 1), (1, 0.25)]


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name not in STAYING])
def test_progress_is_told_after_each_step(name):
    told = []
    x = torch.ones(1, 4, 2, 2)
    sigmas = levels(*LISTED, dtype=torch.float32)
    samplers.sample(name, denoisers.saturating, x, sigmas, Noise(1), lambda *progress: told.append(progress))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("steps", "told"), [(1, [1]), (2, [2]), (3, [2, 3]), (5, [3, 5]), (9, [3, 6, 8, 9]), (10, [3, 6, 9, 10])]
)
def test_an_interval_of_dpm_fast_counts_as_its_evaluations(steps, told):
    counts, denoise = [], Watched(denoisers.saturating)
    sigmas = levels(*geometric(10, 0.1, steps).tolist())
    x = torch.ones(1, 4, 2, 2, dtype=torch.float64)
    samplers.sample("dpm_fast", denoise, x, sigmas, WatchedNoise(), lambda done, _: counts.append(done))
    assert counts == told
    assert len(denoise.seen) == steps


def test_progress_of_dpm_adaptive_is_the_share_of_log_sigma_behind_it():
    told, denoise = [], Watched(denoisers.gaussian)
    sigmas = schedules.sigmas("karras", 50, SVD, "dpm_adaptive")
    x = SVD.start(Noise(1).initial((1, 4, 4, 4)), sigmas)
    samplers.sample("dpm_adaptive", denoise, x, sigmas, Noise(1), lambda done, _: told.append(done))
    span = math.log(float(sigmas[0]) / float(sigmas[-2]))
    starts = [sigma for sigma, _ in denoise.seen[::3]]
    # An attempt that was accepted shows in where the next one starts.
    shares = [50 * math.log(float(sigmas[0]) / start) / span for start in starts[1:]]
    assert [abs(done - share) < 1.001 for done, share in zip(told, shares, strict=False)] == [True] * len(
        shares
    )
    assert told == sorted(told)
    assert told[-1] == 50


def test_dpm_adaptive_stops_at_once_when_its_latents_are_not_finite():
    denoise = Watched(lambda x, _: torch.full_like(x, math.nan))
    with pytest.raises(NotFinite, match="dpm_adaptive"):
        samplers.sample("dpm_adaptive", denoise, torch.ones(1, 4, 2, 2), levels(5.0, 0.1), Noise(1))
    assert len(denoise.seen) == 3


def test_dpm_adaptive_gives_up_on_a_network_that_never_agrees_with_itself():
    generator = torch.Generator().manual_seed(0)

    def denoise(x, _):
        return 1e6 * torch.randn(x.shape, generator=generator)

    with pytest.raises(JobFailed, match="shrunk to nothing"):
        samplers.sample(
            "dpm_adaptive", denoise, torch.ones(1, 4, 2, 2), levels(5.0, 0.1, dtype=torch.float32), Noise(1)
        )


def test_dpm_adaptive_tries_a_bounded_number_of_steps(monkeypatch):
    monkeypatch.setattr(dpm_solver, "MAX_ATTEMPTS", 4)
    denoise = Watched(denoisers.gaussian)
    with pytest.raises(JobFailed, match="in 4 attempts"):
        samplers.sample("dpm_adaptive", denoise, torch.ones(1, 4, 2, 2), levels(500.0, 0.1), Noise(1))
    assert len(denoise.seen) == 12


@pytest.mark.parametrize(
    ("x", "sigmas", "told"),
    [
        (torch.ones(1, 4), torch.tensor([1.0]), "do not fall"),
        (torch.ones(1, 4), torch.tensor([]), "do not fall"),
        (torch.ones(1, 4), torch.tensor(1.0), "do not fall"),
        (torch.ones(1, 4), torch.tensor([2.0, 1.0]), "do not fall"),
        (torch.ones(1, 4), torch.tensor([1.0, 2.0, 0.0]), "do not fall"),
        (torch.ones(1, 4), torch.tensor([1.0, 0.0, 0.0]), "do not fall"),
        (torch.ones(1, 4), torch.tensor([math.nan, 1.0, 0.0]), "do not fall"),
        (torch.ones(1, 4), torch.tensor([math.inf, 1.0, 0.0]), "do not fall"),
        (torch.ones(1, 4).half(), torch.tensor([1.0, 0.0]), "float16"),
        (torch.tensor(1.0), torch.tensor([1.0, 0.0]), "rows"),
    ],
)
def test_what_cannot_be_sampled_is_refused(x, sigmas, told):
    with pytest.raises(JobFailed, match=told):
        samplers.sample("euler", denoisers.saturating, x, sigmas, Noise(0))


def test_an_unknown_sampler_is_refused_with_the_known_ones():
    with pytest.raises(JobFailed, match="euler_ancestral") as caught:
        samplers.sample("magic", denoisers.saturating, torch.ones(1, 4), torch.tensor([1.0, 0.0]), Noise(0))
    assert all(name in str(caught.value) for name in (*SAMPLERS, *SAME_AS))


def test_the_ancestral_split_conserves_variance():
    down, up = samplers.ancestral_split(torch.tensor(4.0), torch.tensor(2.0))
    assert float(up) == pytest.approx(math.sqrt(4 * (16 - 4) / 16))
    assert float(down) == pytest.approx(1.0)
    assert [float(part) for part in samplers.ancestral_split(torch.tensor(4.0), torch.tensor(0.0))] == [0, 0]


def test_euler_ancestral_step_by_step():
    class Counted(WatchedNoise):
        def like(self, x):
            self.drawn.append(x)
            return torch.full_like(x, float(len(self.drawn)))

    denoise, noise, told = Watched(lambda x, _: torch.full_like(x, 0.5)), Counted(), []
    result = samplers.sample(
        "euler_ancestral",
        denoise,
        torch.full((2, 1), 8.5),
        levels(4.0, 2.0),
        noise,
        lambda *p: told.append(p),
    )
    # First step: slope 2, down to 1, up sqrt(3); the last step lands on the denoised picture without noise.
    assert [(sigma, float(x[0, 0])) for sigma, x in denoise.seen] == [
        (4.0, 8.5),
        (2.0, pytest.approx(8.5 + 2 * (1 - 4) + math.sqrt(3))),
    ]
    assert len(noise.drawn) == 1
    assert told == [(1, 2), (2, 2)]
    assert result.flatten().tolist() == pytest.approx([0.5, 0.5])

"""Noise drawn ahead on a thread: the bits of noise drawn in its place, bounded, and no thread left behind."""

import itertools
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
import torch

from node.errors import JobFailed
from node.pipeline import samplers, schedules
from node.pipeline.noise import Noise
from node.pipeline.sampling import SVD
from node.pipeline.solvers import ahead
from node.pipeline.threads import flushes_denormals
from tests.oracles import denoisers

CLIP = (25, 4, 72, 128)
NOISY = (
    "euler_ancestral",
    "dpm_2_ancestral",
    "dpmpp_2s_ancestral",
    "dpmpp_sde",
    "dpmpp_2m_sde",
    "dpmpp_3m_sde",
    "ddpm",
    "lcm",
)


class Told(Exception):
    pass


class Scripted:
    """Noise whose draws are what a function of their number says."""

    def __init__(self, draw):
        self.draw, self.begun = draw, 0

    def like(self, x):
        self.begun += 1
        return self.draw(self.begun, x)

    def brownian(self, x, sigma_min, sigma_max):
        return lambda a, b: self.like(x)


def noise_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("noise")]


@pytest.fixture(autouse=True)
def no_thread_is_left_behind():
    assert noise_threads() == []
    yield
    assert noise_threads() == []


@pytest.fixture
def few(monkeypatch):
    """Small latents get the thread too."""
    monkeypatch.setattr(ahead, "FEW", 0)


@contextmanager
def in_place(draws, device):
    draws = iter(draws)
    yield lambda: next(draws)().to(device)


def run(name, *, steps=8, shape=(2, 4, 8, 8), seed=3, denoise=denoisers.saturating):
    sigmas = schedules.sigmas("karras", steps, SVD, name)
    noise = Noise(seed)
    x = SVD.start(noise.initial(shape), sigmas)
    return samplers.sample(name, denoise, x, sigmas, noise), noise


@pytest.mark.parametrize("name", NOISY)
@pytest.mark.usefixtures("few")
def test_every_sampler_ends_at_the_latents_of_noise_drawn_in_its_place(name, monkeypatch):
    found, stream = run(name)
    monkeypatch.setattr(ahead, "_ahead", in_place)
    expected, other_stream = run(name)
    assert torch.equal(found, expected)
    assert torch.equal(stream.initial((5,)), other_stream.initial((5,))), "the stream ends at the same place"


def test_normals_of_a_whole_clip_are_the_streams_next_ones():
    own, other, x = Noise(9), Noise(9), torch.zeros(CLIP)
    with ahead.normals(own, x, 5) as drawn:
        assert all(torch.equal(drawn(), other.like(x)) for _ in range(5))
    assert torch.equal(own.initial((3,)), other.initial((3,)))


def test_a_few_normals_are_drawn_in_their_place_without_a_thread():
    names, other = [], Noise(4)
    small = Scripted(lambda _, x: names.append(threading.current_thread().name) or x)
    with ahead.normals(small, torch.zeros(ahead.FEW), 1) as drawn:
        drawn()
    with ahead.normals(small, torch.zeros(ahead.FEW + 1), 1) as drawn:
        drawn()
    assert names[0] == threading.current_thread().name
    assert names[1].startswith("noise")
    with ahead.normals(Noise(4), torch.zeros(6), 2) as drawn:
        assert all(torch.equal(drawn(), other.like(torch.zeros(6))) for _ in range(2))


@pytest.mark.parametrize("threads", [1, 2])
def test_increments_of_a_whole_clip_are_those_of_a_path_asked_in_its_place(threads):
    sigmas = schedules.sigmas("karras", 25, SVD, "dpmpp_2m_sde")
    queries = list(itertools.pairwise(sigmas[:-1]))[:2]
    x, before = torch.zeros(CLIP), torch.get_num_threads()
    between = Noise(9).brownian(x, sigmas[-2], sigmas[0])
    torch.set_num_threads(threads)
    try:
        with ahead.increments(Noise(9), x, queries, sigmas[-2], sigmas[0]) as drawn:
            # The other path is asked meanwhile, so both threads compute at once.
            assert all(torch.equal(between(*query), drawn()) for query in queries)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("flush", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.usefixtures("few")
def test_the_thread_has_what_threads_set_for_themselves_as_its_caller_has_it(threads, flush):
    seen, before = [], torch.get_num_threads()

    def draw(_, x):
        seen.append((torch.get_num_threads(), flushes_denormals(), threading.current_thread().name))
        return x

    torch.set_num_threads(threads)
    torch.set_flush_denormal(flush)
    try:
        with ahead.normals(Scripted(draw), torch.zeros(2), 3) as drawn:
            for _ in range(3):
                drawn()
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)
    assert len(set(seen)) == 1
    assert seen[0][:2] == (threads, flush)
    assert seen[0][2].startswith("noise")


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.usefixtures("few")
def test_noise_is_a_tensor_of_the_callers_mode(inference):
    with torch.inference_mode(inference), ahead.normals(Noise(1), torch.zeros(2), 1) as drawn:
        assert drawn().is_inference() == inference


@pytest.mark.usefixtures("few")
def test_draws_are_made_on_the_cpu_and_brought_to_the_device_by_the_caller():
    devices = []

    def draw(_, x):
        devices.append(x.device.type)
        return torch.ones(x.shape, dtype=x.dtype)

    x = torch.zeros(2, 3, dtype=torch.float64, device="meta")
    with ahead.normals(Scripted(draw), x, 2) as drawn:
        noise = drawn()
    assert noise.device.type == "meta"
    assert (noise.shape, noise.dtype) == (x.shape, x.dtype)
    assert set(devices) == {"cpu"}


@pytest.mark.usefixtures("few")
def test_no_more_than_two_draws_wait_however_slow_the_device_is():
    taken, most = 0, 0
    quiet = threading.Event()

    def draw(number, x):
        nonlocal most
        most = max(most, number - taken)
        if number == ahead.AHEAD:
            quiet.set()
        return x

    noise = Scripted(draw)
    with ahead.normals(noise, torch.zeros(2), 50) as drawn:
        assert quiet.wait(10), "the first draws begin before anything asks for them"
        for _ in range(50):
            drawn()
            taken += 1
    assert noise.begun == 50
    # The one just handed over counts until the caller has counted it.
    assert ahead.AHEAD <= most <= ahead.AHEAD + 1


@pytest.mark.parametrize("name", ["euler_ancestral", "dpmpp_sde"])
@pytest.mark.usefixtures("few")
def test_what_a_draw_raises_is_raised_by_the_sampler(name):
    def draw(number, x):
        if number == 3:
            raise Told("no third draw")
        return x

    x = torch.ones(1, 4, 2, 2)
    with pytest.raises(Told, match="no third draw"):
        samplers.sample(
            name, denoisers.saturating, x, torch.tensor([5.0, 3.0, 2.0, 1.0, 0.5, 0.0]), Scripted(draw)
        )


def test_a_query_upwards_is_still_refused():
    low, high = torch.tensor(1.0), torch.tensor(2.0)
    with (
        ahead.increments(Noise(1), torch.zeros(2), [(low, high)], low, high) as drawn,
        pytest.raises(JobFailed, match="higher to a lower"),
    ):
        drawn()


@pytest.mark.parametrize("name", NOISY)
@pytest.mark.usefixtures("few")
def test_a_failing_network_ends_the_thread_and_drops_what_was_not_begun(name):
    calls, noise = [], Scripted(lambda _, x: x)

    def denoise(x, _):
        calls.append(1)
        if len(calls) == 3:
            raise Told("network")
        return x

    with pytest.raises(Told, match="network"):
        samplers.sample(name, denoise, torch.ones(1, 4, 2, 2), torch.linspace(30, 0, 31), noise)
    assert noise_threads() == []
    assert noise.begun <= len(calls) + ahead.AHEAD


def test_a_process_that_exits_amid_a_run_exits_as_it_was_told_to():
    script = """
import sys, torch
from node.pipeline import samplers
from node.pipeline.noise import Noise
calls = []
def denoise(x, sigma):
    calls.append(1)
    if len(calls) == 2:
        sys.exit(7)
    return x
x = torch.ones(4, 4, 64, 64)
samplers.sample("dpmpp_2m_sde", denoise, x, torch.tensor([9.0, 5.0, 2.0, 1.0, 0.5, 0.0]), Noise(1))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (7, "")

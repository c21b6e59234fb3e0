"""Jobs that take turns on one network never see each other's constants."""

import pytest
import torch

from node.pipeline.acceleration.compilation import Runner
from node.pipeline.acceleration.constants import Binding
from node.pipeline.acceleration.unets import prepare_clip_unet, prepare_still_unet
from node.pipeline.guidance import clip_denoiser, still_denoiser
from node.pipeline.text import Conditioning


def drawn(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def conditioning(seed, chunks=1):
    return Conditioning(drawn(1, 77 * chunks, 64, seed=seed), drawn(1, 32, seed=seed + 1))


STILL_JOBS = [
    {"positive": conditioning(1), "negative": conditioning(9), "batch": 1, "size": 64},
    {"positive": conditioning(3), "negative": conditioning(9), "batch": 1, "size": 128},
    {"positive": conditioning(5, chunks=2), "negative": conditioning(9), "batch": 2, "size": 64},
]
CLIP_JOBS = [
    {"vision": drawn(1, 32, seed=seed), "still_latent": drawn(1, 4, 8, 6, seed=seed + 1), "frames": frames}
    for seed, frames in ((1, 3), (3, 3), (5, 4))
]


@pytest.mark.parametrize(("first", "second"), [(0, 1), (0, 2), (2, 1)])
def test_still_denoisers_may_take_turns(stock_still, difference, first, second):
    stock, unet = stock_still(torch.float32), stock_still(torch.float32)
    prepare_still_unet(unet)
    jobs = [STILL_JOBS[first], STILL_JOBS[second]]
    shown = [(drawn(job["batch"], 4, 8, 8, seed=7), torch.full((job["batch"],), 3.0)) for job in jobs]
    expected = [still_denoiser(stock, **job)(*x) for job, x in zip(jobs, shown, strict=True)]
    denoisers = [still_denoiser(unet, **job) for job in jobs]
    for _ in range(2):
        for denoise, x, right in zip(denoisers, shown, expected, strict=True):
            assert difference(denoise(*x), right) < 1e-4


@pytest.mark.parametrize(("first", "second"), [(0, 1), (0, 2), (2, 1)])
def test_clip_denoisers_may_take_turns(stock_clip, difference, first, second):
    stock, unet = stock_clip(torch.float32), stock_clip(torch.float32)
    prepare_clip_unet(unet)
    jobs = [CLIP_JOBS[first], CLIP_JOBS[second]]
    shown = [(drawn(job["frames"], 4, 8, 6, seed=7), torch.full((job["frames"],), 3.0)) for job in jobs]
    expected = [clip_denoiser(stock, **job)(*x) for job, x in zip(jobs, shown, strict=True)]
    runner = Runner(unet, "eager")
    denoisers = [clip_denoiser(runner, **job) for job in jobs]
    for _ in range(2):
        for denoise, x, right in zip(denoisers, shown, expected, strict=True):
            assert difference(denoise(*x), right) < 1e-4


def test_constants_are_computed_once_while_nobody_else_comes(stock_still, monkeypatch):
    unet = stock_still(torch.float32)
    prepare_still_unet(unet)
    times, plain = [], type(unet).bind
    monkeypatch.setattr(type(unet), "bind", lambda self, **job: times.append(1) or plain(self, **job))
    denoise = still_denoiser(unet, **STILL_JOBS[0])
    for _ in range(3):
        denoise(drawn(1, 4, 8, 8, seed=7), torch.full((1,), 3.0))
    assert len(times) == 1


def test_addresses_change_with_the_length_of_the_text_alone(stock_still):
    unet = stock_still(torch.float32)
    prepare_still_unet(unet)
    generations = []
    for job in (0, 1, 2, 0):
        still_denoiser(unet, **STILL_JOBS[job])
        generations.append(unet.generation)
    assert generations == [1, 1, 2, 3]


def test_a_binding_that_fails_leaves_the_network_to_nobody(stock_clip):
    unet = stock_clip(torch.float32)
    prepare_clip_unet(unet)
    good = {"context": drawn(2, 1, 32, seed=1), "added_time_ids": torch.tensor([[5.0, 127.0, 0.0]])}
    binding = Binding(unet, **good, frames=3)
    with pytest.raises(ValueError, match="one token"):
        Binding(unet, **good | {"context": drawn(2, 77, 32, seed=1)}, frames=4)
    assert unet.holder is None
    binding.hold()
    assert unet.holder is binding
    assert unet.lengths == (2, 3)


def test_all_clips_of_a_batch_share_their_ids(stock_clip):
    unet = stock_clip(torch.float32)
    prepare_clip_unet(unet)
    with pytest.raises(ValueError, match="share one row"):
        Binding(unet, context=drawn(2, 1, 32, seed=1), added_time_ids=torch.zeros(2, 3), frames=3)

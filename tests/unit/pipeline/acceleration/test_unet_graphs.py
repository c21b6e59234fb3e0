"""Captured graphs give what the compiled step gives, for the job that is bound and weights as they lie."""

import pytest
import torch
from torch import nn

from node.pipeline.acceleration.compilation import Runner
from node.pipeline.acceleration.constants import Binding
from node.pipeline.acceleration.unets import StillUNet, prepare_clip_unet, prepare_still_unet

pytestmark = [pytest.mark.gpu, pytest.mark.slow, pytest.mark.filterwarnings("default")]


@pytest.fixture(autouse=True)
def card():
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")


def drawn(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to("cuda", torch.float16)


def job(seed, tokens=77):
    return {
        "context": drawn(2, tokens, 64, seed=seed),
        "text_embeds": drawn(2, 32, seed=seed),
        "time_ids": drawn(2, 6, seed=seed),
    }


@torch.inference_mode(mode=False)
def moved(make):
    return nn.Module.to(make(torch.float16), "cuda")


@pytest.fixture
def still(stock_still):
    unet = moved(stock_still)
    prepare_still_unet(unet)
    return unet


def steps(batch=1, count=3):
    return [
        (drawn(2 * batch, 4, 8, 8, seed=n), torch.full((2 * batch,), 99.0 * n).cuda()) for n in range(count)
    ]


def compiled_alone(unet, monkeypatch):
    """A runner of the same network that never captures."""
    runner = Runner(unet, "compiled")
    monkeypatch.setattr(runner, "_run", lambda *x: runner._step((x[0].shape, x[1].shape), "cuda")(*x))
    return runner


def test_jobs_of_several_batches_and_lengths_take_turns_on_replayed_steps(still, monkeypatch):
    runner, plain = Runner(still, "compiled"), compiled_alone(still, monkeypatch)
    bindings = [Binding(still, **job(1)), Binding(still, **job(2)), Binding(still, **job(3, tokens=154))]
    for _ in range(2):
        for binding in bindings:
            for batch in (1, 2):
                binding.hold()
                for x, time in steps(batch):
                    assert torch.equal(runner(x, time)[0], plain(x, time)[0])


def test_an_output_is_not_overwritten_by_the_next_replay(still):
    runner = Runner(still, "compiled")
    Binding(still, **job(1))
    outputs = [(runner(*step)[0], step) for step in steps()]
    assert all(torch.equal(output, runner(*step)[0]) for output, step in outputs)
    assert not torch.equal(outputs[0][0], outputs[1][0])


def test_weights_that_moved_are_captured_anew(still):
    runner = Runner(still, "compiled")
    Binding(still, **job(1))
    (step,) = steps(count=1)
    expected = runner(*step)[0]
    for _ in range(2):
        runner.release()
        with torch.inference_mode(mode=False):
            for weight in still.parameters():
                weight.data = weight.data.clone()
        torch.cuda.empty_cache()
        drawn(2**20)
        assert torch.equal(runner(*step)[0], expected)


def test_the_clips_step_keeps_no_graph_and_no_memory_between_calls(stock_clip):
    unet = moved(stock_clip)
    prepare_clip_unet(unet)
    runner = Runner(unet, "compiled")
    ids = torch.tensor([[5.0, 127.0, 0.0]]).to("cuda", torch.float16)
    Binding(unet, context=drawn(2, 1, 32), added_time_ids=ids, frames=3)
    x, time = drawn(2, 3, 8, 8, 6), torch.tensor(0.4).cuda()
    output = runner(x, time)[0]
    before = torch.cuda.memory_allocated()
    assert torch.equal(runner(x, time)[0], output)
    assert torch.cuda.memory_allocated() == before
    assert StillUNet.captured
    assert not type(unet).captured

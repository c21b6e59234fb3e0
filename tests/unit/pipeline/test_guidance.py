"""How the two passes through a network are combined, seen through networks that answer plainly."""

import pytest
import torch

from node.pipeline.guidance import clip_denoiser, still_denoiser
from node.pipeline.text import Conditioning


class StillNetwork:
    """Predicts the mean of its context as noise and remembers what it was shown."""

    dtype = torch.float32

    def __init__(self):
        self.shown = []

    def __call__(self, x, time, context, *, added_cond_kwargs, return_dict):
        self.shown.append((x, time, context, added_cond_kwargs))
        return (torch.ones_like(x) * context.mean(dim=(1, 2)).reshape(-1, 1, 1, 1),)


def conditioning(value, chunks=1):
    return Conditioning(torch.full((1, 77 * chunks, 6), value), torch.full((1, 5), 10 * value))


def test_the_still_is_guided_by_8():
    network = StillNetwork()
    denoise = still_denoiser(network, conditioning(0.3), conditioning(0.1), batch=2, size=256)
    x = torch.full((2, 4, 2, 2), 5.0)
    result = denoise(x, torch.tensor([2.0, 2.0]))
    # Denoised without the prompt 5 - 2 * 0.1, with it 5 - 2 * 0.3; eight times the difference.
    assert result.flatten().tolist() == pytest.approx([4.8 + 8 * (4.4 - 4.8)] * 32, rel=1e-5)
    shown, time, _, extra = network.shown[0]
    assert shown[0, 0, 0, 0] == pytest.approx(5 / 5**0.5)
    assert time.dtype == torch.float32
    assert extra["text_embeds"][:, 0].tolist() == [1.0, 1.0, 3.0, 3.0]
    assert extra["time_ids"].tolist() == [[256, 256, 0, 0, 256, 256]] * 4


def test_prompts_of_different_length_are_repeated_to_one_length():
    network = StillNetwork()
    still_denoiser(network, conditioning(0.3, chunks=3), conditioning(0.1, chunks=2), batch=1, size=256)(
        torch.zeros(1, 4, 2, 2), torch.tensor([1.0])
    )
    assert network.shown[0][2].shape == (2, 77 * 6, 6)


class ClipNetwork:
    """Predicts a v that is 1 where the still is shown and 0 where it is not."""

    dtype = torch.float32

    def __init__(self):
        self.shown = []

    def __call__(self, x, time, context, ids, *, return_dict):
        self.shown.append((x, time, context, ids))
        return (x[:, :, 4:].clone(),)


def test_the_clip_is_guided_from_1_at_its_first_frame_to_2_5_at_its_last():
    network = ClipNetwork()
    denoise = clip_denoiser(network, torch.full((1, 3), 0.5), torch.ones(1, 4, 2, 2), frames=25)
    x, sigma = torch.zeros(25, 4, 2, 2), 3.0
    result = denoise(x, torch.full((25,), sigma))
    with_still = -sigma / (1 + sigma**2) ** 0.5
    ramp = [1 + 1.5 * frame / 24 for frame in range(25)]
    assert result[:, 0, 0, 0].tolist() == pytest.approx([scale * with_still for scale in ramp], rel=1e-5)


def test_the_negative_of_the_clip_is_all_zero_and_the_still_is_never_scaled():
    network = ClipNetwork()
    still = torch.full((1, 4, 2, 2), 7.0)
    denoise = clip_denoiser(network, torch.full((1, 3), 0.5), still, frames=25)
    denoise(torch.full((25, 4, 2, 2), 10.0), torch.full((25,), 3.0))
    shown, time, context, ids = network.shown[0]
    assert shown.shape == (2, 25, 8, 2, 2)
    assert shown[:, :, :4].unique().tolist() == pytest.approx([10 / 10**0.5])
    assert float(shown[0, :, 4:].abs().max()) == 0.0
    assert shown[1, :, 4:].unique().tolist() == [7.0]
    assert context.tolist() == [[[0.0, 0.0, 0.0]], [[0.5, 0.5, 0.5]]]
    assert ids.tolist() == [[5.0, 127.0, 0.0]] * 2
    assert float(time) == pytest.approx(0.25 * 1.0986123)

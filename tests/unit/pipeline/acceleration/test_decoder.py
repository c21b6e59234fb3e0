"""The streamed decoder shows what one call over all frames shows, in a third of its memory."""

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder

from node.pipeline.acceleration.decoder import decode_clip
from node.pipeline.acceleration.vae_attention import prepare_vae
from tests.live_memory import LiveMemory


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_vae(dtype=torch.float64, layers=2):
    """A small decoder whose norms, biases and mixing factors all matter."""
    vae = AutoencoderKLTemporalDecoder(
        block_out_channels=(32, 64), layers_per_block=layers, down_block_types=["DownEncoderBlock2D"] * 2
    )
    generator = torch.Generator().manual_seed(1)
    for name, parameter in vae.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim > 1:
            parameter.data = noise / parameter[0].numel() ** 0.5
        elif "norm" in name and name.endswith("weight"):
            parameter.data = 1.0 + 0.2 * noise
        else:
            parameter.data = noise if name.endswith("mix_factor") else 0.2 * noise
    vae.eval().requires_grad_(requires_grad=False)
    return torch.nn.Module.to(vae, dtype)


def latents(frames, dtype=torch.float64):
    noise = torch.randn(frames, 4, 4, 6, generator=torch.Generator().manual_seed(2))
    return noise.to(dtype)


def stock(vae, x):
    with torch.no_grad():
        return vae.decode(x, num_frames=len(x)).sample


def error(found, expected):
    return ((found.double() - expected.double()).norm() / expected.double().norm()).item()


@pytest.mark.parametrize("frames", [1, 2, 25])
def test_is_the_decoding_of_one_call_over_all_frames(frames):
    vae, x = make_vae(), latents(frames)
    expected = stock(vae, x)
    found = decode_clip(vae, x)
    assert found.shape == (frames, 3, 8, 12)
    assert error(found, expected) < 1e-12


def test_float32_differs_by_rounding_alone():
    vae, x = make_vae(torch.float32), latents(5, torch.float32)
    exact = stock(make_vae(), latents(5))
    assert error(decode_clip(vae, x), exact) < 1e-5


def test_bfloat16_is_no_further_from_the_exact_picture_than_the_stock_decoder():
    vae, x = make_vae(torch.bfloat16), latents(5, torch.bfloat16)
    exact = stock(torch.nn.Module.to(vae, torch.float64), x.double())
    vae = torch.nn.Module.to(vae, torch.bfloat16)
    assert error(decode_clip(vae, x), exact) < 1.2 * error(stock(vae, x), exact)


@pytest.mark.parametrize("piece_elements", [1, 4_000, 20_000, 10**9])
def test_the_size_of_pieces_does_not_change_the_picture(piece_elements):
    vae, x = make_vae(), latents(7)
    assert error(decode_clip(vae, x, piece_elements=piece_elements), decode_clip(vae, x)) < 1e-13


def test_the_same_bits_every_time():
    vae, x = make_vae(torch.float32), latents(3, torch.float32)
    first = decode_clip(vae, x)
    assert all(torch.equal(decode_clip(vae, x), first) for _ in range(3))
    assert torch.equal(x, latents(3, torch.float32)), "the latents are the caller's"


def test_frames_see_their_neighbours_and_the_statistics_of_the_whole_clip():
    vae, x = make_vae(), latents(9)
    other = x.clone()
    other[8] += 1.0
    change = (decode_clip(vae, x) - decode_clip(vae, other)).flatten(1).norm(dim=1)
    assert bool((change > 1e-6).all()), "no frame is blind to the last one"


def test_one_layer_a_block_has_no_attention_in_the_middle_as_in_the_stock_class():
    vae, x = make_vae(layers=1), latents(3)
    assert error(decode_clip(vae, x), stock(vae, x)) < 1e-12


@pytest.mark.parametrize("strategy", ["learned", "learned_with_images"])
@pytest.mark.parametrize("switched", [False, True])
def test_every_way_of_mixing_is_that_of_the_stock_class_for_video_frames(strategy, switched):
    vae, x = make_vae(), latents(3)
    for module in vae.modules():
        if hasattr(module, "merge_strategy"):
            module.merge_strategy, module.switch_spatial_to_temporal_mix = strategy, switched
    assert error(decode_clip(vae, x), stock(vae, x)) < 1e-12


def test_works_with_the_row_wise_attention_and_inside_inference_mode():
    vae, x = make_vae(), latents(3)
    expected = stock(vae, x)
    prepare_vae(vae)
    with torch.inference_mode():
        assert error(decode_clip(vae, x), expected) < 1e-12


@pytest.mark.parametrize("shape", [(4, 4, 6), (0, 4, 4, 6), (2, 5, 4, 6), (1, 2, 4, 4, 6)])
def test_other_shapes_are_refused_with_what_is_allowed(shape):
    with pytest.raises(ValueError, match=r"\[F, 4, h, w\], not \["):
        decode_clip(make_vae(), torch.zeros(shape, dtype=torch.float64))


@pytest.fixture(scope="module")
def full_size():
    """The decoder of SVD-XT in bfloat16, without memory, and the latents of a clip of 1024x576."""
    with torch.device("meta"):
        vae = AutoencoderKLTemporalDecoder(
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            down_block_types=["DownEncoderBlock2D"] * 4,
        )
        x = torch.empty(25, 4, 72, 128, dtype=torch.bfloat16)
    for module in vae.modules():
        # Made on the CPU whatever the device asked for.
        if hasattr(module, "mix_factor"):
            module.mix_factor = torch.nn.Parameter(torch.empty(1, device="meta"))
    return torch.nn.Module.to(vae, torch.bfloat16).requires_grad_(requires_grad=False), x


def peak(decode):
    with LiveMemory() as memory:
        decode()
    return memory.peak


def test_needs_two_activations_of_the_clip_and_a_few_frames_at_full_size(full_size):
    vae, x = full_size
    activation = 25 * 128 * 576 * 1024 * 2
    used = peak(lambda: decode_clip(vae, x))
    assert 2 * activation < used < 2 * activation + 9 * activation / 25
    assert used < 9e9
    assert peak(lambda: stock(vae, x)) > 3.4 * used

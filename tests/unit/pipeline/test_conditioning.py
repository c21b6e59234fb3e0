"""What the UNets are told beside the latents, as it arrives inside the diffusers networks themselves."""

import math

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from node.pipeline.checkpoints.networks import build
from node.pipeline.guidance import clip_denoiser, still_denoiser
from node.pipeline.text import Conditioning
from node.pipeline.toy_configs import CONFIGS

WIDTH = 32


def emb(value):
    """Docs, pipeline 3.4: 128 cosines, then 128 sines, of ever slower frequencies."""
    angles = [value * math.exp(-math.log(10000) * k / 128) for k in range(128)]
    return [math.cos(angle) for angle in angles] + [math.sin(angle) for angle in angles]


def network(path):
    torch.manual_seed(5)
    return build(path, CONFIGS[path]).eval().requires_grad_(requires_grad=False)


def inputs_of(module, call):
    """Return the arguments that ``module`` gets while ``call`` runs."""
    seen = []
    handle = module.register_forward_pre_hook(
        lambda _module, args, kwargs: seen.append((args, kwargs)), with_kwargs=True
    )
    try:
        with torch.inference_mode():
            call()
    finally:
        handle.remove()
    return seen


@pytest.fixture(scope="module")
def still_unet():
    return network("still/unet")


@pytest.fixture(scope="module")
def clip_unet():
    return network("clip/unet")


def conditioning(seed):
    generator = torch.Generator().manual_seed(seed)
    return Conditioning(
        torch.randn(1, 77, 2 * WIDTH, generator=generator), torch.randn(1, WIDTH, generator=generator)
    )


def run_still(unet, size=1024, sigma=3.0, batch=2):
    positive, negative = conditioning(1), conditioning(2)
    denoise = still_denoiser(unet, positive, negative, batch, size)
    return denoise(torch.ones(batch, 4, 8, 8), torch.full((batch,), sigma))


def run_clip(unet, frames=3, sigma=3.0):
    vision = torch.randn(1, WIDTH, generator=torch.Generator().manual_seed(3))
    still = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(4))
    x = torch.randn(frames, 4, 8, 8, generator=torch.Generator().manual_seed(6))
    with torch.inference_mode():
        return clip_denoiser(unet, vision, still, frames)(x, torch.full((frames,), sigma))


@pytest.mark.parametrize("size", [1024, 512])
def test_the_adm_vector_is_pooled_then_size_crop_and_target_each_cosines_first(still_unet, size):
    seen = inputs_of(still_unet.add_embedding, lambda: run_still(still_unet, size))
    (rows,) = seen[-1][0]
    sizes = [number for value in (size, size, 0, 0, size, size) for number in emb(value)]
    # Negative before positive, once for each image; both are told the same sizes.
    for row, pooled in zip(rows, [conditioning(seed).pooled[0] for seed in (2, 2, 1, 1)], strict=True):
        assert row.tolist() == pytest.approx(pooled.tolist() + sizes, abs=2e-4)
    assert rows.shape == (4, WIDTH + 6 * 256)


def test_the_adm_vector_of_sdxl_is_2816_wide():
    assert 1280 + 6 * len(emb(1024)) == 2816
    assert emb(0) == [1.0] * 128 + [0.0] * 128


def test_the_still_s_time_is_a_table_index_as_cosines_and_sines(still_unet):
    # The level of index 500: the nearest of the table, whatever lies between.
    from node.pipeline.sampling import SDXL

    sigma = float(SDXL.sigmas[500]) * 1.0001
    seen = inputs_of(still_unet.time_embedding, lambda: run_still(still_unet, sigma=sigma))
    told = seen[-1][0][0][0].tolist()
    half = WIDTH // 2
    angles = [500 * math.exp(-math.log(10000) * k / half) for k in range(half)]
    assert told == pytest.approx([*map(math.cos, angles), *map(math.sin, angles)], abs=1e-4)


def test_the_clip_is_told_5_frames_a_second_a_motion_of_127_and_no_augmentation(clip_unet):
    seen = inputs_of(clip_unet.add_embedding, lambda: run_clip(clip_unet))
    (rows,) = seen[-1][0]
    expected = emb(5) + emb(127) + emb(0)
    assert len(expected) == 768
    for row in rows:
        assert row.tolist() == pytest.approx(expected, abs=2e-4)


def test_the_clip_s_time_is_a_quarter_of_the_logarithm_and_no_whole_number(clip_unet):
    seen = inputs_of(clip_unet.time_embedding, lambda: run_clip(clip_unet, sigma=3.0))
    told = seen[-1][0][0][0].tolist()
    half = WIDTH // 2
    angles = [0.25 * math.log(3.0) * math.exp(-math.log(10000) * k / half) for k in range(half)]
    assert told == pytest.approx([*map(math.cos, angles), *map(math.sin, angles)], abs=1e-6)


def test_every_frame_is_a_frame_of_a_video(clip_unet):
    block = clip_unet.down_blocks[0].resnets[0]
    ((args, kwargs),) = inputs_of(block, lambda: run_clip(clip_unet))
    flags = kwargs.get("image_only_indicator", args[-1])
    assert flags.shape == (2, 3)
    assert not flags.any()


KEPT_WIDE = ("embedding", "pre_layrnorm", "post_layernorm", "visual_projection")


def outputs_of(path, model):
    with torch.inference_mode():
        if path == "clip/image_encoder":
            pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(8))
            return model(pixel_values=pixels).image_embeds
        return model(input_ids=torch.arange(77)[None], output_hidden_states=True).hidden_states[-2]


@pytest.mark.parametrize("path", ["still/text_encoder", "still/text_encoder_2", "clip/image_encoder"])
def test_encoders_compute_in_float32_on_weights_rounded_to_half(tiny_models, tiny_directory, path):
    weights = load_file(tiny_directory / path / "model.safetensors")
    exact, rounded = network(path), network(path)
    exact.load_state_dict(weights)
    rounded.load_state_dict(
        {
            name: value if any(kept in name for kept in KEPT_WIDE) else value.half().float()
            for name, value in weights.items()
        }
    )
    loaded = {
        "still/text_encoder": tiny_models.large.model,
        "still/text_encoder_2": tiny_models.giant.model,
        "clip/image_encoder": tiny_models.vision,
    }[path]
    ours = outputs_of(path, loaded)
    assert ours.dtype == torch.float32
    assert torch.allclose(ours, outputs_of(path, rounded), rtol=0, atol=1e-6)
    assert float((ours - outputs_of(path, exact)).abs().max()) > 1e-5


def test_padding_is_the_end_token_for_l_and_0_for_g(tiny_models):
    assert tiny_models.large.padding == tiny_models.vocabulary.end
    assert tiny_models.giant.padding == 0


def corrected(unet):
    """Docs, pipeline 10.1, by hand."""
    for name, module in unet.named_modules():
        if isinstance(module, nn.GroupNorm) and "_res_block." in name:
            module.eps = 1e-5
    return unet


def test_the_video_unet_s_residual_blocks_have_the_epsilon_it_was_trained_with(tiny_models, tiny_directory):
    loaded = tiny_models.clip_unet
    weights = load_file(tiny_directory / "clip/unet/model.safetensors")
    plain, by_hand = network("clip/unet"), corrected(network("clip/unet"))
    plain.load_state_dict(weights)
    by_hand.load_state_dict(weights)
    ours = run_clip(loaded)
    assert torch.allclose(ours, run_clip(by_hand), rtol=0, atol=2e-5)
    # The diffusers class as it comes mixes 1e-6 and 1e-5, and it shows.
    assert float((ours - run_clip(plain)).abs().max()) > 5e-5


def test_outside_of_residual_blocks_no_epsilon_is_touched(tiny_models):
    unet = getattr(tiny_models.clip_unet, "unet", tiny_models.clip_unet)
    norms = {name: module.eps for name, module in unet.named_modules() if isinstance(module, nn.GroupNorm)}
    in_attention = {name: eps for name, eps in norms.items() if ".attentions." in name}
    assert in_attention
    assert set(in_attention.values()) == {1e-6}
    elsewhere = {name: eps for name, eps in norms.items() if name not in in_attention}
    assert len(elsewhere) > len(in_attention)
    assert set(elsewhere.values()) == {1e-5}
    untouched = network("clip/vae")
    assert [module.eps for module in tiny_models.clip_vae.modules() if isinstance(module, nn.GroupNorm)] == [
        module.eps for module in untouched.modules() if isinstance(module, nn.GroupNorm)
    ]

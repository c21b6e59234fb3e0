"""Networks in the layout of the published single files compute the same after translation.

The originals here are written from the published module trees and know nothing of the translation.
"""

import pytest
import torch
from diffusers.loaders import single_file_utils
from safetensors.torch import save_file

from node.pipeline.checkpoints.networks import build
from node.pipeline.checkpoints.safe import BadCheckpoint
from node.pipeline.checkpoints.single_file import open_single_file
from tests.unit.pipeline.checkpoints.sgm.blocks import waves
from tests.unit.pipeline.checkpoints.sgm.published import TINY, WORDS, randomise, sdxl, state, svd

TOLERANCE = 1e-5


class Published:
    """A single file on disk beside the originals it was saved from."""

    def __init__(self, networks, path):
        self.networks = {
            prefix: randomise(network, seed) for seed, (prefix, network) in enumerate(networks.items())
        }
        self.state = {**state(self.networks), "denoiser.sigmas": torch.linspace(0, 14, 1000)}
        self.path = path
        save_file(self.state, path)

    def translated(self, path):
        network = build(path, TINY[path])
        with open_single_file(self.path, TINY) as single:
            network.load_state_dict(dict(single.component(path).tensors()), strict=True)
        return network.eval()


@pytest.fixture(scope="module")
def still(tmp_path_factory):
    return Published(sdxl(TINY), tmp_path_factory.mktemp("sdxl") / "sd_xl_base_1.0.safetensors")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return Published(svd(TINY), tmp_path_factory.mktemp("svd") / "svd_xt.safetensors")


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.inference_mode():
        yield


def draw(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def close(found, expected):
    assert found.shape == expected.shape
    assert expected.abs().max() > 0.05
    return float((found - expected).abs().max() / expected.abs().max()) < TOLERANCE


def prompts():
    ids = torch.randint(0, WORDS - 2, (2, 77), generator=torch.Generator().manual_seed(1))
    ids[:, 0] = WORDS - 2
    ids[0, 9], ids[1, 30] = WORDS - 1, WORDS - 1
    return ids


def test_sdxl_clip_l_text(still):
    penultimate, final = still.networks["conditioner.embedders.0.transformer."](prompts())
    output = still.translated("still/text_encoder")(input_ids=prompts(), output_hidden_states=True)
    assert close(output.hidden_states[-2], penultimate)
    assert close(output.last_hidden_state, final)


def test_sdxl_bigg_text(still):
    penultimate, pooled = still.networks["conditioner.embedders.1.model."](prompts())
    output = still.translated("still/text_encoder_2")(input_ids=prompts(), output_hidden_states=True)
    assert close(output.hidden_states[-2], penultimate)
    assert close(output.text_embeds, pooled)


def test_sdxl_unet(still):
    x, times, context = draw(2, 4, 8, 8), torch.tensor([999.0, 3.0]), draw(2, 77, 80)
    pooled, sizes = draw(2, 48), torch.tensor([[64.0, 72, 0, 8, 64, 80], [8, 16, 24, 32, 40, 48]])
    vector = torch.cat([pooled, waves(sizes, 8).flatten(1)], dim=1)
    expected = still.networks["model.diffusion_model."](x, times, context, vector)
    (found,) = still.translated("still/unet")(
        x, times, context, added_cond_kwargs={"text_embeds": pooled, "time_ids": sizes}, return_dict=False
    )
    assert close(found, expected)


def test_sdxl_vae(still):
    original, translated = still.networks["first_stage_model."], still.translated("still/vae")
    pixels, latents = draw(1, 3, 32, 48), draw(1, 4, 4, 6)
    assert close(translated.encode(pixels).latent_dist.parameters, original.encode(pixels))
    assert close(translated.decode(latents).sample, original.decode(latents))


@pytest.mark.parametrize("path", ["still/unet", "still/vae", "still/text_encoder_2"])
def test_diffusers_translates_sdxl_to_the_same_tensors(still, path):
    checkpoint = dict(still.state)
    network = build(path, TINY[path])
    if path == "still/unet":
        expected = single_file_utils.convert_ldm_unet_checkpoint(checkpoint, dict(network.config))
    elif path == "still/vae":
        expected = single_file_utils.convert_ldm_vae_checkpoint(checkpoint, dict(network.config))
    else:
        prefix = "conditioner.embedders.1.model."
        expected = single_file_utils.convert_open_clip_checkpoint(network, checkpoint, prefix)
    found = still.translated(path).state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, expected[name].reshape(tensor.shape)), name


def test_svd_vision(clip):
    pixels = draw(2, 3, 28, 28)
    expected = clip.networks["conditioner.embedders.0.open_clip.model."].visual(pixels)
    assert close(clip.translated("clip/image_encoder")(pixel_values=pixels).image_embeds, expected)


def test_svd_unet_for_two_videos_of_different_context(clip):
    videos, frames = 2, 3
    x, times = draw(videos, frames, 8, 8, 8), torch.tensor([1.6, -0.4])
    context, numbers = draw(videos, 1, 24), torch.tensor([[5.0, 127, 0], [7, 30, 0.5]])
    every = lambda rows: rows.repeat_interleave(frames, dim=0)  # noqa: E731
    expected = clip.networks["model.diffusion_model."](
        x.flatten(0, 1), every(times), every(context), every(waves(numbers, 8).flatten(1)), frames
    )
    unet = clip.translated("clip/unet")
    for name, module in unet.named_modules():
        # The class gives some of these another epsilon than the one they were trained with.
        if isinstance(module, torch.nn.GroupNorm) and "_res_block." in name:
            module.eps = 1e-5
    (found,) = unet(x, times, context, numbers, return_dict=False)
    assert close(found, expected.unflatten(0, (videos, frames)))


def test_svd_vae_encodes_as_the_first_stage_does(clip):
    original, translated = clip.networks["first_stage_model."], clip.translated("clip/vae")
    pixels, latents = draw(1, 3, 32, 48), draw(6, 4, 4, 6)
    assert close(translated.encode(pixels).latent_dist.parameters, original.encode(pixels))
    assert close(translated.decode(latents, num_frames=3).sample, original.decode(latents, 3))


def test_the_kind_and_its_networks_are_told_from_the_names(still, clip):
    with open_single_file(still.path, TINY) as single:
        assert single.kind == "sdxl"
        assert set(single.paths) == {path for path in TINY if path.startswith("still/")}
        with pytest.raises(BadCheckpoint, match=r"sd_xl_base_1\.0.*holds still/text_encoder.*not clip/unet"):
            single.component("clip/unet")
    with open_single_file(clip.path, TINY) as single:
        assert single.kind == "svd"
        assert set(single.paths) == {path for path in TINY if path.startswith("clip/")}


def test_half_precision_files_and_casts(still, tmp_path):
    path = tmp_path / "half.safetensors"
    save_file({name: tensor.half() for name, tensor in still.state.items()}, path)
    with open_single_file(path, TINY) as single:
        as_stored = dict(single.component("still/vae").tensors())
        cast = dict(single.component("still/vae").tensors(torch.bfloat16))
        mixed = dict(
            single.component("still/vae").tensors(
                lambda name: torch.float32 if "norm" in name else torch.float16
            )
        )
    assert {tensor.dtype for tensor in as_stored.values()} == {torch.float16}
    assert {tensor.dtype for tensor in cast.values()} == {torch.bfloat16}
    assert all((tensor.dtype == torch.float32) == ("norm" in name) for name, tensor in mixed.items())
    assert all(tensor.is_contiguous() for tensor in (*as_stored.values(), *cast.values()))


def test_an_old_attention_of_plain_matrices_is_understood(still, tmp_path):
    changed = {
        name: tensor[:, :, 0, 0].contiguous() if ".attn_1." in name and tensor.ndim == 4 else tensor
        for name, tensor in still.state.items()
    }
    path = tmp_path / "matrices.safetensors"
    save_file(changed, path)
    with open_single_file(path, TINY) as single:
        weights = dict(single.component("still/vae").tensors())
    original = still.state["first_stage_model.decoder.mid.attn_1.q.weight"]
    assert torch.equal(weights["decoder.mid_block.attentions.0.to_q.weight"], original[:, :, 0, 0])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "model.diffusion_model.output_blocks.2.2.conv.bias",
            "lacks model.*conv.bias, expected for still/unet",
        ),
        ("conditioner.embedders.1.model.transformer.resblocks.3.attn.in_proj_bias", "lacks .*in_proj_bias"),
        ("conditioner.embedders.1.model.text_projection", "looks like sdxl, but lacks .*text_projection"),
    ],
)
def test_a_missing_tensor_is_named(still, tmp_path, name, message):
    path = tmp_path / "missing.safetensors"
    save_file({key: tensor for key, tensor in still.state.items() if key != name}, path)
    with pytest.raises(BadCheckpoint, match=f"missing.safetensors.*{message}"):
        open_single_file(path, TINY)


@pytest.mark.parametrize("name", ["model.diffusion_model.extra.weight", "lora_te_text.alpha", "betas"])
def test_an_unknown_tensor_is_named(still, tmp_path, name):
    path = tmp_path / "unknown.safetensors"
    save_file({**still.state, name: torch.zeros(3)}, path)
    with pytest.raises(BadCheckpoint, match=f"unknown.safetensors holds {name}, which sdxl does not have"):
        open_single_file(path, TINY)


def test_a_tensor_of_another_shape_is_named_with_both(still, tmp_path):
    path = tmp_path / "shape.safetensors"
    save_file({**still.state, "first_stage_model.quant_conv.weight": torch.zeros(8, 4, 1, 1)}, path)
    with pytest.raises(
        BadCheckpoint,
        match=r"still/vae: first_stage_model.quant_conv.weight is \[8, 4, 1, 1\], expected \[8, 8, 1",
    ):
        open_single_file(path, TINY)


def test_integers_are_no_weights(still, tmp_path):
    path = tmp_path / "integers.safetensors"
    save_file({**still.state, "first_stage_model.quant_conv.bias": torch.zeros(8, dtype=torch.int64)}, path)
    with pytest.raises(BadCheckpoint, match=r"quant_conv.bias is I64, expected one of F64, F32"):
        open_single_file(path, TINY)


def test_weights_that_are_not_finite_are_refused_also_when_only_the_cast_makes_them_so(still, tmp_path):
    path = tmp_path / "large.safetensors"
    save_file({**still.state, "first_stage_model.quant_conv.bias": torch.full((8,), 1e6)}, path)
    with open_single_file(path, TINY) as single:
        assert dict(single.component("still/vae").tensors())["quant_conv.bias"].tolist() == [1e6] * 8
        with pytest.raises(
            BadCheckpoint, match=r"large.safetensors: quant_conv.bias .* not finite in torch.float16"
        ):
            list(single.component("still/vae").tensors(torch.float16))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [0, 5, 7])
def test_one_value_that_is_not_finite_is_enough(still, tmp_path, bad, place):
    biases = torch.linspace(-1, 1, 8)
    biases[place] = bad
    path = tmp_path / "spoilt.safetensors"
    save_file({**still.state, "first_stage_model.quant_conv.bias": biases}, path)
    with (
        open_single_file(path, TINY) as single,
        pytest.raises(BadCheckpoint, match=r"quant_conv\.bias of still/vae"),
    ):
        list(single.component("still/vae").tensors())


def test_another_model_is_neither(tmp_path):
    path = tmp_path / "v1-5-pruned.safetensors"
    save_file({"cond_stage_model.transformer.text_model.x": torch.zeros(1)}, path)
    with pytest.raises(
        BadCheckpoint, match=r"v1-5-pruned.*neither an SDXL nor an SVD single file.*found cond_stage"
    ):
        open_single_file(path, TINY)


def test_the_second_encoder_of_svd_is_compared_with_its_quantisation_folded_in(clip, tmp_path):
    with open_single_file(clip.path, TINY) as single:
        assert single.second_encoder_difference() > 0.1
    # A second encoder whose last convolution and quantisation multiply to the first stage's last convolution.
    second, first = "conditioner.embedders.3.encoder.", "first_stage_model.encoder."
    same = dict(clip.state)
    for name in clip.state:
        if name.startswith(first):
            same[second + name.removeprefix("first_stage_model.")] = clip.state[name].clone()
    matrix = clip.state[second + "quant_conv.weight"][:, :, 0, 0].double()
    shift = clip.state[second + "quant_conv.bias"].double()
    weight, bias = (clip.state[f"{first}conv_out.{kind}"].double() for kind in ("weight", "bias"))
    unmixed = matrix.inverse()
    same[second + "encoder.conv_out.weight"] = torch.einsum("oi,ihwk->ohwk", unmixed, weight).float()
    same[second + "encoder.conv_out.bias"] = (unmixed @ (bias - shift)).float()
    path = tmp_path / "same.safetensors"
    save_file(same, path)
    with open_single_file(path, TINY) as single:
        assert single.second_encoder_difference() < 1e-5

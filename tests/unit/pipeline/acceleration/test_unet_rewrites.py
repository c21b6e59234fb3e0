"""The prepared UNets give the numbers of the diffusers classes, in any type, batch and length of text."""

import copy

import pytest
import torch
from torch import nn

from node.pipeline.acceleration.constants import Binding
from node.pipeline.acceleration.spatiotemporal import ResidualBlock, Transformer
from node.pipeline.acceleration.unets import ClipUNet, StillUNet, prepare_clip_unet, prepare_still_unet

TOLERANCES = {torch.float64: 1e-12, torch.float32: 2e-5}
IDS = [[5.0, 127.0, 0.0]]


def drawn(*shape, dtype=torch.float64, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def still_conditioning(tokens, dtype):
    return {
        "context": drawn(2, tokens, 64, dtype=dtype, seed=2),
        "text_embeds": drawn(2, 32, dtype=dtype, seed=3),
        "time_ids": torch.tensor([[128, 128, 0, 0, 128, 128]] * 2, dtype=dtype),
    }


def stock_still_output(unet, x, time, conditioning):
    each = len(x) // 2
    rows = {name: value.repeat_interleave(each, dim=0) for name, value in conditioning.items()}
    return unet(x, time, rows.pop("context"), added_cond_kwargs=rows, return_dict=False)[0]


@pytest.mark.parametrize(
    ("dtype", "batch", "tokens"),
    [(torch.float64, 1, 77), (torch.float64, 2, 154), (torch.float64, 4, 77), (torch.float32, 2, 77)],
)
def test_the_still_unet_is_the_stock_network(stock_still, difference, dtype, batch, tokens):
    unet = stock_still(dtype)
    x, time = drawn(2 * batch, 4, 8, 8, dtype=dtype), torch.full((2 * batch,), 421.0)
    conditioning = still_conditioning(tokens, dtype)
    expected = stock_still_output(unet, x, time, conditioning)
    prepare_still_unet(unet)
    Binding(unet, **conditioning)
    assert difference(unet(x, time)[0], expected) < TOLERANCES[dtype]
    assert difference(unet(x, time[0], return_dict=False)[0], expected) < TOLERANCES[dtype]


@pytest.mark.parametrize(
    ("dtype", "clips", "frames", "height"),
    [(torch.float64, 2, 5, 8), (torch.float64, 1, 3, 8), (torch.float64, 2, 4, 7), (torch.float32, 2, 3, 8)],
)
def test_the_clip_unet_is_the_stock_network(stock_clip, difference, dtype, clips, frames, height):
    unet = stock_clip(dtype)
    x, time = drawn(clips, frames, 8, height, 6, dtype=dtype), torch.tensor(1.6)
    context, ids = drawn(clips, 1, 32, dtype=dtype, seed=2), torch.tensor(IDS, dtype=dtype)
    expected = unet(x, time, context, ids.repeat(clips, 1), return_dict=False)[0]
    prepare_clip_unet(unet)
    Binding(unet, context=context, added_time_ids=ids, frames=frames)
    result = unet(x, time)[0]
    assert result.shape == expected.shape
    assert difference(result, expected) < TOLERANCES[dtype]


def test_more_levels_and_layers_of_the_clip_unet_make_no_difference(stock_clip, difference):
    unet = stock_clip(
        block_out_channels=[32, 64, 64],
        down_block_types=["CrossAttnDownBlockSpatioTemporal"] * 2 + ["DownBlockSpatioTemporal"],
        up_block_types=["UpBlockSpatioTemporal"] + ["CrossAttnUpBlockSpatioTemporal"] * 2,
        num_attention_heads=[1, 2, 4],
        layers_per_block=2,
        transformer_layers_per_block=2,
    )
    x, time = drawn(2, 3, 8, 9, 10), torch.tensor(-0.7)
    context, ids = drawn(2, 1, 32, seed=2), torch.tensor(IDS, dtype=torch.float64)
    expected = unet(x, time, context, ids.repeat(2, 1), return_dict=False)[0]
    prepare_clip_unet(unet)
    Binding(unet, context=context, added_time_ids=ids, frames=3)
    assert difference(unet(x, time)[0], expected) < 1e-12


def test_a_residual_block_over_frames_is_the_stock_block(stock_clip, difference):
    stock = stock_clip().down_blocks[0].resnets[0]
    clips, frames = 2, 5
    x, temb = drawn(clips * frames, 32, 4, 6), drawn(1, 128, seed=2)
    lone = torch.zeros(clips, frames)
    expected = stock(x, temb.expand(clips * frames, -1), image_only_indicator=lone)
    block = ResidualBlock(stock)
    block.frames = frames
    result = block(by_frames(x, clips), temb)
    assert difference(by_frames(result, frames), expected) < 1e-12


def test_a_transformer_over_frames_is_the_stock_transformer(stock_clip, difference):
    stock = stock_clip().down_blocks[1].attentions[0]
    clips, frames = 2, 5
    x, context = drawn(clips * frames, 32, 4, 6), drawn(clips, 1, 32, seed=2)
    expected = stock(
        x, context.repeat_interleave(frames, dim=0), torch.zeros(clips, frames), return_dict=False
    )[0]
    block = Transformer(stock)
    block.bind(frames)
    for layer in (*block.spatial, *block.temporal):
        layer.context.bind(context)
    (result,) = block(by_frames(x, clips))
    assert difference(by_frames(result, frames), expected) < 1e-12


def by_frames(x, outer):
    """Exchange the two parts of a batch [outer * inner, ...]."""
    return x.unflatten(0, (outer, -1)).transpose(0, 1).flatten(0, 1)


@pytest.mark.parametrize("kind", ["still", "clip"])
def test_no_weight_is_kept_beside_the_one_made_of_it(stock_still, stock_clip, kind):
    unet = stock_still() if kind == "still" else stock_clip()
    before = {name: weight.numel() for name, weight in unet.named_parameters()}
    (prepare_still_unet if kind == "still" else prepare_clip_unet)(unet)
    after = {name: weight.numel() for name, weight in unet.named_parameters()}
    assert not [name for name in after if ".to_k." in name or ".to_v." in name or ".attn1.to_q." in name]
    unused = ("attn2.to_q.", "attn2.to_k.", ".norm2.", "mix_factor") if kind == "clip" else ()
    # The second norm of a residual block is in use; that of a transformer block went with its attention.
    dropped = [
        name
        for name in before
        if any(part in name for part in unused) and (".norm2." not in name or "transformer_blocks" in name)
    ]
    assert sum(after.values()) == sum(before.values()) - sum(before[name] for name in dropped)
    assert all(not weight.requires_grad for weight in unet.parameters())


def test_a_prepared_network_can_be_moved_and_copied_with_its_constants(stock_still, difference):
    unet = stock_still()
    prepare_still_unet(unet)
    conditioning = still_conditioning(77, torch.float64)
    Binding(unet, **conditioning)
    x, time = drawn(2, 4, 8, 8), torch.tensor(7.0)
    expected = unet(x, time)[0]
    assert torch.equal(copy.deepcopy(unet)(x, time)[0], expected)
    with torch.inference_mode(mode=False):
        nn.Module.to(unet, torch.float32)
    rounded = unet(x.float(), time)[0]
    assert difference(rounded.double(), expected) < 1e-4


def test_a_network_is_prepared_once_and_only_if_it_is_the_right_one(stock_still, stock_clip):
    still, clip = stock_still(), stock_clip()
    for prepare, wrong in ((prepare_still_unet, clip), (prepare_clip_unet, still)):
        with pytest.raises(ValueError, match="as loaded"):
            prepare(wrong)
    prepare_still_unet(still)
    prepare_clip_unet(clip)
    assert (type(still), type(clip)) == (StillUNet, ClipUNet)
    for prepare, done in ((prepare_still_unet, still), (prepare_clip_unet, clip)):
        with pytest.raises(ValueError, match="as loaded"):
            prepare(done)


def test_a_prepared_network_computes_nothing_before_a_job_is_bound(stock_still, stock_clip):
    still, clip = stock_still(), stock_clip()
    prepare_still_unet(still)
    prepare_clip_unet(clip)
    with pytest.raises(RuntimeError, match="no job is bound"):
        still(drawn(2, 4, 8, 8), torch.tensor(1.0))
    with pytest.raises(RuntimeError, match="no job is bound"):
        clip(drawn(2, 3, 8, 8, 8), torch.tensor(1.0))

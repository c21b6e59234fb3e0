"""The attention of the VAEs by rows: the plain mathematics in bounded memory."""

import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import AutoencoderKLTemporalDecoder

from node.pipeline.acceleration.vae_attention import RowwiseAttention, prepare_vae
from tests.live_memory import LiveMemory


def make_attention(processor, dtype=torch.float64, width=64, head=64):
    torch.manual_seed(3)
    attention = Attention(
        query_dim=width,
        heads=width // head,
        dim_head=head,
        eps=1e-6,
        norm_num_groups=32,
        bias=True,
        residual_connection=True,
        processor=processor,
    )
    return attention.requires_grad_(requires_grad=False).to(dtype)


def picture(dtype=torch.float64, width=64):
    return torch.randn(2, width, 5, 6, generator=torch.Generator().manual_seed(4)).to(dtype)


@pytest.mark.parametrize("rows", [1, 7, 30, 2048])
@pytest.mark.parametrize("head", [64, 32])
def test_is_the_attention_of_the_stock_processor(rows, head):
    expected = make_attention(AttnProcessor2_0(), head=head)(picture())
    found = make_attention(RowwiseAttention(rows), head=head)(picture())
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-13)


def test_channels_last_pictures_give_the_same():
    x = picture().contiguous(memory_format=torch.channels_last)
    expected = make_attention(RowwiseAttention())(picture())
    assert torch.allclose(make_attention(RowwiseAttention())(x), expected, rtol=1e-13, atol=1e-14)


def test_half_precision_keeps_scores_in_float32():
    exact = make_attention(AttnProcessor2_0())(picture())
    found = make_attention(RowwiseAttention(), torch.bfloat16)(picture(torch.bfloat16)).double()
    stock = make_attention(AttnProcessor2_0(), torch.bfloat16)(picture(torch.bfloat16)).double()
    assert (found - exact).norm() < 1.2 * (stock - exact).norm()


def test_the_square_of_pixels_never_exists_whole():
    attention = make_attention(RowwiseAttention(2048), torch.bfloat16, 512, 512).to("meta")
    x = torch.empty(1, 512, 128, 128, dtype=torch.bfloat16, device="meta")
    with LiveMemory() as memory:
        attention(x)
    square = (128 * 128) ** 2 * 4
    assert memory.peak < square / 2


@pytest.mark.parametrize("kind", [AutoencoderKL, AutoencoderKLTemporalDecoder])
def test_prepare_reaches_every_attention_of_encoder_and_decoder(kind):
    vae = kind(block_out_channels=(32, 32), layers_per_block=2, down_block_types=["DownEncoderBlock2D"] * 2)
    prepare_vae(vae)
    found = [module.processor for module in vae.modules() if isinstance(module, Attention)]
    assert len(found) == 2
    assert all(isinstance(processor, RowwiseAttention) for processor in found)


def test_other_attention_is_refused():
    attention = make_attention(RowwiseAttention())
    with pytest.raises(ValueError, match="no context, mask or time"):
        attention(picture(), encoder_hidden_states=torch.zeros(2, 3, 64, dtype=torch.float64))
    with pytest.raises(ValueError, match="not the attention of a VAE"):
        attention(torch.zeros(2, 30, 64, dtype=torch.float64))

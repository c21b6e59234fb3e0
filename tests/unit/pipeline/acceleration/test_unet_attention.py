"""Every attention layer gives the numbers of the diffusers layer that it was made from."""

import copy

import pytest
import torch
from diffusers.models.attention_processor import Attention
from torch.nn.functional import scaled_dot_product_attention

from node.pipeline.acceleration.attention import (
    FrameAttention,
    SelfAttention,
    SingleTokenAttention,
    TextAttention,
)

HEADS, HEAD, CONTEXT = 3, 8, 20
WIDTH = HEADS * HEAD


def attention(filled, cross=None, dtype=torch.float64, **more):
    stock = Attention(query_dim=WIDTH, cross_attention_dim=cross, heads=HEADS, dim_head=HEAD, **more)
    return filled(stock).to(dtype)


def drawn(*shape, dtype=torch.float64, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def test_self_attention_with_one_fused_product_is_the_stock_layer(filled, difference):
    stock = attention(filled)
    x = drawn(4, 11, WIDTH)
    expected = stock(x)
    assert difference(SelfAttention(stock)(x), expected) < 1e-14


@pytest.mark.parametrize(("texts", "each"), [(1, 1), (2, 1), (2, 4)])
def test_text_attention_shares_each_text_among_its_rows(filled, difference, texts, each):
    stock = attention(filled, CONTEXT)
    x, context = drawn(texts * each, 11, WIDTH), drawn(texts, 77, CONTEXT, seed=2)
    expected = stock(x, encoder_hidden_states=context.repeat_interleave(each, dim=0))
    layer = TextAttention(stock)
    layer.bind(context)
    assert difference(layer(x), expected) < 1e-14


def test_attention_over_frames_needs_no_frame_moved(filled, difference):
    stock = attention(filled)
    x = drawn(5, 12, WIDTH)  # 5 frames of 12 places
    expected = stock(x.transpose(0, 1).contiguous()).transpose(0, 1)
    assert difference(FrameAttention(stock)(x), expected) < 1e-14


TOLERANCES = {torch.float64: 1e-14, torch.float32: 1e-6, torch.bfloat16: 1e-2}


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_a_single_token_gets_all_attention_to_the_last_bit(dtype):
    query, key, value = (drawn(2, HEADS, n, HEAD, dtype=dtype, seed=n) for n in (11, 1, 1))
    attended = scaled_dot_product_attention(query, key, value)
    assert torch.equal(attended, value.expand_as(attended))


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_attention_to_a_single_token_is_the_stock_layer(filled, difference, dtype):
    stock = attention(filled, CONTEXT, dtype)
    x, context = drawn(2, 11, WIDTH, dtype=dtype), drawn(2, 1, CONTEXT, dtype=dtype, seed=2)
    expected = stock(x, encoder_hidden_states=context)
    layer = SingleTokenAttention(stock)
    layer.bind(context)
    assert difference(layer().expand_as(expected), expected) < TOLERANCES[dtype]


def test_the_fused_weights_replace_the_single_ones(filled):
    stock = attention(filled)
    sizes = sum(weight.numel() for weight in stock.parameters())
    layer = SelfAttention(stock)
    assert {name for name, _ in layer.named_parameters()} == {"qkv.weight", "out.weight", "out.bias"}
    assert sum(weight.numel() for weight in layer.parameters()) == sizes


def test_a_single_token_needs_neither_queries_nor_keys(filled):
    layer = SingleTokenAttention(attention(filled, CONTEXT))
    assert {name for name, _ in layer.named_parameters()} == {"value.weight", "out.weight", "out.bias"}


def test_constants_of_one_shape_keep_their_address(filled):
    layer = TextAttention(attention(filled, CONTEXT))
    assert layer.bind(drawn(2, 77, CONTEXT))
    address = layer.keys_values.data_ptr()
    assert not layer.bind(drawn(2, 77, CONTEXT, seed=5))
    assert layer.keys_values.data_ptr() == address
    assert layer.bind(drawn(2, 154, CONTEXT))


def test_what_is_missing_or_too_much_is_an_error(filled):
    text = TextAttention(attention(filled, CONTEXT))
    with pytest.raises(RuntimeError, match="no job is bound"):
        text(drawn(2, 11, WIDTH))
    text.bind(drawn(2, 77, CONTEXT))
    with pytest.raises(ValueError, match="a batch of 3 rows cannot share 2 texts"):
        text(drawn(3, 11, WIDTH))
    with pytest.raises(ValueError, match="takes no context"):
        text(drawn(2, 11, WIDTH), encoder_hidden_states=drawn(2, 77, CONTEXT))
    with pytest.raises(ValueError, match="one token is"):
        SingleTokenAttention(attention(filled, CONTEXT)).bind(drawn(2, 77, CONTEXT))


@pytest.mark.parametrize(
    "more",
    [
        {"bias": True},
        {"norm_num_groups": 3},
        {"qk_norm": "layer_norm"},
        {"residual_connection": True},
        {"rescale_output_factor": 2.0},
        {"upcast_softmax": True},
        {"scale_qk": False},
        {"cross_attention_dim": CONTEXT},
    ],
    ids=lambda more: next(iter(more)),
)
def test_a_layer_that_computes_more_is_refused(more):
    stock = Attention(query_dim=WIDTH, heads=HEADS, dim_head=HEAD, **more)
    with pytest.raises(ValueError, match="not a plain"):
        SelfAttention(copy.deepcopy(stock))

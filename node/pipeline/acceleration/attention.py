"""Exact forms of diffusers' attention layers: fused projections, constants of a job computed once.

Every layer is built from a loaded ``Attention`` of any type and device and takes its weights over; the stock
layer is not to be used afterwards. Softmax(Q K^T / sqrt(d)) V: A. Vaswani et al., "Attention Is All You
Need", 2017.
"""

from typing import Any

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from node.pipeline.acceleration.constants import bound, keep

Tensor = torch.Tensor


class SelfAttention(nn.Module):
    """Attention of tokens [B, N, C] among themselves; one product gives queries, keys and values."""

    def __init__(self, stock: Any) -> None:
        super().__init__()
        _check(stock, cross=False)
        self.heads = stock.heads
        self.qkv = _fused(stock.to_q, stock.to_k, stock.to_v)
        self.out = stock.to_out[0]

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Return [B, N, C]. Raises ValueError for a context or a mask, which these networks never have."""
        _refuse(encoder_hidden_states, attention_mask)
        # [B, N, 3, H, D] to three strided views [B, H, N, D]: no copies.
        query, key, value = self.qkv(hidden_states).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        attended = scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        )
        projected: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return projected


class FrameAttention(SelfAttention):
    """Attention of each place's frames among themselves, for tokens [F, M, C] of F frames and M places."""

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Return [F, M, C]."""
        _refuse(encoder_hidden_states, attention_mask)
        # [F, M, 3, H, D] to three strided views [M, H, F, D]: the frames are never moved together.
        fused = self.qkv(hidden_states).unflatten(-1, (3, self.heads, -1)).permute(2, 1, 3, 0, 4)
        query, key, value = fused.unbind(0)
        # Fused kernels lay their result out like the queries, so that going back is a view as well.
        attended = scaled_dot_product_attention(query, key, value).permute(2, 0, 1, 3)
        projected: Tensor = self.out(attended.flatten(2))
        return projected


class TextAttention(nn.Module):
    """Attention of tokens to a text whose keys and values are computed once per job.

    The rows of a batch come in R equal runs, one per bound text: rows that share a text attend to it as one
    long row of queries, so that the text is kept and read once.
    """

    keys_values: Tensor | None

    def __init__(self, stock: Any) -> None:
        super().__init__()
        _check(stock, cross=True)
        self.heads = stock.heads
        self.query = stock.to_q
        self.project = _fused(stock.to_k, stock.to_v)
        self.out = stock.to_out[0]
        self.register_buffer("keys_values", None, persistent=False)

    def bind(self, context: Tensor) -> bool:
        """Compute the keys and values of the texts [R, L, C]; return whether their address is new."""
        return keep(self, "keys_values", self.project(context))

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Return [B, N, C] for tokens of that shape. Raises ValueError if B is not a multiple of R."""
        _refuse(encoder_hidden_states, attention_mask)
        keys_values = bound(self.keys_values)
        texts, length, _ = keys_values.shape
        key, value = keys_values.view(texts, length, 2, self.heads, -1).unbind(2)
        rows, tokens, _ = hidden_states.shape
        if rows % texts:
            raise ValueError(f"a batch of {rows} rows cannot share {texts} texts evenly")
        query = self.query(hidden_states).view(texts, rows // texts * tokens, self.heads, -1)
        attended = scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        )
        projected: Tensor = self.out(attended.transpose(1, 2).reshape(rows, tokens, -1))
        return projected


class SingleTokenAttention(nn.Module):
    """Attention to a context of one token: softmax over one key is 1, so the result is that token's value.

    It depends on no query, so it is computed once per job and the queries' norm and projection are dropped.
    """

    attended: Tensor | None

    def __init__(self, stock: Any) -> None:
        super().__init__()
        _check(stock, cross=True)
        self.value = stock.to_v
        self.out = stock.to_out[0]
        self.register_buffer("attended", None, persistent=False)

    def bind(self, context: Tensor) -> bool:
        """Compute the result for contexts [B, 1, C]; return whether its address is new."""
        if context.ndim != 3 or context.shape[1] != 1:
            raise ValueError(f"a context of one token is [B, 1, C], not {list(context.shape)}")
        return keep(self, "attended", self.out(self.value(context)))

    def forward(self) -> Tensor:
        """Return what every token of row b gets, [B, 1, C]."""
        return bound(self.attended)


def _fused(*layers: nn.Linear) -> nn.Linear:
    """Return one bias-free projection whose outputs are those of ``layers`` side by side."""
    weight = torch.cat([layer.weight.detach() for layer in layers])
    fused = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    fused.weight = nn.Parameter(weight, requires_grad=False)
    return fused


def _check(stock: Any, *, cross: bool) -> None:
    """Refuse a layer that computes anything besides what the layers here do."""
    extras = ("group_norm", "spatial_norm", "norm_q", "norm_k", "norm_cross", "add_k_proj", "to_add_out")
    present = [name for name in extras if getattr(stock, name) is not None]
    if (
        present
        or stock.to_q.bias is not None
        or stock.is_cross_attention != cross
        or stock.inner_kv_dim != stock.inner_dim
        or stock.residual_connection
        or stock.rescale_output_factor != 1.0
        or not stock.scale_qk
        or stock.upcast_attention
        or stock.upcast_softmax
        or stock.is_causal
    ):
        kind = "cross" if cross else "self"
        raise ValueError(f"not a plain, bias-free {kind}-attention of SDXL or SVD: {present or stock}")


def _refuse(context: Tensor | None, mask: Tensor | None) -> None:
    if context is not None or mask is not None:
        raise ValueError("this layer takes no context and no mask: constants are bound once per job")

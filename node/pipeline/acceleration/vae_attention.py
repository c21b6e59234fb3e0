"""The attention in the middle of a VAE: one head as wide as the network, over every pixel of one picture.

512 numbers a head are more than flash and cuDNN attention take (256 at most), which leaves torch two
kernels: the memory-efficient one, whose bits are not the same in every run (docs, performance 3.2), and
the plain one, which holds the whole square of pixels by pixels several times. Here the plain mathematics is
done for a fixed number of rows of that square at a time, so memory is bounded and every sum has one order.
"""

from typing import Any

import torch

from node.pipeline.acceleration.group_norm import accumulation_type

ROWS = 2048
"""Rows of the pixels-by-pixels square made at once; part of the determinism class."""

REWRITES = f"vae attention by {ROWS} rows"
"""What of this is part of the determinism class."""


class RowwiseAttention:
    """An attention processor of diffusers for self-attention over the pixels of each picture."""

    def __init__(self, rows: int = ROWS) -> None:
        self._rows = rows

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: None = None,
        attention_mask: None = None,
        temb: None = None,
    ) -> torch.Tensor:
        """Return the block's output for [B, C, H, W], with its norm, projections and residual.

        Raises ValueError if ``attn`` is any other kind of attention than that of a VAE.
        """
        if encoder_hidden_states is not None or attention_mask is not None or temb is not None:
            raise ValueError("the attention of a VAE sees its own picture alone: no context, mask or time")
        plain = attn.norm_q is None and attn.norm_k is None and attn.rescale_output_factor == 1
        if hidden_states.ndim != 4 or not plain or not attn.residual_connection:
            raise ValueError("not the attention of a VAE: pictures in, a residual out, no norm of keys")
        batch, channels, height, width = hidden_states.shape
        pixels = attn.group_norm(hidden_states.reshape(batch, channels, height * width)).transpose(1, 2)
        query, key, value = (
            layer(pixels).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for layer in (attn.to_q, attn.to_k, attn.to_v)
        )  # each [B, heads, H W, D]
        mixed = torch.empty_like(query)
        for image in range(batch):
            for head in range(attn.heads):
                self._attend(query[image, head], key[image, head], value[image, head], mixed[image, head])
        mixed = attn.to_out[0](mixed.transpose(1, 2).flatten(2))
        residual: torch.Tensor = mixed.transpose(1, 2).reshape(batch, channels, height, width)
        return hidden_states + residual

    def _attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, out: torch.Tensor) -> None:
        scale = query.shape[-1] ** -0.5
        for start in range(0, len(query), self._rows):
            rows = slice(start, start + self._rows)
            weights = torch.softmax(_scores(query[rows], key).mul_(scale), dim=-1)  # [rows, H W]
            out[rows] = weights.to(value.dtype) @ value


def prepare_vae(vae: Any) -> None:
    """Give every attention of a VAE (``AutoencoderKL`` or the temporal one) the row-wise computation."""
    vae.set_attn_processor(RowwiseAttention())


def _scores(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """Return query x key^T, [rows, keys], in float32, or in float64 for float64 inputs."""
    if query.dtype in (torch.float32, torch.float64):
        return query @ key.T
    if query.is_cuda:
        # Tensor cores sum in float32 anyway; this keeps them from rounding the result to half.
        return torch.mm(query, key.T, out_dtype=torch.float32)
    kept = accumulation_type(query.dtype)
    return query.to(kept) @ key.T.to(kept)

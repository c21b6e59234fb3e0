"""Parts that the original networks share, with the module names of the published checkpoints."""

import math

import torch
from torch import nn
from torch.nn import functional


def waves(values, width):
    """Cosines first, then sines, of geometrically falling frequencies: [..., width]."""
    rates = torch.exp(-math.log(10000) * torch.arange(width // 2, dtype=torch.float32) / (width // 2))
    angles = values.float()[..., None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def two_layers(inputs, hidden, outputs):
    return nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, outputs))


class Attention(nn.Module):
    def __init__(self, width, context_width, heads):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context_width, width, bias=False)
        self.to_v = nn.Linear(context_width, width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width), nn.Dropout(0.0))

    def forward(self, x, context=None):
        context = x if context is None else context
        q, k, v = (
            tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for tokens in (self.to_q(x), self.to_k(context), self.to_v(context))
        )
        scores = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(dim=-1)
        return self.to_out((scores @ v).transpose(1, 2).flatten(2))


class Gated(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.proj = nn.Linear(width, 8 * width)

    def forward(self, x):
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * functional.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(Gated(width), nn.Dropout(0.0), nn.Linear(4 * width, width))

    def forward(self, x):
        return self.net(x)


class TransformerBlock(nn.Module):
    def __init__(self, width, context_width, heads):
        super().__init__()
        self.attn1 = Attention(width, width, heads)
        self.ff = FeedForward(width)
        self.attn2 = Attention(width, context_width, heads)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))

    def forward(self, x, context):
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class TemporalBlock(TransformerBlock):
    """Attends along time: rows are videos x places, tokens are frames."""

    def __init__(self, width, context_width, heads):
        super().__init__(width, context_width, heads)
        self.norm_in = nn.LayerNorm(width)
        self.ff_in = FeedForward(width)

    def forward(self, x, context, frames):
        places = x.shape[1]
        x = x.unflatten(0, (-1, frames)).transpose(1, 2).flatten(0, 1)
        x = x + self.ff_in(self.norm_in(x))
        x = super().forward(x, context.repeat_interleave(places, dim=0))
        return x.unflatten(0, (-1, places)).transpose(1, 2).flatten(0, 1)


class Mixer(nn.Module):
    """The factor's sigmoid is the share of the space branch."""

    def __init__(self):
        super().__init__()
        self.mix_factor = nn.Parameter(torch.zeros(1))

    def forward(self, space, time):
        share = self.mix_factor.sigmoid()
        return share * space + (1 - share) * time


class Residual(nn.Module):
    """Over images (``dims`` 2) or along time (3: one 3x1x1 kernel); ``emb_width`` 0 takes no embedding."""

    def __init__(self, inputs, outputs, emb_width, dims=2):
        super().__init__()
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        kernel, padding = ((3, 3), (1, 1)) if dims == 2 else ((3, 1, 1), (1, 0, 0))
        self.in_layers = nn.Sequential(
            nn.GroupNorm(32, inputs), nn.SiLU(), conv(inputs, outputs, kernel, padding=padding)
        )
        if emb_width:
            self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb_width, outputs))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(32, outputs),
            nn.SiLU(),
            nn.Dropout(0.0),
            conv(outputs, outputs, kernel, padding=padding),
        )
        self.skip_connection = nn.Identity() if inputs == outputs else conv(inputs, outputs, 1)

    def forward(self, x, emb=None):
        """``emb`` is broadcast already over what is not channels or frames."""
        hidden = self.in_layers(x)
        if emb is not None:
            added = self.emb_layers(emb)
            hidden = hidden + (added[..., None, None] if added.ndim == 2 else added.mT[..., None, None])
        return self.skip_connection(x) + self.out_layers(hidden)


class VideoResidual(Residual):
    def __init__(self, inputs, outputs, emb_width):
        super().__init__(inputs, outputs, emb_width)
        self.time_stack = Residual(outputs, outputs, emb_width, dims=3)
        self.time_mixer = Mixer()

    def forward(self, x, emb, frames):
        space = super().forward(x, emb).unflatten(0, (-1, frames)).transpose(1, 2)
        time = self.time_stack(space, emb.unflatten(0, (-1, frames)))
        return self.time_mixer(space, time).transpose(1, 2).flatten(0, 1)


class Transformer(nn.Module):
    def __init__(self, width, context_width, heads, depth):
        super().__init__()
        self.norm = nn.GroupNorm(32, width, eps=1e-6)
        self.proj_in = nn.Linear(width, width)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(width, context_width, heads) for _ in range(depth)
        )
        self.proj_out = nn.Linear(width, width)

    def forward(self, x, context):
        tokens = self.proj_in(self.norm(x).flatten(2).mT)
        for block in self.transformer_blocks:
            tokens = block(tokens, context)
        return x + self.proj_out(tokens).mT.reshape(x.shape)


class VideoTransformer(Transformer):
    def __init__(self, width, context_width, heads, depth):
        super().__init__(width, context_width, heads, depth)
        self.width = width
        self.time_stack = nn.ModuleList(TemporalBlock(width, context_width, heads) for _ in range(depth))
        self.time_pos_embed = two_layers(width, 4 * width, width)
        self.time_mixer = Mixer()

    def forward(self, x, context, frames):
        tokens = self.proj_in(self.norm(x).flatten(2).mT)
        positions = self.time_pos_embed(waves(torch.arange(frames), self.width))
        positions = positions.repeat(len(x) // frames, 1)[:, None]
        for block, stacked in zip(self.transformer_blocks, self.time_stack, strict=True):
            tokens = block(tokens, context)
            tokens = self.time_mixer(tokens, stacked(tokens + positions, context[::frames], frames))
        return x + self.proj_out(tokens).mT.reshape(x.shape)

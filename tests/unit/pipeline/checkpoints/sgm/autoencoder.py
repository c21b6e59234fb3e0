"""The autoencoders as in the published checkpoints: SDXL's, and SVD's with a decoder that mixes frames."""

import math

import torch
from torch import nn
from torch.nn import functional

from tests.unit.pipeline.checkpoints.sgm.blocks import Residual


def norm(width):
    return nn.GroupNorm(32, width, eps=1e-6)


class ImageResidual(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.norm1, self.norm2 = norm(inputs), norm(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        if inputs != outputs:
            self.nin_shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x, frames=None):
        hidden = self.conv1(functional.silu(self.norm1(x)))
        hidden = self.conv2(functional.silu(self.norm2(hidden)))
        return hidden + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class FrameResidual(ImageResidual):
    """Here the factor's sigmoid is the share of the time branch."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.time_stack = Residual(outputs, outputs, 0, dims=3)
        self.mix_factor = nn.Parameter(torch.zeros(1))

    def forward(self, x, frames):
        space = super().forward(x).unflatten(0, (-1, frames)).transpose(1, 2)
        share = self.mix_factor.sigmoid()
        mixed = share * self.time_stack(space) + (1 - share) * space
        return mixed.transpose(1, 2).flatten(0, 1)


class ImageAttention(nn.Module):
    """One head over all places; its four layers are stored as 1x1 convolutions."""

    def __init__(self, width):
        super().__init__()
        self.norm = norm(width)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(width, width, 1) for _ in range(4))

    def forward(self, x):
        hidden = self.norm(x)
        q, k, v = (layer(hidden).flatten(2) for layer in (self.q, self.k, self.v))
        scores = (q.mT @ k / math.sqrt(q.shape[1])).softmax(dim=-1)
        return x + self.proj_out((v @ scores.mT).reshape(x.shape))


class Middle(nn.Module):
    def __init__(self, residual, width):
        super().__init__()
        self.block_1, self.attn_1, self.block_2 = (
            residual(width, width),
            ImageAttention(width),
            residual(width, width),
        )

    def forward(self, x, frames=None):
        return self.block_2(self.attn_1(self.block_1(x, frames)), frames)


class Scaler(nn.Module):
    """Halves (``stride`` 2, padded at the far edges only) or doubles."""

    def __init__(self, width, stride):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=stride, padding=2 - stride)

    def forward(self, x):
        if self.conv.stride == (2, 2):
            return self.conv(functional.pad(x, (0, 1, 0, 1)))
        return self.conv(functional.interpolate(x, scale_factor=2, mode="nearest"))


class Encoder(nn.Module):
    def __init__(self, widths, blocks):
        super().__init__()
        self.conv_in = nn.Conv2d(3, widths[0], 3, padding=1)
        self.down = nn.ModuleList()
        width = widths[0]
        for level, wide in enumerate(widths):
            stage = nn.Module()
            stage.block = nn.ModuleList()
            for _ in range(blocks):
                stage.block.append(ImageResidual(width, wide))
                width = wide
            if level < len(widths) - 1:
                stage.downsample = Scaler(width, 2)
            self.down.append(stage)
        self.mid = Middle(ImageResidual, width)
        self.norm_out = norm(width)
        self.conv_out = nn.Conv2d(width, 8, 3, padding=1)

    def forward(self, x):
        x = self.conv_in(x)
        for stage in self.down:
            for block in stage.block:
                x = block(x)
            x = stage.downsample(x) if hasattr(stage, "downsample") else x
        return self.conv_out(functional.silu(self.norm_out(self.mid(x))))


class FrameConv(nn.Conv2d):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs, 3, padding=1)
        self.time_mix_conv = nn.Conv3d(outputs, outputs, (3, 1, 1), padding=(1, 0, 0))

    def forward(self, x, frames):
        video = super().forward(x).unflatten(0, (-1, frames)).transpose(1, 2)
        return self.time_mix_conv(video).transpose(1, 2).flatten(0, 1)


class Decoder(nn.Module):
    def __init__(self, widths, blocks, video=False):
        super().__init__()
        residual = FrameResidual if video else ImageResidual
        self.video = video
        width = widths[-1]
        self.conv_in = nn.Conv2d(4, width, 3, padding=1)
        self.mid = Middle(residual, width)
        stages = []
        for level in reversed(range(len(widths))):
            stage = nn.Module()
            stage.block = nn.ModuleList()
            for _ in range(blocks + 1):
                stage.block.append(residual(width, widths[level]))
                width = widths[level]
            if level:
                stage.upsample = Scaler(width, 1)
            stages.append(stage)
        self.up = nn.ModuleList(reversed(stages))
        self.norm_out = norm(width)
        self.conv_out = FrameConv(width, 3) if video else nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x, frames=None):
        x = self.mid(self.conv_in(x), frames)
        for stage in reversed(self.up):
            for block in stage.block:
                x = block(x, frames)
            x = stage.upsample(x) if hasattr(stage, "upsample") else x
        x = functional.silu(self.norm_out(x))
        return self.conv_out(x, frames) if self.video else self.conv_out(x)


class ImageAutoencoder(nn.Module):
    def __init__(self, widths, blocks):
        super().__init__()
        self.encoder = Encoder(widths, blocks)
        self.decoder = Decoder(widths, blocks)
        self.quant_conv = nn.Conv2d(8, 8, 1)
        self.post_quant_conv = nn.Conv2d(4, 4, 1)

    def encode(self, x):
        """Mean and logarithm of the variance: [N, 8, h, w]."""
        return self.quant_conv(self.encoder(x))

    def decode(self, latents):
        return self.decoder(self.post_quant_conv(latents))


class VideoAutoencoder(nn.Module):
    """No layer lies between the encoder and the latents, nor between the latents and the decoder."""

    def __init__(self, widths, blocks):
        super().__init__()
        self.encoder = Encoder(widths, blocks)
        self.decoder = Decoder(widths, blocks, video=True)

    def encode(self, x):
        return self.encoder(x)

    def decode(self, latents, frames):
        return self.decoder(latents, frames)

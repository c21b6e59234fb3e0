"""The two UNets as numbered blocks, as in the published checkpoints: SDXL's and SVD's.

Written from their description alone, so that they can contradict the names the node translates.
"""

import torch
from torch import nn
from torch.nn import functional

from tests.unit.pipeline.checkpoints.sgm.blocks import (
    Residual,
    Transformer,
    VideoResidual,
    VideoTransformer,
    two_layers,
    waves,
)


class Down(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.op = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, x):
        return self.op(x)


class Up(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return self.conv(functional.interpolate(x, scale_factor=2, mode="nearest"))


class UNet(nn.Module):
    """``depths`` has per level the number of transformer blocks, 0 for a level without attention."""

    def __init__(
        self, *, video, inputs, widths, depths, middle_depth, blocks, head_width, context_width, extra
    ):
        super().__init__()
        self.video, self.first = video, widths[0]
        residual, transformer = (VideoResidual, VideoTransformer) if video else (Residual, Transformer)
        emb = 4 * widths[0]

        def attend(width, depth):
            return transformer(width, context_width, width // head_width, depth)

        self.time_embed = two_layers(widths[0], emb, emb)
        self.label_emb = nn.Sequential(two_layers(extra, emb, emb))
        self.input_blocks = nn.ModuleList([nn.ModuleList([nn.Conv2d(inputs, widths[0], 3, padding=1)])])
        skips, width = [widths[0]], widths[0]
        for level, (wide, depth) in enumerate(zip(widths, depths, strict=True)):
            for _ in range(blocks):
                layers = [residual(width, wide, emb)] + ([attend(wide, depth)] if depth else [])
                self.input_blocks.append(nn.ModuleList(layers))
                width = wide
                skips.append(width)
            if level < len(widths) - 1:
                self.input_blocks.append(nn.ModuleList([Down(width)]))
                skips.append(width)
        self.middle_block = nn.ModuleList(
            [residual(width, width, emb), attend(width, middle_depth), residual(width, width, emb)]
        )
        self.output_blocks = nn.ModuleList()
        for level in reversed(range(len(widths))):
            for place in range(blocks + 1):
                layers = [residual(width + skips.pop(), widths[level], emb)]
                width = widths[level]
                if depths[level]:
                    layers.append(attend(width, depths[level]))
                if level and place == blocks:
                    layers.append(Up(width))
                self.output_blocks.append(nn.ModuleList(layers))
        self.out = nn.Sequential(nn.GroupNorm(32, width), nn.SiLU(), nn.Conv2d(width, 4, 3, padding=1))

    def run(self, block, x, emb, context, frames):
        more = (frames,) if self.video else ()
        for layer in block:
            if isinstance(layer, Residual):
                x = layer(x, emb, *more)
            elif isinstance(layer, Transformer):
                x = layer(x, context, *more)
            else:
                x = layer(x)
        return x

    def forward(self, x, times, context, vector, frames=1):
        """x [N, C, H, W], times [N], context [N, T, K], vector [N, extra]; N counts frames of all videos."""
        emb = self.time_embed(waves(times, self.first)) + self.label_emb(vector)
        skips = []
        for block in self.input_blocks:
            x = self.run(block, x, emb, context, frames)
            skips.append(x)
        x = self.run(self.middle_block, x, emb, context, frames)
        for block in self.output_blocks:
            x = self.run(block, torch.cat([x, skips.pop()], dim=1), emb, context, frames)
        return self.out(x)

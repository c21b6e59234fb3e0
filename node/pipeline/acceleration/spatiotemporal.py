"""The blocks of the video UNet, laid out by frames.

Stock blocks keep the frames of a clip together, [B*F, C, H, W], and move them for every layer over time. Here
the batch is [F*B, C, H, W]: layers over one frame see no difference, and for layers over time all places of
all clips of the batch lie side by side in every frame, so nothing is ever moved.
"""

from typing import Any

import torch
from torch import nn
from torch.nn.functional import silu

from node.pipeline.acceleration.attention import FrameAttention, SelfAttention, SingleTokenAttention
from node.pipeline.acceleration.constants import bound, keep
from node.pipeline.acceleration.convolution import TemporalConvolution

Tensor = torch.Tensor


class Blend(nn.Module):
    """``AlphaBlender`` where no frame is a lone image: two tensors are mixed by one learnt share."""

    share: Tensor
    rest: Tensor

    def __init__(self, stock: Any) -> None:
        super().__init__()
        if stock.merge_strategy != "learned_with_images" or stock.switch_spatial_to_temporal_mix:
            raise ValueError(f"not the mixing of SVD's UNet: {stock.merge_strategy}")
        # In double precision, so that the device that a network is prepared on changes no bit.
        learnt = stock.mix_factor.detach()
        share = torch.sigmoid(learnt.cpu().double()).to(learnt)
        self.register_buffer("share", share, persistent=False)
        self.register_buffer("rest", 1.0 - share, persistent=False)

    def forward(self, spatial: Tensor, temporal: Tensor) -> Tensor:
        """Return ``share * spatial + (1 - share) * temporal``."""
        return self.share * spatial + self.rest * temporal


class ResidualBlock(nn.Module):
    """``SpatioTemporalResBlock`` for [F*B, C, H, W] and one time embedding [1, E] for all rows."""

    frames: int

    def __init__(self, stock: Any) -> None:
        super().__init__()
        temporal = stock.temporal_res_block
        if temporal.conv_shortcut is not None or temporal.time_emb_proj is None:
            raise ValueError("not a residual block of SVD's UNet: it changes channels over time")
        self.spatial = stock.spatial_res_block
        self.norm1, self.norm2 = temporal.norm1, temporal.norm2
        self.conv1, self.conv2 = TemporalConvolution(temporal.conv1), TemporalConvolution(temporal.conv2)
        self.time = temporal.time_emb_proj
        self.blend = Blend(stock.time_mixer)

    def forward(
        self, hidden_states: Tensor, temb: Tensor, image_only_indicator: Tensor | None = None
    ) -> Tensor:
        """Return [F*B, C', H, W]. The indicator of lone images is accepted and must be None."""
        _refuse(image_only_indicator)
        x = self.spatial(hidden_states, temb)
        x = x.unflatten(0, (self.frames, -1)).permute(1, 2, 0, 3, 4)  # [B, C, F, H, W]
        y = self.conv1(silu(self.norm1(x)))
        y = y + self.time(silu(temb))[:, :, None, None, None]
        y = self.conv2(silu(self.norm2(y)))
        mixed: Tensor = self.blend(x, x + y)
        return mixed.permute(2, 0, 1, 3, 4).flatten(0, 1)


class SpatialBlock(nn.Module):
    """``BasicTransformerBlock`` whose context is one token per clip, for tokens [F*B, N, C]."""

    def __init__(self, stock: Any) -> None:
        super().__init__()
        if stock.norm_type != "layer_norm" or stock.only_cross_attention or stock.pos_embed is not None:
            raise ValueError(f"not a transformer block of SVD's UNet: {stock.norm_type}")
        self.norm1, self.norm3 = stock.norm1, stock.norm3
        self.attention = SelfAttention(stock.attn1)
        self.context = SingleTokenAttention(stock.attn2)
        self.feed_forward = stock.ff

    def forward(self, x: Tensor) -> Tensor:
        """Return [F*B, N, C]."""
        x = self.attention(self.norm1(x)) + x
        context = self.context()  # [B, 1, C]
        x = (context + x.view(-1, context.shape[0], *x.shape[1:])).flatten(0, 1)
        changed: Tensor = self.feed_forward(self.norm3(x)) + x
        return changed


class TemporalBlock(nn.Module):
    """``TemporalBasicTransformerBlock`` whose context is one token per clip, for tokens [F, B*N, C]."""

    def __init__(self, stock: Any) -> None:
        super().__init__()
        if not stock.is_res:
            raise ValueError("not a temporal block of SVD's UNet: it changes channels")
        self.norm_in, self.norm1, self.norm3 = stock.norm_in, stock.norm1, stock.norm3
        self.feed_forward_in = stock.ff_in
        self.attention = FrameAttention(stock.attn1)
        self.context = SingleTokenAttention(stock.attn2)
        self.feed_forward = stock.ff

    def forward(self, x: Tensor) -> Tensor:
        """Return [F, B*N, C]."""
        x = self.feed_forward_in(self.norm_in(x)) + x
        x = self.attention(self.norm1(x)) + x
        context = self.context()  # [B, 1, C]
        x = (context + x.view(x.shape[0], context.shape[0], -1, x.shape[-1])).flatten(1, 2)
        changed: Tensor = self.feed_forward(self.norm3(x)) + x
        return changed


class Transformer(nn.Module):
    """``TransformerSpatioTemporalModel`` for [F*B, C, H, W]; the frames' positions are constants."""

    positions: Tensor | None

    def __init__(self, stock: Any) -> None:
        super().__init__()
        self.norm, self.project_in, self.project_out = stock.norm, stock.proj_in, stock.proj_out
        self.time_proj, self.time_embed = stock.time_proj, stock.time_pos_embed
        self.spatial = nn.ModuleList(SpatialBlock(block) for block in stock.transformer_blocks)
        self.temporal = nn.ModuleList(TemporalBlock(block) for block in stock.temporal_transformer_blocks)
        self.blend = Blend(stock.time_mixer)
        self.register_buffer("positions", None, persistent=False)

    def bind(self, frames: int) -> bool:
        """Embed the positions of ``frames`` frames; return whether their address is new."""
        weight = self.project_in.weight
        numbers = self.time_proj(torch.arange(frames, device=weight.device)).to(weight.dtype)
        return keep(self, "positions", self.time_embed(numbers)[:, None, :])

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        image_only_indicator: Tensor | None = None,
        return_dict: bool = False,  # noqa: FBT001, FBT002 -- the stock block passes it
    ) -> tuple[Tensor]:
        """Return [F*B, C, H, W] in a tuple, as the stock blocks expect. Context and indicator are None."""
        _refuse(encoder_hidden_states, image_only_indicator, return_dict or None)
        positions = bound(self.positions)  # [F, 1, C]
        _, channels, height, width = hidden_states.shape
        x = self.norm(hidden_states).permute(0, 2, 3, 1).reshape(-1, height * width, channels)
        x = self.project_in(x)
        for spatial, temporal in zip(self.spatial, self.temporal, strict=True):
            x = spatial(x)
            by_frame = x.view(positions.shape[0], -1, x.shape[-1])
            x = self.blend(x, temporal(by_frame + positions).view_as(x))
        x = self.project_out(x).unflatten(1, (height, width)).permute(0, 3, 1, 2)
        return (x + hidden_states,)


def _refuse(*given: object) -> None:
    if any(one is not None for one in given):
        raise ValueError("this block takes no context and no indicator of images: constants are bound once")

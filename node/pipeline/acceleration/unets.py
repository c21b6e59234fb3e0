"""The UNets of SDXL and SVD, prepared: the numbers of the diffusers classes with less work per step.

``prepare_still_unet`` and ``prepare_clip_unet`` change a loaded network in place, for any type and device. A
prepared network's step takes the latents and the time alone; all that is constant over a job's steps is
computed when a ``Binding`` is made. The rewrites and why they are exact: docs, performance 3.1.
"""

from typing import Any, ClassVar, cast

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import SpatioTemporalResBlock
from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_spatio_temporal_condition import UNetSpatioTemporalConditionModel
from torch import nn

from node.pipeline.acceleration.attention import SelfAttention, SingleTokenAttention, TextAttention
from node.pipeline.acceleration.constants import Binding, bound, keep
from node.pipeline.acceleration.spatiotemporal import ResidualBlock, Transformer

REWRITES = (
    "fused qkv, bound text keys and values, bound one-token context, frames outermost, conv2d over time"
)
"""What the prepared networks compute in another order of operations than diffusers: part of the class."""

Tensor = torch.Tensor


class StillUNet(UNet2DConditionModel):
    """SDXL's UNet after ``prepare_still_unet``. Its rows come in R equal runs, one per bound conditioning.

    ``generation`` counts the times its constants took new addresses, ``lengths`` is R and the text's length.
    """

    captured: ClassVar[bool] = True
    """At one image a step is bound by its 1500 launches, and a graph holds a few hundred megabytes."""
    holder: Binding | None
    generation: int
    lengths: tuple[int, ...]
    added: Tensor | None

    def bind(self, context: Tensor, text_embeds: Tensor, time_ids: Tensor) -> None:
        """Compute what texts [R, L, C], pooled texts [R, P] and sizes [R, 6] add to every step."""
        sizes = self.add_time_proj(time_ids.flatten()).reshape(len(text_embeds), -1)
        together = torch.cat([text_embeds, sizes], dim=-1).to(context.dtype)
        moved = keep(self, "added", self.add_embedding(together))
        for layer in self.modules():
            if isinstance(layer, TextAttention):
                moved |= layer.bind(context)
        self.generation += moved
        self.lengths = tuple(context.shape[:2])

    def get_aug_embed(self, emb: Tensor, encoder_hidden_states: Any, added_cond_kwargs: Any) -> Tensor:
        """Return the bound embedding of pooled texts and sizes, a row for each row of ``emb``."""
        if encoder_hidden_states is not None or added_cond_kwargs is not None:
            raise ValueError("a prepared UNet takes no conditioning: make a Binding")
        added = bound(self.added)
        runs = added[:, None].expand(-1, emb.shape[0] // added.shape[0], -1)
        return runs.flatten(0, 1)

    def forward(self, sample: Tensor, timestep: Tensor, *, return_dict: bool = False) -> tuple[Tensor]:
        """Return the noise in ``sample`` [B, 4, h, w] in a tuple. ``timestep`` is [] or [B]."""
        _refuse_output_class(return_dict)
        output: tuple[Tensor] = super().forward(sample, timestep, None, return_dict=False)
        return output


class ClipUNet(UNetSpatioTemporalConditionModel):
    """SVD's UNet after ``prepare_clip_unet``. All frames are video frames and share one time.

    ``generation`` counts the times its constants took new addresses, ``lengths`` is the clips and frames.
    """

    captured: ClassVar[bool] = False
    """The launches of a step hide behind its work, and a graph would keep 6 to 8 GB from the decoder."""
    holder: Binding | None
    generation: int
    lengths: tuple[int, ...]
    added: Tensor | None

    def bind(self, context: Tensor, added_time_ids: Tensor, frames: int) -> None:
        """Compute what contexts [B, 1, C], one row of ids [1, 3] and frame numbers add to every step."""
        if added_time_ids.shape[0] != 1:
            raise ValueError(f"all clips of a batch share one row of ids, not {added_time_ids.shape[0]}")
        numbers = self.add_time_proj(added_time_ids.flatten()).reshape(1, -1)
        moved = keep(self, "added", self.add_embedding(numbers.to(context.dtype)))
        for layer in self.modules():
            if isinstance(layer, ResidualBlock):
                moved |= getattr(layer, "frames", None) != frames
                layer.frames = frames
            elif isinstance(layer, Transformer):
                moved |= layer.bind(frames)
            elif isinstance(layer, SingleTokenAttention):
                moved |= layer.bind(context)
        self.generation += moved
        self.lengths = (context.shape[0], frames)

    def forward(  # type: ignore[override]
        self, sample: Tensor, timestep: Tensor, *, return_dict: bool = False
    ) -> tuple[Tensor]:
        """Return v, [B, F, 4, h, w] in a tuple, for ``sample`` [B, F, 8, h, w]. ``timestep`` is [] or [1]."""
        _refuse_output_class(return_dict)
        clips, frames = sample.shape[:2]
        emb = self.time_embedding(self.time_proj(timestep.reshape(1)).to(sample.dtype)) + bound(self.added)
        x = self.conv_in(sample.transpose(0, 1).flatten(0, 1))  # [F*B, C, h, w]
        skips: tuple[Tensor, ...] = (x,)
        for block in self.down_blocks:
            x, passed = block(hidden_states=x, temb=emb)
            skips += passed
        x = self.mid_block(hidden_states=x, temb=emb)
        # Sizes that do not halve evenly are enlarged to what they came from, as the stock class does.
        uneven = any(size % 2**self.num_upsamplers for size in sample.shape[-2:])
        last = len(self.up_blocks) - 1
        for number, block in enumerate(self.up_blocks):
            count = len(cast("nn.ModuleList", block.resnets))
            passed, skips = skips[-count:], skips[:-count]
            size = skips[-1].shape[2:] if uneven and number != last else None
            x = block(hidden_states=x, temb=emb, res_hidden_states_tuple=passed, upsample_size=size)
        x = self.conv_out(self.conv_act(self.conv_norm_out(x)))
        return (x.unflatten(0, (frames, clips)).transpose(0, 1),)


def prepare_still_unet(unet: Any) -> None:
    """Turn a loaded ``UNet2DConditionModel`` of SDXL into a ``StillUNet``, in place. Frees what it replaces.

    Raises ValueError if the network is not SDXL's in kind.
    """
    if type(unet) is not UNet2DConditionModel or unet.config.addition_embed_type != "text_time":
        raise ValueError(f"not an SDXL UNet as loaded: {type(unet).__name__}")
    with torch.inference_mode(mode=False), torch.no_grad():
        blocks: list[Any] = [layer for layer in unet.modules() if isinstance(layer, BasicTransformerBlock)]
        for block in blocks:
            block.attn1 = SelfAttention(block.attn1)
            block.attn2 = TextAttention(block.attn2)
    _adopt(unet, StillUNet)


def prepare_clip_unet(unet: Any) -> None:
    """Turn a loaded ``UNetSpatioTemporalConditionModel`` into a ``ClipUNet``, in place.

    Raises ValueError if the network is not SVD's in kind.
    """
    if type(unet) is not UNetSpatioTemporalConditionModel:
        raise ValueError(f"not an SVD UNet as loaded: {type(unet).__name__}")
    with torch.inference_mode(mode=False), torch.no_grad():
        # A list of the parents alone: it must not keep the weights of a block alive that was replaced.
        for parent in [layer for layer in unet.modules() if isinstance(layer, nn.ModuleList)]:
            for name, child in parent.named_children():
                if isinstance(child, SpatioTemporalResBlock):
                    setattr(parent, name, ResidualBlock(child))
                elif isinstance(child, TransformerSpatioTemporalModel):
                    setattr(parent, name, Transformer(child))
    _adopt(unet, ClipUNet)


def _adopt(unet: nn.Module, kind: type[nn.Module]) -> None:
    """Give the network its new step. The class changes and not one method, so that a copy keeps it."""
    unet.__class__ = kind
    unet.register_buffer("added", None, persistent=False)
    unet.holder, unet.generation, unet.lengths = None, 0, ()  # type: ignore[assignment]


def _refuse_output_class(return_dict: bool) -> None:  # noqa: FBT001 -- the stock argument as it came
    if return_dict:
        raise ValueError("a prepared UNet returns a tuple: call it with return_dict=False")

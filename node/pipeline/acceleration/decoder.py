"""The temporal VAE decoder in pieces: the picture of one call over all frames, in a third of its memory.

``AutoencoderKLTemporalDecoder`` mixes frames inside one call, so decoding fewer frames at a time gives other
pictures (docs, performance 3.6). Here every layer sees the whole clip: layers of one frame run piece by
piece, temporal residual blocks take the statistics of all frames first and then convolve over frames with
a halo of one. At most two activations of the clip are alive at once, each in place where it can be.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from node.pipeline.acceleration.group_norm import Scaling, Statistics, application_type, normalise_silu

PIECE_ELEMENTS = 3 * 2**26
"""How many numbers of an activation are worked on at once. It fixes the shapes that kernels are chosen for,
so it is part of the determinism class and never depends on free memory."""
CPU_PIECE_ELEMENTS = 2**19
"""The same on a CPU, where pieces that stay in its caches save more than long kernels do."""

REWRITES = f"temporal decoder in pieces of {PIECE_ELEMENTS}, on a cpu of {CPU_PIECE_ELEMENTS}"
"""What of this is part of the determinism class."""


@torch.no_grad()
def decode_clip(vae: Any, latents: torch.Tensor, *, piece_elements: int | None = None) -> torch.Tensor:
    """Return the frames of one clip, [F, 3, 8h, 8w], for latents [F, 4, h, w] already divided by the scale.

    Equal to ``vae.decode(latents, num_frames=F)`` up to rounding. ``latents`` have the type and device of
    ``vae``, an ``AutoencoderKLTemporalDecoder``; the result has them too. ``piece_elements`` is that of the
    device unless it is given.

    Raises ValueError if the latents do not fit the decoder.
    """
    decoder = vae.decoder
    channels = decoder.conv_in.in_channels
    if latents.ndim != 4 or len(latents) < 1 or latents.shape[1] != channels:
        raise ValueError(f"latents of a clip are [F, {channels}, h, w], not {list(latents.shape)}")
    if piece_elements is None:
        piece_elements = CPU_PIECE_ELEMENTS if latents.device.type == "cpu" else PIECE_ELEMENTS
    clip = _Clip(_channels_last(decoder.conv_in(latents)), piece_elements)
    middle = decoder.mid_block
    clip.residual(middle.resnets[0])
    # As the class has it: with one residual block alone in the middle, its attention is never reached.
    for attention, block in zip(middle.attentions, middle.resnets[1:], strict=False):
        clip.attend(attention)
        clip.residual(block)
    enlarge = None
    for level in decoder.up_blocks:
        for block in level.resnets:
            clip.residual(block, enlarge)
            enlarge = None
        enlarge = level.upsamplers[0] if level.upsamplers is not None else None
    return clip.finish(decoder)


class _Clip:
    """The activation of all frames, [F, C, H, W], and the layers that change it, each piece by piece.

    The only reference to the activation is here, so that it is freed as soon as a larger one replaces it.
    """

    def __init__(self, x: torch.Tensor, piece_elements: int) -> None:
        self._x = x
        self._piece_elements = piece_elements

    def residual(self, block: Any, enlarge: Any = None) -> None:
        """Apply a spatio-temporal residual block, after upsampling with ``enlarge`` if that is given.

        The enlarged frames never exist all at once.
        """
        self._spatial(block.spatial_res_block, enlarge)
        self._temporal(block.temporal_res_block, _temporal_share(block.time_mixer, len(self._x)))

    def attend(self, attention: Any) -> None:
        """Apply the attention of each frame over its own pixels."""
        for frame in range(len(self._x)):
            self._x[frame] = attention(self._x[frame : frame + 1])[0]

    def finish(self, decoder: Any) -> torch.Tensor:
        """Apply the last norm and the two last convolutions and return [F, 3, H, W]."""
        x = self._x
        padded = _padded(x, len(x), decoder.conv_out.out_channels)
        for start, end in self._pieces(x.shape[1]):
            piece = x[start:end]
            _normalise_each(piece, decoder.conv_norm_out, piece)
            padded[start + 1 : end + 1] = decoder.conv_out(piece)
        return _over_frames(padded, decoder.time_conv_out)

    def _spatial(self, block: Any, enlarge: Any) -> None:
        frames, channels, height, width = self._x.shape
        zoom = 1 if enlarge is None else 2
        y = self._x
        if enlarge is not None or block.conv_shortcut is not None:
            shape = (frames, block.out_channels, height * zoom, width * zoom)
            y = torch.empty(shape, dtype=y.dtype, device=y.device, memory_format=torch.channels_last)
        for start, end in self._pieces(max(channels, block.out_channels) * zoom * zoom):
            piece = self._x[start:end] if enlarge is None else enlarge(self._x[start:end])
            hidden = torch.empty_like(piece)
            _normalise_each(piece, block.norm1, hidden)
            hidden = _channels_last(block.conv1(hidden))
            _normalise_each(hidden, block.norm2, hidden)
            hidden = block.conv2(hidden)
            kept = piece if block.conv_shortcut is None else block.conv_shortcut(piece)
            torch.add(kept, hidden, out=y[start:end])
        self._x = y

    def _temporal(self, block: Any, share: torch.Tensor) -> None:
        """Add ``share`` of the temporal residual, in place."""
        x, pieces = self._x, list(self._pieces(self._x.shape[1]))
        statistics = Statistics()
        for start, end in pieces:
            statistics.add(x[start:end])
        scaling = statistics.over_all(block.norm1)
        hidden = _padded(x, len(x), x.shape[1])
        inner = hidden[1:-1]
        statistics = Statistics()
        for start, end, window in _windows(x, scaling, pieces):
            inner[start:end] = _over_frames(window, block.conv1)
            statistics.add(inner[start:end])
        scaling = statistics.over_all(block.norm2)
        for start, end in pieces:
            normalise_silu(inner[start:end], scaling, inner[start:end])
        for start, end in pieces:
            x[start:end].addcmul_(_over_frames(hidden[start : end + 2], block.conv2), share)

    def _pieces(self, channels: int) -> Iterator[tuple[int, int]]:
        """Yield the first and the last plus one frame of each piece worked on with ``channels`` a frame."""
        frames, _, height, width = self._x.shape
        step = max(1, self._piece_elements // (channels * height * width))
        for start in range(0, frames, step):
            yield start, min(start + step, frames)


def _windows(
    x: torch.Tensor, scaling: Scaling, pieces: list[tuple[int, int]]
) -> Iterator[tuple[int, int, torch.Tensor]]:
    """Yield each piece's frames normalised, with one more at both ends: zeros beyond the clip's ends.

    A window is valid until the next one is asked for: its memory is the same for all.
    """
    frames, step = len(x), pieces[0][1]
    room = _padded(x, step, x.shape[1])
    filled = 0
    for start, end in pieces:
        if start:
            # One frame after the other: with a step of one, source and target overlap.
            room[0] = room[step]
            room[1] = room[step + 1]
        needed = min(end + 1, frames)
        if needed > filled:
            normalise_silu(x[filled:needed], scaling, room[filled - start + 1 : needed - start + 1])
        if end == frames:
            room[end - start + 1].zero_()
        filled = needed
        yield start, end, room[: end - start + 2]


def _normalise_each(x: torch.Tensor, norm: nn.GroupNorm, out: torch.Tensor) -> None:
    statistics = Statistics()
    statistics.add(x)
    normalise_silu(x, statistics.per_image(norm), out)


def _over_frames(padded: torch.Tensor, convolution: nn.Conv3d) -> torch.Tensor:
    """Convolve over frames, [F + 2, C, H, W] to [F, C', H, W], with a (3, 1, 1) kernel.

    In channels-last memory the frames are the rows of one picture [C, F + 2, H W]: no copy is made.
    """
    frames, channels, height, width = padded.shape  # frames count the two added
    rows = padded.permute(0, 2, 3, 1).reshape(1, frames, height * width, channels).permute(0, 3, 1, 2)
    y = functional.conv2d(rows, convolution.weight[..., 0], convolution.bias)
    y = y.permute(0, 2, 3, 1).reshape(frames - 2, height, width, convolution.out_channels)
    return y.permute(0, 3, 1, 2)


def _padded(like: torch.Tensor, frames: int, channels: int) -> torch.Tensor:
    """Return room for frames of the size of ``like``, zeros before and after, in channels-last memory."""
    shape = (frames + 2, channels, *like.shape[2:])
    padded = torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)
    padded[0].zero_()
    padded[-1].zero_()
    return padded


def _temporal_share(mixer: Any, frames: int) -> torch.Tensor:
    """Return how much of the temporal residual is added when no frame is a lone image, [1].

    The mixer's ``a x + (1 - a) (x + r)`` is ``x + (1 - a) r``.
    """
    no_image = torch.zeros(1, frames, device=mixer.mix_factor.device)
    spatial: torch.Tensor = mixer.get_alpha(no_image, 5).flatten()[:1]
    spatial = spatial.to(application_type(mixer.mix_factor.dtype))
    return spatial if mixer.switch_spatial_to_temporal_mix else 1.0 - spatial


def _channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last)

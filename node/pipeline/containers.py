"""8-bit frames to files: PNG, APNG, WebP and MP4, the same bytes for the same frames.

Frames are [F, H, W, 3] uint8 arrays. No file carries a time, a name or the prompt. The encoders' versions are
part of the determinism class. What is promised: docs, pipeline 11.
"""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import Flags as CodecFlags
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from PIL import Image

Frames = np.ndarray[Any, np.dtype[np.uint8]]
_WEBP_QUALITY = 85
_WEBP_METHOD = 4
_PNG_LEVEL = 1
# One encoder thread: x264's bytes depend on their number.
_X264 = {"crf": "18", "preset": "medium", "x264-params": "threads=1:lookahead-threads=1:sliced-threads=0"}
_BT709 = 1
# Without these two flags the colour conversion takes shortcuts that differ between processors.
_CONVERSION = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


def frame_duration_ms(framerate: int) -> int:
    """Return how long a frame of an image container is shown: whole milliseconds, cut off."""
    return 1000 // framerate


def write_png(path: Path, image: Frames) -> None:
    """Write one image [H, W, 3]."""
    Image.fromarray(image).save(path, format="PNG", compress_level=_PNG_LEVEL)


def write_apng(path: Path, frames: Frames, framerate: int) -> None:
    """Write a lossless animation that loops for ever."""
    first, *rest = (Image.fromarray(frame) for frame in frames)
    first.save(
        path,
        format="PNG",
        save_all=True,
        append_images=rest,
        duration=frame_duration_ms(framerate),
        loop=0,
        compress_level=_PNG_LEVEL,
    )


def write_webp(path: Path, frames: Frames, framerate: int) -> None:
    """Write a lossy animation that loops for ever."""
    first, *rest = (Image.fromarray(frame) for frame in frames)
    first.save(
        path,
        format="WEBP",
        save_all=True,
        append_images=rest,
        duration=frame_duration_ms(framerate),
        loop=0,
        lossless=False,
        quality=_WEBP_QUALITY,
        method=_WEBP_METHOD,
    )


def write_mp4(path: Path, frames: Frames, framerate: int) -> None:
    """Write H.264 at exactly ``framerate``, its index first, so that a browser plays it while it loads."""
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(str(path), "w", format="mp4", options=options) as container:
        stream = container.add_stream("libx264", rate=Fraction(framerate), options=dict(_X264))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, framerate)
        stream.codec_context.thread_count = 1
        stream.codec_context.flags |= CodecFlags.bitexact
        stream.codec_context.color_range = ColorRange.MPEG
        stream.codec_context.colorspace = stream.codec_context.color_primaries = _BT709
        stream.codec_context.color_trc = _BT709
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
                interpolation=_CONVERSION,
            )
            frame.pts, frame.time_base = index, Fraction(1, framerate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

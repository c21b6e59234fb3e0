"""8-bit frames to files: PNG, APNG, WebP and MP4, the same bytes for the same frames.

A frame is [H, W, 3] uint8, a clip [F, H, W, 3]. Frames of image formats are compressed one by one, so that
threads may share them without a byte changing, and every clip has exactly its F frames. No file carries a
time, a name or the prompt. The encoders' versions are part of the determinism class. What is promised: docs,
pipeline 11.
"""

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import Flags as CodecFlags
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from PIL import Image

from node.errors import JobFailed

Frames = np.ndarray[Any, np.dtype[np.uint8]]

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_LEVEL = 1
_FILTER_SUB = 1
_EIGHT_BITS, _TRUECOLOUR = 8, 2
_FOR_EVER = 0

_WEBP_QUALITY = 85
_WEBP_METHOD = 4
_WEBP_ANIMATED = 0x02
_WEBP_REPLACE = 0x02

# The number of threads is in the bytes, so it is fixed whatever the machine has. Without cpu-independent,
# x264 also chooses algorithms by what the processor offers.
_X264_THREADS = 4
_X264 = {
    "crf": "18",
    "preset": "medium",
    "x264-params": f"threads={_X264_THREADS}:lookahead-threads=1:sliced-threads=0:cpu-independent=1",
}
_BT709 = 1
# Without these two flags the colour conversion takes shortcuts that differ between processors.
_CONVERSION = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


@dataclass(frozen=True, slots=True)
class Compressed:
    """One frame as its file format stores it: a zlib stream of filtered rows, or a VP8 key frame."""

    width: int
    height: int
    data: bytes


def frame_duration_ms(framerate: int) -> int:
    """Return how long a frame of an image container is shown: whole milliseconds, cut off."""
    return 1000 // framerate


def deflate(frame: Frames) -> Compressed:
    """Compress a frame without loss, as PNG does (PNG specification, 9 and 10)."""
    height, width, channels = frame.shape
    rows = frame.reshape(height, width * channels)
    filtered = np.empty((height, 1 + width * channels), np.uint8)
    # One filter for every row: choosing per row costs twice the time for a few per cent of the size.
    filtered[:, 0] = _FILTER_SUB
    filtered[:, 1 : 1 + channels] = rows[:, :channels]
    np.subtract(rows[:, channels:], rows[:, :-channels], out=filtered[:, 1 + channels :])
    return Compressed(width, height, zlib.compress(filtered.data, _PNG_LEVEL))


def vp8(frame: Frames) -> Compressed:
    """Compress a frame with loss, as WebP does: quality 85, method 4."""
    height, width = frame.shape[:2]
    file = io.BytesIO()
    Image.fromarray(frame).save(
        file, format="WEBP", lossless=False, quality=_WEBP_QUALITY, method=_WEBP_METHOD
    )
    ((_, data),) = (chunk for chunk in _riff_chunks(file.getvalue()) if chunk[0] == b"VP8 ")
    return Compressed(width, height, data)


def write_png(path: Path, frame: Compressed) -> None:
    """Write one deflated frame."""
    path.write_bytes(_png(frame, [_png_chunk(b"IDAT", frame.data)]))


def write_apng(path: Path, frames: Sequence[Compressed], framerate: int) -> None:
    """Write deflated frames as an animation that loops for ever (PNG specification, 11.3.6)."""
    chunks = [_png_chunk(b"acTL", struct.pack(">II", len(frames), _FOR_EVER))]
    sequence = 0
    for index, frame in enumerate(frames):
        shown = (frame.width, frame.height, 0, 0, frame_duration_ms(framerate), 1000, 0, 0)
        chunks.append(_png_chunk(b"fcTL", struct.pack(">IIIIIHHBB", sequence, *shown)))
        sequence += 1
        # The first frame is also what a viewer without animation shows.
        if index == 0:
            chunks.append(_png_chunk(b"IDAT", frame.data))
            continue
        chunks.append(_png_chunk(b"fdAT", struct.pack(">I", sequence) + frame.data))
        sequence += 1
    path.write_bytes(_png(frames[0], chunks))


def write_webp(path: Path, frames: Sequence[Compressed], framerate: int) -> None:
    """Write VP8 key frames as an animation that loops for ever (RFC 9649, 2.7)."""
    size = _uint24(frames[0].width - 1) + _uint24(frames[0].height - 1)
    chunks = [
        _riff_chunk(b"VP8X", struct.pack("<I", _WEBP_ANIMATED) + size),
        _riff_chunk(b"ANIM", struct.pack("<IH", 0, _FOR_EVER)),
    ]
    place = _uint24(0) + _uint24(0) + size
    header = place + _uint24(frame_duration_ms(framerate)) + bytes([_WEBP_REPLACE])
    chunks.extend(_riff_chunk(b"ANMF", header + _riff_chunk(b"VP8 ", frame.data)) for frame in frames)
    path.write_bytes(_riff_chunk(b"RIFF", b"WEBP" + b"".join(chunks)))


def write_mp4(path: Path, frames: Frames, framerate: int) -> None:
    """Write H.264 at exactly ``framerate``, its index first, so that a browser plays it while it loads.

    Raises OSError if the file cannot be written, JobFailed if the frames cannot be encoded.
    """
    try:
        _write_mp4(path, frames, framerate)
    except av.FFmpegError as error:
        if isinstance(error, OSError):
            raise
        raise JobFailed(f"the frames cannot be encoded as H.264: {error}") from error


def _write_mp4(path: Path, frames: Frames, framerate: int) -> None:
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(str(path), "w", format="mp4", options=options) as container:
        stream = container.add_stream("libx264", rate=Fraction(framerate), options=dict(_X264))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, framerate)
        stream.codec_context.thread_count = _X264_THREADS
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


def _png(frame: Compressed, chunks: list[bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", frame.width, frame.height, _EIGHT_BITS, _TRUECOLOUR, 0, 0, 0)
    return b"".join((_PNG_SIGNATURE, _png_chunk(b"IHDR", header), *chunks, _png_chunk(b"IEND", b"")))


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(data, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(data)), kind, data, struct.pack(">I", checksum)))


def _riff_chunk(kind: bytes, data: bytes) -> bytes:
    return b"".join((kind, struct.pack("<I", len(data)), data, b"\0" * (len(data) % 2)))


def _riff_chunks(file: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the chunks of a RIFF file with their kinds."""
    at = 12
    while at < len(file):
        size = int.from_bytes(file[at + 4 : at + 8], "little")
        yield file[at : at + 4], file[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _uint24(number: int) -> bytes:
    return number.to_bytes(3, "little")

"""25 frames to files: our encoders against Pillow at the settings of the reference."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from node.pipeline import containers
from node.pipeline.encoding import Encoders
from scripts.benchmarks.pipeline.child import Request
from scripts.benchmarks.pipeline.measuring import Clock, in_turns, summary
from scripts.benchmarks.pipeline.networks import FULL
from scripts.benchmarks.pipeline.stock import picture

_FRAMERATE = 8
_ROUNDS = 3
_MARGIN = 64


def run(request: Request, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Return time and size of each file, ours and Pillow's, in turns."""
    clock, frames = Clock(request.device), moving_frames()
    found: dict[str, Any] = {"size": [FULL.clip_width, FULL.clip_height], "frames": FULL.frames, "files": {}}
    writers: dict[str, Callable[[Path], None]] = {
        "apng, Pillow, level 0": lambda path: _pillow(path, frames, format="PNG", compress_level=0),
        "apng, Pillow, level 1": lambda path: _pillow(path, frames, format="PNG", compress_level=1),
        "apng, ours": lambda path: containers.write_apng(
            path, [containers.deflate(frame) for frame in frames], _FRAMERATE
        ),
        "webp, Pillow, quality 85, method 4": lambda path: _pillow(
            path, frames, format="WEBP", quality=85, method=4
        ),
        "webp, ours": lambda path: containers.write_webp(
            path, [containers.vp8(frame) for frame in frames], _FRAMERATE
        ),
        "mp4, ours": lambda path: containers.write_mp4(path, frames, _FRAMERATE),
        "all three, ours, on threads": lambda path: _together(path, frames),
    }
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{index}.out" for index, name in enumerate(writers)}
        turns = {
            name: lambda write=write, name=name: [clock.seconds(lambda: write(paths[name])) * 1e3]
            for name, write in writers.items()
        }
        for name, times in in_turns(turns, _ROUNDS).items():
            found["files"][name] = summary(times) | {"bytes": _size(paths[name])}
        keep(found)
        apngs = [_shown(path) for name, path in paths.items() if name.startswith("apng")]
        found["apng_pixels_equal"] = all(np.array_equal(apngs[0], other) for other in apngs)
        theirs, mine = (_shown(path) for name, path in paths.items() if name.startswith("webp"))
        found["webp_psnr_db"] = {
            "Pillow": _psnr(frames, theirs),
            "ours": _psnr(frames, mine),
        }
    return found


def moving_frames() -> containers.Frames:
    """Return frames [F, H, W, 3] of one picture that a camera pans over, with grain in every frame."""
    wide = np.asarray(picture(FULL.clip_width + _MARGIN, FULL.clip_height)).astype(np.int16)
    random = np.random.default_rng(11)
    frames = []
    for index in range(FULL.frames):
        left = index * _MARGIN // FULL.frames
        view = wide[:, left : left + FULL.clip_width]
        frames.append(np.clip(view + random.normal(0, 2, view.shape), 0, 255).astype(np.uint8))
    return np.stack(frames)


def _pillow(path: Path, frames: containers.Frames, **settings: Any) -> None:
    first, *rest = (Image.fromarray(frame) for frame in frames)
    duration = 1000 // _FRAMERATE
    first.save(path, save_all=True, append_images=rest, duration=duration, loop=0, **settings)


def _together(folder: Path, frames: containers.Frames) -> None:
    folder.mkdir(exist_ok=True)
    with Encoders() as encoders:
        encoders.write_clip(1, frames, _FRAMERATE, folder, with_frames=False)


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _shown(path: Path) -> containers.Frames:
    with Image.open(path) as clip:
        frames = []
        for index in range(FULL.frames):
            clip.seek(min(index, clip.n_frames - 1))
            frames.append(np.asarray(clip.convert("RGB")))
    return np.stack(frames)


def _psnr(frames: containers.Frames, shown: containers.Frames) -> float:
    error = np.mean((frames.astype(np.float32) - shown.astype(np.float32)) ** 2)
    return round(float(10 * np.log10(255.0**2 / error)), 2)

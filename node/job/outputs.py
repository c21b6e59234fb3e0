"""The files that a job promises: their names below the result directory, their order, their media types."""

from node.job.manifest import OUTPUTS
from node.job.spec import JobSpec

CLIP_SUFFIXES = ("png", "webp", "mp4")
"""The containers of every clip, in the manifest's order."""
FRAMES = 25
"""How many frames the module's clips have."""
_CLIP = "output_"


def image_path(number: int) -> str:
    """Return where still ``number`` (from 1) is."""
    return f"{OUTPUTS}/still_{number:05}_.png"


def video_path(number: int, suffix: str) -> str:
    """Return where clip ``number`` is as ``png`` (animated), ``webp`` or ``mp4``."""
    return f"{OUTPUTS}/{_CLIP}{number:05}_.{suffix}"


def frame_path(number: int, frame: int) -> str:
    """Return where frame ``frame`` (from 1) of clip ``number`` is, if frames are asked for."""
    return f"{OUTPUTS}/frames_{number:05}_/frame_{frame:05}_.png"


def media_type(path: str) -> str:
    """Return the type of an output by its name."""
    name = path.rpartition("/")[2]
    if name.startswith(_CLIP) and name.endswith(".png"):
        return "image/apng"
    return {"png": "image/png", "webp": "image/webp", "mp4": "video/mp4"}[name.rpartition(".")[2]]


def expected_outputs(spec: JobSpec, frames: int) -> list[str]:
    """Return every file a job promises, in the manifest's order; ``frames`` is the length of a clip."""
    shown = frames if spec.frames == "png" else 0
    paths = []
    for number in range(1, spec.batching + 1):
        paths.append(image_path(number))
        paths.extend(video_path(number, suffix) for suffix in CLIP_SUFFIXES)
        paths.extend(frame_path(number, frame) for frame in range(1, shown + 1))
    return paths

"""The names of a job's stages in the manifest, in the order in which each follows from those before it."""

from node.job.outputs import CLIP_SUFFIXES, FRAMES, frame_path, image_path, video_path
from node.job.spec import JobSpec

TEXT_CONDITIONING = "text_conditioning"
STILL_LATENTS = "still_latents"
STILLS = "stills"


def video_conditioning(number: int) -> str:
    """Return the stage of what clip ``number`` (from 1) is conditioned on."""
    return f"video_conditioning_{number:05}"


def video_latents(number: int) -> str:
    """Return the stage of the latents of clip ``number``."""
    return f"video_latents_{number:05}"


def frames(number: int) -> str:
    """Return the stage of the frames of clip ``number``."""
    return f"frames_{number:05}"


def computed_stages(spec: JobSpec) -> tuple[str, ...]:
    """Return the stages that are numbers and no files."""
    clips = (
        stage(number)
        for number in range(1, spec.batching + 1)
        for stage in (video_conditioning, video_latents, frames)
    )
    return TEXT_CONDITIONING, STILL_LATENTS, STILLS, *clips


def all_stages(spec: JobSpec, clip_frames: int = FRAMES) -> tuple[str, ...]:
    """Return every stage, files by their paths: two executions part at the first that differs."""
    order = [TEXT_CONDITIONING, STILL_LATENTS, STILLS]
    order += [image_path(number) for number in range(1, spec.batching + 1)]
    shown = clip_frames if spec.frames == "png" else 0
    for number in range(1, spec.batching + 1):
        order += [video_conditioning(number), video_latents(number), frames(number)]
        order += [frame_path(number, frame) for frame in range(1, shown + 1)]
        order += [video_path(number, suffix) for suffix in CLIP_SUFFIXES]
    return tuple(order)

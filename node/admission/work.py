"""What a job is made of: amounts of each part of the work, from its inputs and the profile's sizes. Pure.

An amount is counted in the unit that a part's time goes with: evaluations and frames by megapixels, what is
done once by the times it is done. What a unit takes on this machine is measured: ``stage_times``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from node.job.evaluations import evaluations
from node.job.spec import JobSpec

_MEGA = 1_000_000


class Part(StrEnum):
    """A part of a job's work, and what one unit of it is."""

    STILL_START = "still_start"
    """Conditioning on the text and what else comes before the first evaluation; once a job."""
    STILL_EVALUATION = "still_evaluation"
    """One evaluation, both passes of guidance, for a megapixel of stills."""
    STILL_DECODE = "still_decode"
    """A megapixel of stills."""
    CLIP_START = "clip_start"
    """Conditioning on the still; once a clip."""
    CLIP_EVALUATION = "clip_evaluation"
    """One evaluation, both passes of guidance, for a megapixel of frames."""
    CLIP_DECODE = "clip_decode"
    """A megapixel of frames, all of a clip in one piece."""
    ENCODE = "encode"
    """The three containers of a megapixel of frames."""
    ENCODE_FILES = "encode_files"
    """The same with the frames as files of their own."""
    FINISH = "finish"
    """Manifest and hand-over; once a job."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """A profile's pixels: of one still, of one frame, and the frames of a clip."""

    still_pixels: int
    frame_pixels: int
    frames: int


class Stage(NamedTuple):
    """A stage as the renderer reports it: seconds before its first step, and of all its steps."""

    name: str
    start_s: float
    steps_s: float


@dataclass(frozen=True, slots=True)
class Work:
    """One job's amounts. ``once`` are those of the whole job, ``per_clip`` those of each of its clips.

    ``encode`` is one clip's as well; it runs beside the rendering of the next clip.
    """

    clips: int
    once: dict[Part, float]
    per_clip: dict[Part, float]
    encode: dict[Part, float]

    def seconds(self, unit_s: Mapping[Part, float]) -> float:
        """Return how long the job takes with these seconds per unit; a part without any takes none."""
        once, clip, encode = (_sum(amounts, unit_s) for amounts in (self.once, self.per_clip, self.encode))
        # Clips are rendered one after another, and each is encoded while the next one is rendered.
        return once + clip + encode + (self.clips - 1) * max(clip, encode)

    def stages(self, unit_s: Mapping[Part, float]) -> list[Stage]:
        """Return the stages of the renderer in their order."""

        def seconds(part: Part) -> float:
            return (self.once | self.per_clip)[part] * unit_s.get(part, 0.0)

        clip, encode = _sum(self.per_clip, unit_s), _sum(self.encode, unit_s)
        of_clip = [
            Stage("clip", seconds(Part.CLIP_START), seconds(Part.CLIP_EVALUATION)),
            Stage("clip decode", 0.0, seconds(Part.CLIP_DECODE)),
        ]
        last = encode + (self.clips - 1) * max(0.0, encode - clip) + seconds(Part.FINISH)
        return [
            Stage("still", seconds(Part.STILL_START), seconds(Part.STILL_EVALUATION)),
            Stage("still decode", 0.0, seconds(Part.STILL_DECODE)),
            *of_clip * self.clips,
            Stage("encode", 0.0, last),
        ]


def work_of(spec: JobSpec, sizes: Sizes) -> Work:
    """Return the parts of a job."""
    stills = spec.batching * sizes.still_pixels / _MEGA
    frames = sizes.frames * sizes.frame_pixels / _MEGA
    return Work(
        clips=spec.batching,
        once={
            Part.STILL_START: 1,
            Part.STILL_EVALUATION: evaluations(spec.scheduler, spec.sampler, spec.steps) * stills,
            Part.STILL_DECODE: stills,
            Part.FINISH: 1,
        },
        per_clip={
            Part.CLIP_START: 1,
            Part.CLIP_EVALUATION: evaluations(spec.video_scheduler, spec.video_sampler, spec.video_steps)
            * frames,
            Part.CLIP_DECODE: frames,
        },
        encode={encode_part(spec): frames},
    )


def encode_part(spec: JobSpec) -> Part:
    """Return which way of encoding a job asks for."""
    return Part.ENCODE_FILES if spec.frames == "png" else Part.ENCODE


def _sum(amounts: Mapping[Part, float], unit_s: Mapping[Part, float]) -> float:
    return sum(amount * unit_s.get(part, 0.0) for part, amount in amounts.items())

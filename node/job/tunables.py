"""The tunables of an ``sdv-pipeline`` job: names, defaults and bounds, as the module documents them.

Owns the table and the reading of one value. Which values a job gave, and how often, is ``spec``'s business.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from node.job.problems import Problem, shown

SCHEDULERS = ("normal", "karras", "exponential", "sgm_uniform", "simple", "ddim_uniform")
SAMPLERS = (
    "euler",
    "euler_ancestral",
    "heun",
    "heunpp2",
    "dpm_2",
    "dpm_2_ancestral",
    "lms",
    "dpm_fast",
    "dpm_adaptive",
    "dpmpp_2s_ancestral",
    "dpmpp_sde",
    "dpmpp_sde_gpu",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "dpmpp_2m_sde_gpu",
    "dpmpp_3m_sde",
    "dpmpp_3m_sde_gpu",
    "ddpm",
    "lcm",
)
SAME_AS = {
    "dpmpp_sde_gpu": "dpmpp_sde",
    "dpmpp_2m_sde_gpu": "dpmpp_2m_sde",
    "dpmpp_3m_sde_gpu": "dpmpp_3m_sde",
}
"""Samplers that differ from another one only in where noise is drawn; here that is always the CPU."""

MAX_SEED = 2**64 - 1
DEFAULT_PROMPT = "question mark floating in space"

# No sign, no leading zero, ASCII only: one spelling per number, so that nobody has to guess whether 010 is 8.
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,19}")
_ZERO_PADDED = re.compile(r"0+[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class TextTunable:
    """Free text; its size and characters are bounded where inputs are read."""

    name: str
    attribute: str
    environment: str
    default: str
    allowed: str = "any text in one line"

    def read(self, text: str) -> str | Problem:
        """Return the text as it is."""
        return text


@dataclass(frozen=True, slots=True)
class IntegerTunable:
    """A whole number from ``low`` to ``high``, or one of ``choices``."""

    name: str
    attribute: str
    environment: str
    default: int
    low: int
    high: int
    choices: tuple[int, ...] = ()
    allowed: str = field(init=False)

    def __post_init__(self) -> None:
        numbers = ", ".join(str(choice) for choice in self.choices)
        text = f"one of {numbers}" if numbers else f"a whole number from {self.low} to {self.high}"
        object.__setattr__(self, "allowed", text)

    def read(self, text: str) -> int | Problem:
        """Return the number, or the problem with it."""
        if _DECIMAL.fullmatch(text) is None:
            if text.isascii() and text.isdigit():
                wrong = "has leading zeros" if _ZERO_PADDED.fullmatch(text) else "is too large"
            else:
                wrong = "is not a whole number in the digits 0-9"
            return Problem(self.name, shown(text), wrong, self.allowed)
        number = int(text)
        if not self.low <= number <= self.high:
            wrong = "is below the minimum" if number < self.low else "is above the maximum"
            return Problem(self.name, shown(text), wrong, self.allowed)
        if self.choices and number not in self.choices:
            return Problem(self.name, shown(text), "is not one of the choices", self.allowed)
        return number


@dataclass(frozen=True, slots=True)
class ChoiceTunable:
    """A name out of ``names``."""

    name: str
    attribute: str
    environment: str
    default: str
    names: tuple[str, ...]
    allowed: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "allowed", ", ".join(self.names))

    def read(self, text: str) -> str | Problem:
        """Return the name, or the problem with it."""
        if text in self.names:
            return text
        near = difflib.get_close_matches(text[:32].lower(), self.names, n=1)
        wrong = "is not a known name" + (f", did you mean {near[0]}?" if near else "")
        return Problem(self.name, shown(text), wrong, self.allowed)


Tunable = TextTunable | IntegerTunable | ChoiceTunable

TUNABLES: tuple[Tunable, ...] = (
    TextTunable("Prompt", "prompt", "PROMPT", DEFAULT_PROMPT),
    IntegerTunable("Framerate", "framerate", "FRAMERATE", 8, 1, 20),
    IntegerTunable("Seed", "seed", "SEED", 42, 0, MAX_SEED),
    IntegerTunable("Steps", "steps", "STEPS", 50, 5, 200),
    ChoiceTunable("Scheduler", "scheduler", "SCHEDULER", "normal", SCHEDULERS),
    ChoiceTunable("Sampler", "sampler", "SAMPLER", "euler_ancestral", SAMPLERS),
    IntegerTunable("Batching", "batching", "BATCHING", 1, 1, 8, (1, 2, 4, 8)),
    IntegerTunable("VideoSeed", "video_seed", "VIDEOSEED", 42, 0, MAX_SEED),
    IntegerTunable("VideoSteps", "video_steps", "VIDEOSTEPS", 50, 5, 70),
    ChoiceTunable("VideoScheduler", "video_scheduler", "VIDEOSCHEDULER", "normal", SCHEDULERS),
    ChoiceTunable("VideoSampler", "video_sampler", "VIDEOSAMPLER", "euler_ancestral", SAMPLERS),
    ChoiceTunable("Frames", "frames", "FRAMES", "none", ("none", "png")),
)
"""In the order of the module's documentation, our own ``Frames`` last; specs are written back in it."""

BY_NAME: dict[str, Tunable] = {tunable.name: tunable for tunable in TUNABLES}
DEFAULTS: dict[str, Any] = {tunable.attribute: tunable.default for tunable in TUNABLES}
ADDED: dict[str, Any] = {"Frames": BY_NAME["Frames"].default}
"""Tunables that specs stored by earlier versions lack, with what those versions computed."""
ALIASES = {"ImageSeed": "Seed"}
"""Names that the module's own usage examples pass for a documented tunable."""
KEYS = (*BY_NAME, *ALIASES)


def sampler_notes(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return one sentence for each sampler in ``values`` (by attribute) computed under another name."""
    chosen = {name: values[BY_NAME[name].attribute] for name in ("Sampler", "VideoSampler")}
    return tuple(
        f"{name} {sampler} is computed as {SAME_AS[sampler]}, as noise is drawn on the CPU"
        for name, sampler in chosen.items()
        if sampler in SAME_AS
    )

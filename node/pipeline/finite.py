"""No number that is NaN or infinite goes on: not to the next stage, and never into a picture.

Owns the looking and the words of the error; ``still`` and ``clip`` say where to look.
"""

import math

import torch

from node.errors import NotFinite
from node.pipeline import samplers
from node.pipeline.samplers import Denoise, StepCallback, StepNoise

Tensor = torch.Tensor


def check(values: Tensor, stage: str, step: int | str) -> None:
    """Raise NotFinite, naming the stage and the step, unless every one of ``values`` is finite.

    ``step`` is a number or the name of a part of the stage. Waits until the device has the values.
    """
    if not _are_finite(_extremes(values)):
        raise _not_finite(stage, step)


def sample(
    stage: str,
    name: str,
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    noise: StepNoise,
    callback: StepCallback,
) -> Tensor:
    """Return what ``samplers.sample`` returns, bit for bit, with every estimate on the way looked at.

    Raises NotFinite, naming ``stage`` and the step whose estimate or latents are not finite.
    """
    guard = Guard(stage, len(sigmas) - 1)
    try:
        latents = samplers.sample(name, guard.denoiser(denoise), x, sigmas, noise, guard.callback(callback))
    except NotFinite as error:
        # A sampler that looks at its latents itself knows neither the stage nor the step.
        named = guard.named(error)
        if named is error:
            raise
        raise named from error
    return guard.checked(latents)


class Guard:
    """Watches one run of a sampler: what step it is in, and that whatever the network gives is finite.

    An estimate is looked at when the next one is asked for, or at the end: a GPU need not be waited for while
    the CPU draws the step's noise. The error still names the step that the estimate belongs to.
    """

    def __init__(self, stage: str, steps: int) -> None:
        self._stage = stage
        self._steps = steps
        self._done = 0
        self._pending: tuple[Tensor, str] | None = None
        self._raised: NotFinite | None = None

    def denoiser(self, denoise: Denoise) -> Denoise:
        """Return ``denoise`` watched. Its calls raise NotFinite if the estimate before was not finite."""

        def watched(x: Tensor, sigma: Tensor) -> Tensor:
            self._look()
            estimate = denoise(x, sigma)
            self._pending = _extremes(estimate), self._name(self._done + 1)
            return estimate

        return watched

    def callback(self, callback: StepCallback) -> StepCallback:
        """Return ``callback`` such that the guard, too, learns of each step done."""

        def done(steps_done: int, steps: int) -> None:
            self._done, self._steps = steps_done, steps
            callback(steps_done, steps)

        return done

    def checked(self, latents: Tensor) -> Tensor:
        """Return the run's ``latents``. Raises NotFinite if they or the last estimate are not finite."""
        self._look()
        check(latents, self._stage, self._name(self._done))
        return latents

    def named(self, error: NotFinite) -> NotFinite:
        """Return an error out of the run with its stage and step, as it is if it names them already."""
        return error if error is self._raised else _not_finite(self._stage, self._name(self._done + 1))

    def _look(self) -> None:
        if self._pending is not None:
            extremes, step = self._pending
            self._pending = None
            if not _are_finite(extremes):
                self._raised = _not_finite(self._stage, step)
                raise self._raised

    def _name(self, step: int) -> str:
        return f"step {min(max(step, 1), self._steps)} of {self._steps}"


def _extremes(values: Tensor) -> Tensor:
    """Return the least and the largest value, [2]: both are NaN if one is, and no copy of them is made."""
    return torch.stack(torch.aminmax(values.detach()))


def _are_finite(extremes: Tensor) -> bool:
    return all(map(math.isfinite, extremes.tolist()))


def _not_finite(stage: str, step: int | str) -> NotFinite:
    where = f"step {step}" if isinstance(step, int) else step
    return NotFinite(
        f"{stage}, {where}: the numbers became NaN or infinite and no picture can be made of them; "
        "change the weights in the prompt, the sampler, the scheduler or the number of steps"
    )

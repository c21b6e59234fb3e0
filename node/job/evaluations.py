"""How often a sampler evaluates its network: what a job costs of the GPU, known from its inputs alone. Pure.

Owns the counts; the samplers themselves are in ``node.pipeline.solvers``, the schedules in
``node.pipeline.schedules``, and a test holds both to these numbers. Guidance is part of an evaluation: both
passes are one batch.
"""

from node.job.tunables import SAME_AS

ADAPTIVE_EVALUATIONS = 90
"""What ``dpm_adaptive`` is reckoned at, thirty attempts of three: it chooses its own steps."""
MOST_EVALUATIONS_PER_STEP = 3

_TABLE = 1000
_TWICE = frozenset({"heun", "dpm_2", "dpm_2_ancestral", "dpmpp_2s_ancestral", "dpmpp_sde"})
_ONE_LEVEL_MORE = frozenset({"dpm_2", "dpm_2_ancestral"})
_ADAPTIVE = "dpm_adaptive"


def sampler_steps(scheduler: str, sampler: str, steps: int) -> int:
    """Return how many steps a sampler reports for ``steps`` asked for; only ``ddim_uniform`` makes others."""
    if scheduler != "ddim_uniform":
        return steps
    discarded = 1 if sampler in _ONE_LEVEL_MORE else 0
    stride = max(1, _TABLE // (steps + discarded))
    return len(range(1, _TABLE, stride)) - discarded


def evaluations(scheduler: str, sampler: str, steps: int) -> int:
    """Return how many evaluations sampling takes in all; for ``dpm_adaptive`` what it is reckoned at."""
    if sampler == _ADAPTIVE:
        return ADAPTIVE_EVALUATIONS
    levels = sampler_steps(scheduler, sampler, steps)
    return evaluations_until(sampler, levels, levels)


def evaluations_until(sampler: str, done: int, levels: int) -> int:
    """Return how many evaluations the first ``done`` of a sampler's ``levels`` steps take.

    For ``dpm_adaptive`` the share of what it is reckoned at: its steps are shares of a distance.
    """
    plain = SAME_AS.get(sampler, sampler)
    if plain == _ADAPTIVE:
        return ADAPTIVE_EVALUATIONS * done // levels
    if plain in _TWICE:
        return min(2 * done, 2 * levels - 1)
    if plain == "heunpp2":
        # The last step looks no level ahead, the one before it one level.
        return 3 * done - sum((done >= levels - 1 > 0, 2 * (done >= levels)))
    return done


def is_counted(sampler: str) -> bool:
    """Whether the number of evaluations follows from the inputs alone."""
    return sampler != _ADAPTIVE

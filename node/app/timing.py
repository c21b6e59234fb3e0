"""The run times of this machine, built from the settings, and the prices that follow from them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from node.admission.pricing import gpu_times, own_prices, standing_terms
from node.admission.run_times import Rig, RunTimes
from node.admission.time_records import TimeRecords
from node.admission.work import Sizes
from node.clock import Clock, SystemClock
from node.config import Config
from node.gpu.probe import probe
from node.job.terms import PriceList, StandingTerms
from node.pipeline import processor
from node.pipeline.profiles import Profile, load_profile
from node.types import Wei
from node.worker.fake import is_fake

UNKNOWN_GPU = "unknown"


def rig_of(profile: str) -> Rig:
    """Return what renders on this machine: the profile, and the model of its GPU or processor."""
    if is_fake(profile):
        return Rig(profile, "none", None)
    loaded = load_profile(profile)
    return Rig(profile, _device(loaded)[:200], sizes_of(loaded))


def sizes_of(profile: Profile) -> Sizes:
    """Return the pixels of a profile's pictures."""
    return Sizes(profile.still_size**2, profile.clip_width * profile.clip_height, profile.frames)


def _device(profile: Profile) -> str:
    if profile.device != "cuda":
        return f"CPU {processor.model()}"
    return next((gpu.name for gpu in probe().gpus), UNKNOWN_GPU)


def run_times(
    config: Config,
    *,
    determinism_class: Callable[[], str | None] = lambda: None,
    clock: Clock | None = None,
) -> RunTimes:
    """Return the run times of the configured profile, with what was measured before."""
    return RunTimes(
        rig_of(config.worker.profile),
        TimeRecords(config.node.directory),
        initial_s=config.admission.initial_job_s,
        clock=clock or SystemClock(),
        determinism_class=determinism_class,
    )


@dataclass(frozen=True, slots=True)
class Prices:
    """The node's terms while it runs: as published, and the prices of modules that have their own."""

    standing: StandingTerms
    own: Mapping[str, PriceList]

    @property
    def least_wei(self) -> Wei:
        """What no job on the general prices costs less than."""
        prices = self.standing.prices
        return Wei(max(prices.floor_wei, prices.per_job_wei))


def prices_of(config: Config, times: RunTimes, *, silence_has_remedy: bool) -> Prices:
    """Return the terms that follow from the settings and from the run times at this moment."""
    gpu = gpu_times(times.priced_units(), times.rig.sizes, initial_s=config.admission.initial_job_s)
    standing = standing_terms(config.pricing, config.deal, silence_has_remedy=silence_has_remedy, gpu=gpu)
    return Prices(standing, own_prices(config.pricing, gpu))


def least_price(config: Config) -> Wei:
    """Return what no job on the general prices costs less than, as of what was measured until now."""
    return prices_of(config, run_times(config), silence_has_remedy=True).least_wei

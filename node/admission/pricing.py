"""This node's standing terms and prices, from its settings and its measured run times. Pure.

A price by the second is told in the same price list as any other one, so that a requester computes the same
price from the published offer: seconds of evaluations become the step prices, the rest the price per job.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from node.admission.work import Part, Sizes
from node.config import DealSection
from node.job.modules import resolve_module
from node.job.terms import PriceList, StandingTerms
from node.pricing_settings import MAX_STEP_WEIGHT, PricingSection
from node.types import Wei

MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class GpuTimes:
    """How long a job occupies the GPU, in microseconds: for one still with its clip, and for each evaluation.

    Encoding and hand-over are not in it: they run on the CPU.
    """

    job_us: int
    still_evaluation_us: int
    clip_evaluation_us: int

    @classmethod
    def unmeasured(cls, initial_s: float) -> "GpuTimes":
        """Return that every job takes ``initial_s``."""
        return cls(round(initial_s * MICROSECONDS), 0, 0)


def gpu_times(unit_s: Mapping[Part, float], sizes: Sizes | None, *, initial_s: float) -> GpuTimes:
    """Return what prices by the second are made of; ``unit_s`` is empty while nothing is measured."""
    if sizes is None or not unit_s:
        return GpuTimes.unmeasured(initial_s)
    still = sizes.still_pixels / 1e6
    clip = sizes.frames * sizes.frame_pixels / 1e6
    job_s = (
        unit_s[Part.STILL_START]
        + unit_s[Part.STILL_DECODE] * still
        + unit_s[Part.CLIP_START]
        + unit_s[Part.CLIP_DECODE] * clip
    )
    evaluations = (unit_s[Part.STILL_EVALUATION] * still, unit_s[Part.CLIP_EVALUATION] * clip)
    return GpuTimes(*(round(seconds * MICROSECONDS) for seconds in (job_s, *evaluations)))


def price_list(pricing: PricingSection, gpu: GpuTimes | None = None) -> PriceList:
    """Return the prices of one section. Raises ValueError for a price by the second without any times."""
    per_job, per_step, weight = pricing.per_job, pricing.per_step, pricing.video_step_weight
    if pricing.per_gpu_second:
        if gpu is None:
            raise ValueError("a price by the second needs the times of this GPU")
        per_job = Wei(per_job + pricing.per_gpu_second * gpu.job_us // MICROSECONDS)
        weight = _weight(gpu)
        # The clip is nearly all of a job, so its step is the one whose price is exact.
        step_us = gpu.clip_evaluation_us
        per_step = Wei(pricing.per_gpu_second * step_us // (MICROSECONDS * weight))
    return PriceList(
        floor_wei=pricing.floor,
        per_job_wei=per_job,
        per_step_wei=per_step,
        video_step_weight=weight,
        mediation_fee_wei=pricing.mediation_fee,
    )


def _weight(gpu: GpuTimes) -> int:
    ratio = round(gpu.clip_evaluation_us / max(1, gpu.still_evaluation_us))
    return min(max(ratio, 1), MAX_STEP_WEIGHT)


def own_prices(pricing: PricingSection, gpu: GpuTimes | None = None) -> dict[str, PriceList]:
    """Return the prices of modules that differ from the general ones, by the module's canonical name."""
    general = price_list(pricing, gpu)
    found = {resolve_module(name).canonical: price_list(pricing.of(name), gpu) for name in pricing.modules}
    return {module: prices for module, prices in found.items() if prices != general}


def terms_of(module: str, standing: StandingTerms, own: Mapping[str, PriceList]) -> StandingTerms:
    """Return the terms for a module, named in its canonical form."""
    return replace(standing, prices=own.get(module, standing.prices))


def standing_terms(
    pricing: PricingSection,
    deal: DealSection,
    *,
    silence_has_remedy: bool = True,
    gpu: GpuTimes | None = None,
) -> StandingTerms:
    """Return the terms that the node publishes, and agrees to with anybody.

    Where a silent job creator cannot be claimed from, results collateral would be lost to a stranger's
    silence for ever, so a stranger gets less of it (``lilypad.md`` 3.2).
    """
    multiple = deal.results_collateral_multiple
    if not silence_has_remedy:
        multiple = min(multiple, deal.results_collateral_multiple_unknown)
    return StandingTerms(
        prices=price_list(pricing, gpu),
        agree_timeout_s=deal.agree_timeout_s,
        submit_timeout_s=deal.submit_timeout_s,
        judge_timeout_s=deal.judge_timeout_s,
        mediate_timeout_s=deal.mediate_timeout_s,
        timeout_collateral_wei=deal.timeout_collateral,
        results_collateral_multiple=multiple,
    )

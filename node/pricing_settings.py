"""Settings of what a job costs, for all modules and for single ones."""

from typing import Annotated

from pydantic import Field, model_validator

from node.setting_types import Section, Tokens

MAX_STEP_WEIGHT = 1000


class ModulePrices(Section):
    """Prices of one module; what is left out is as for all modules."""

    floor: Tokens | None = None
    per_job: Tokens | None = None
    per_step: Tokens | None = None
    per_gpu_second: Tokens | None = None


class PricingSection(Section):
    """What a job costs, in wei of the payment token after parsing.

    ``modules`` has prices by module, as it is named in ``market.modules``.
    """

    floor: Tokens
    per_job: Tokens
    per_step: Tokens
    per_gpu_second: Tokens
    video_step_weight: Annotated[int, Field(ge=0, le=MAX_STEP_WEIGHT)]
    mediation_fee: Tokens
    modules: Annotated[dict[str, ModulePrices], Field(default_factory=dict, max_length=64)]

    @model_validator(mode="after")
    def _one_way_to_count_work(self) -> "PricingSection":
        places = {"": self} | {f"modules.{name!r}: ": self.of(name) for name in self.modules}
        for place, prices in places.items():
            if prices.per_step and prices.per_gpu_second:
                raise ValueError(
                    f"{place}per_step and per_gpu_second both charge for the work: set one of them to 0"
                )
        return self

    def of(self, module: str) -> "PricingSection":
        """Return the prices of a module, without those of other modules."""
        own = self.modules.get(module)
        changes = own.model_dump(exclude_none=True) if own else {}
        return self.model_copy(update={**changes, "modules": {}})

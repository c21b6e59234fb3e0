"""The settings below ``[traces]``: whether jobs' lives are told to an OpenTelemetry collector, and where."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from node.ipfs_settings import OptionalUrl, crosses_openly
from node.setting_types import Section


class TracesSection(Section):
    """Where traces go; nowhere unless they are enabled."""

    enabled: bool
    endpoint: OptionalUrl
    header_file: str
    sample_ratio: Annotated[float, Field(ge=0, le=1)]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.enabled and not self.endpoint:
            raise ValueError(
                "endpoint is needed: the collector's address, such as http://127.0.0.1:4318/v1/traces"
            )
        if self.header_file and crosses_openly(self.endpoint):
            raise ValueError("the header is sent to another machine only over https://: change endpoint")
        return self

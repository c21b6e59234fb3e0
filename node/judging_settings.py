"""Settings of those who judge results: the requester who is to pay for one, and the mediator."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from node.ipfs_settings import Url
from node.setting_types import Listed, Seconds, Section, Tokens

NEVER, ALWAYS = "never", "always"


def check_rate(text: str) -> float:
    """Return the share of results that ``never``, ``always`` or a number from 0 to 1 stands for.

    Raises ValueError for any other text.
    """
    if text in {NEVER, ALWAYS}:
        return float(text == ALWAYS)
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 1:
        raise ValueError(f"{text!r:.40} is not never, always or a share from 0 to 1, such as 0.1")
    return rate


def _rate(text: str) -> str:
    check_rate(text)
    return text


class RequesterSection(Section):
    """The other side of the market."""

    matching: Literal["both", "propose", "hire"]
    max_price: Tokens
    wait_for_proposals_s: Seconds
    gather_proposals_s: Annotated[float, Field(ge=0, le=86400)]
    gateways: Annotated[Listed[Url], Field(max_length=8)]
    private_gateways: Literal["auto", "allow", "refuse"]
    check: Annotated[str, AfterValidator(_rate)]
    check_by: Literal["execution", "mediator"]


class MediatorSection(Section):
    """The mediator's role."""

    enabled: bool
    margin_s: Annotated[float, Field(ge=0, le=86400)]
    keep_evidence_days: Annotated[float, Field(ge=0, le=3650)]

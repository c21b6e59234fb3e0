"""The sections of the settings that belong to no single room, frozen and checked when they are read."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from node.ipfs_settings import OptionalUrl
from node.setting_types import (
    ConfigAddress,
    EndpointUrl,
    GasTokens,
    GpuName,
    Listed,
    OptionalAddress,
    RayResource,
    Seconds,
    Section,
    SignerUrl,
    SocketPath,
    Tokens,
    WholeSeconds,
)
from node.types import Address
from node.usual_places import usual_data_dir


def _judges(mediators: tuple[Address, ...]) -> tuple[Address, ...]:
    if len(set(mediators)) != len(mediators):
        raise ValueError("a mediator is named twice")
    if any(not int(mediator, 16) for mediator in mediators):
        raise ValueError("the zero address cannot judge")
    return mediators


def _once(items: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(items)) != len(items):
        raise ValueError("one is named twice")
    return items


class NodeSection(Section):
    """Where things lie."""

    data_dir: str = ""

    @property
    def directory(self) -> Path:
        """The data directory."""
        if self.data_dir:
            return Path(self.data_dir).expanduser().absolute()
        return usual_data_dir()


class LogSection(Section):
    """How the node speaks."""

    format: Literal["auto", "json", "console"]
    level: Literal["debug", "info", "warning", "error"]


class ChainSection(Section):
    """Which market, and how to read and write it."""

    network: str
    rpc_urls: Annotated[Listed[EndpointUrl], Field(max_length=16)]
    rpc_timeout_s: Annotated[float, Field(ge=0.1, le=120)]
    chain_id: Annotated[int, Field(ge=0)]
    controller: OptionalAddress
    token: OptionalAddress
    confirmations: Annotated[int, Field(ge=0, le=1000)]
    finality_blocks: Annotated[int, Field(ge=1, le=100_000)]
    explorer: OptionalUrl
    poll_interval_s: Annotated[float, Field(ge=0.02, le=60)]
    lookback_blocks: Annotated[int, Field(ge=0)]
    max_fee_gwei: Annotated[float, Field(gt=0)]
    min_tip_gwei: Annotated[float, Field(ge=0)]
    resubmit_after_s: Seconds


class WalletSection(Section):
    """Where the key is; never the key."""

    keystore: str
    password_file: str
    remote_signer: SignerUrl
    address: OptionalAddress
    payout_address: OptionalAddress


class PolicySection(Section):
    """What the key may sign for, in wei after parsing."""

    max_per_deal: Tokens
    max_per_hour: Tokens
    max_per_counterparty: Tokens
    max_gas_per_hour: GasTokens


class MarketSection(Section):
    """Which jobs, how they are come by, and which judges."""

    matching: Literal["both", "propose", "hire"]
    modules: Annotated[Listed[str], Field(max_length=64)]
    mediators: Annotated[Listed[ConfigAddress], Field(max_length=8), AfterValidator(_judges)]
    allow_toy_models: bool
    offer_valid_s: Annotated[int, Field(ge=600, le=30 * 86400)]

    @property
    def proposes(self) -> bool:
        """Whether the node agrees first to jobs that are posted."""
        return self.matching != "hire"

    @property
    def takes_hires(self) -> bool:
        """Whether the node publishes its terms and agrees to deals that requesters agreed first."""
        return self.matching != "propose"


class DealSection(Section):
    """The terms of our proposals."""

    agree_timeout_s: WholeSeconds
    submit_timeout_s: WholeSeconds
    judge_timeout_s: WholeSeconds
    mediate_timeout_s: WholeSeconds
    timeout_collateral: Tokens
    results_collateral_multiple: Annotated[int, Field(ge=0, le=10)]
    results_collateral_multiple_unknown: Annotated[int, Field(ge=0, le=10)]
    escrow_check_s: Seconds


class AdmissionSection(Section):
    """Which jobs are worth taking."""

    max_offer_age_s: WholeSeconds
    max_open_deals: Annotated[int, Field(ge=1, le=1000)]
    max_open_proposals_per_requester: Annotated[int, Field(ge=1, le=1000)]
    max_open_proposals: Annotated[int, Field(ge=1, le=1000)]
    max_bid_gas_per_hour: Annotated[int, Field(ge=0)]
    max_waiting_offers: Annotated[int, Field(ge=1, le=10_000)]
    max_waiting_offers_per_requester: Annotated[int, Field(ge=1, le=10_000)]
    min_gas_deals: Annotated[int, Field(ge=0, le=1000)]
    min_free_disk_gb: Annotated[float, Field(ge=0)]
    initial_job_gb: Annotated[float, Field(gt=0, le=1000)]
    deadline_share: Annotated[float, Field(gt=0, le=1)]
    initial_job_s: Seconds
    max_collateral_per_deal: Tokens
    max_gas_per_deal: GasTokens
    max_unpaid_deals_per_requester: Annotated[int, Field(ge=1, le=100_000)]
    max_unpaid_per_requester: Tokens
    max_unpaid_deals_unknown: Annotated[int, Field(ge=1, le=100_000)]
    max_unpaid_unknown: Tokens
    max_bad_deals: Annotated[int, Field(ge=0, le=100_000)]
    deny: Annotated[Listed[ConfigAddress], Field(max_length=10_000)]


class RaySection(Section):
    """The fleet that renders with ``worker.backend = "ray"``."""

    address: Annotated[str, Field(min_length=1, max_length=200)]
    namespace: Annotated[str, Field(min_length=1, max_length=100)]
    workers: Annotated[int, Field(ge=1, le=256)]
    resources: Annotated[Listed[RayResource], Field(max_length=16)]
    data_dir: str
    placement_timeout_s: Seconds


class WorkerSection(Section):
    """The processes that render."""

    backend: Literal["process", "ray"]
    profile: str
    residency: Literal["resident", "swapped"]
    gpus: Annotated[Listed[GpuName], Field(max_length=64), AfterValidator(_once)]
    slots: Annotated[int, Field(ge=1, le=64)]
    sockets: Annotated[Listed[SocketPath], Field(max_length=64), AfterValidator(_once)]
    user: str
    exchange: str
    load_timeout_s: Seconds
    progress_timeout_s: Seconds
    job_timeout_s: Seconds
    stop_wait_s: Annotated[float, Field(ge=0, le=3600)]
    ray: RaySection

    @property
    def elsewhere(self) -> bool:
        """Whether others look after the workers' cards and models: a service manager, or a fleet's hosts."""
        return self.backend == "ray" or bool(self.sockets)


class HttpSection(Section):
    """Dashboard, API, metrics and gateway."""

    host: str
    port: Annotated[int, Field(ge=0, le=65535)]
    public_url: OptionalUrl
    public_gateway: OptionalUrl
    local_user: Literal["trust", "token"]
    public_metrics: bool

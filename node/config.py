"""Settings: shipped defaults < operator's file < environment < flags, checked once into frozen sections.

Unknown keys are errors. Secrets are never settings, only the paths of their files are.
"""

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError

from node.destinations import Reach
from node.errors import Misconfigured
from node.gpu_settings import GpuSection
from node.ipfs_settings import IpfsSection, OptionalUrl
from node.judging_settings import MediatorSection, RequesterSection
from node.pricing_settings import PricingSection
from node.resources import data_path
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

ENVIRONMENT_PREFIX = "SDV_NODE__"
DEVELOPMENT_CHAINS = frozenset({1337, 31337})
"""The chain ids of Anvil, Hardhat and Ganache: no public chain has them."""


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
        if os.geteuid() == 0:
            return Path("/var/lib/sdv-node")
        base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
        return Path(base).expanduser() / "sdv-node"


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


class Config(Section):
    """All settings. Each room is given its own section only."""

    node: NodeSection
    log: LogSection
    chain: ChainSection
    wallet: WalletSection
    policy: PolicySection
    market: MarketSection
    pricing: PricingSection
    deal: DealSection
    admission: AdmissionSection
    worker: WorkerSection
    gpu: GpuSection
    http: HttpSection
    ipfs: IpfsSection
    requester: RequesterSection
    mediator: MediatorSection

    @property
    def reach(self) -> Reach:
        """How far the addresses that providers publish may lead the requester."""
        private = self.chain.chain_id in DEVELOPMENT_CHAINS
        allowed = {"auto": private, "allow": True, "refuse": False}[self.requester.private_gateways]
        return Reach.ANY if allowed else Reach.PUBLIC

    @property
    def keystore_path(self) -> Path:
        """The keystore file, whether it exists or not."""
        return Path(self.wallet.keystore) if self.wallet.keystore else self.node.directory / "keystore.json"

    @property
    def password_path(self) -> Path | None:
        """The password file: the setting, or the systemd credential ``keystore-password``."""
        if self.wallet.password_file:
            return Path(self.wallet.password_file)
        credentials = os.environ.get("CREDENTIALS_DIRECTORY")
        if credentials and (Path(credentials) / "keystore-password").exists():
            return Path(credentials) / "keystore-password"
        return None


Raw = dict[str, dict[str, Any]]
Origins = dict[tuple[str, str], str]
"""Who set a key of a section: a file, a variable of the environment or the command line."""


def load(
    path: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> Config:
    """Return the settings in force.

    ``path`` is the operator's file (None: the first of /etc/sdv-node/config.toml and
    ~/.config/sdv-node/config.toml that exists). Raises Misconfigured naming every bad key.
    """
    merged: Raw = tomllib.loads(data_path("config/default.toml").read_text())
    origins: Origins = {}
    source = path or _usual_file()
    if source is not None:
        _merge(merged, _read(source), origins, str(source))
    _merge(merged, _from_environment(os.environ if environment is None else environment), origins, None)
    _merge(merged, overrides or {}, origins, "the command line")
    _apply_network(merged)
    try:
        settings = Config.model_validate(merged)
    except ValidationError as problem:
        lines = [f"{'.'.join(map(str, e['loc']))}: {_told(e, origins)}" for e in problem.errors()]
        raise Misconfigured("the settings are not valid: " + "; ".join(lines)) from None
    _check_priced_modules(settings, origins)
    return settings


def _told(error: Mapping[str, Any], origins: Origins) -> str:
    return what_is_wrong(error) + _whence(error["loc"], origins)


def _whence(place: Sequence[int | str], origins: Origins) -> str:
    """Return where the value at ``place`` was set, in parentheses; nothing if it is a default."""
    section, key = [*place, "", ""][:2]
    found = dict.fromkeys(
        origin for name, origin in origins.items() if name[0] == section and key in {"", name[1]}
    )
    return f" (set by {', '.join(found)})" if found else ""


def _check_priced_modules(settings: Config, origins: Origins) -> None:
    unknown = [module for module in settings.pricing.modules if module not in settings.market.modules]
    if unknown:
        raise Misconfigured(
            f"the settings are not valid: pricing.modules: {', '.join(map(repr, unknown))} is not in "
            f"market.modules, which has {', '.join(settings.market.modules)}"
            + _whence(("pricing", "modules"), origins)
        )


def what_is_wrong(error: Mapping[str, Any]) -> str:
    """Return what one of pydantic's errors says, in words for whoever wrote the value."""
    if error["type"] == "extra_forbidden":
        return "there is no such setting"
    return str(error["msg"]).removeprefix("Value error, ")


def _usual_file() -> Path | None:
    for candidate in (Path("/etc/sdv-node/config.toml"), Path("~/.config/sdv-node/config.toml").expanduser()):
        if candidate.is_file():
            return candidate
    return None


def _read(path: Path) -> Raw:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError as problem:
        raise Misconfigured(f"{path} does not exist: name another file with --config") from problem
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise Misconfigured(f"{path} cannot be read: {problem}") from problem


def _from_environment(environment: Mapping[str, str]) -> Raw:
    found: Raw = {}
    for name, value in environment.items():
        if not name.startswith(ENVIRONMENT_PREFIX):
            continue
        parts = name[len(ENVIRONMENT_PREFIX) :].lower().split("__")
        if not 2 <= len(parts) <= 3:
            raise Misconfigured(f"{name} is not of the form {ENVIRONMENT_PREFIX}SECTION__KEY")
        put_setting(found, parts, value)
    return found


def put_setting(settings: Raw, names: Sequence[str], value: str) -> None:
    """Set a key of a section, or of a section inside it: ``names`` leads there."""
    section, *inner, key = names
    place = settings.setdefault(section, {})
    for name in inner:
        place = place.setdefault(name, {})
    place[key] = value


def _merge(into: Raw, layer: Mapping[str, Mapping[str, Any]], origins: Origins, origin: str | None) -> None:
    """Lay ``layer`` over ``into``; an ``origin`` of None is the environment, a variable for each key."""
    for section, values in layer.items():
        if not isinstance(values, Mapping):
            raise Misconfigured(f"{section} must be a section like [chain], with its keys below it")
        known = into.setdefault(section, {})
        for key, value in values.items():
            below = known.get(key)
            # A section inside a section is merged like one, so that a file may set one key of it.
            known[key] = (
                {**below, **value} if isinstance(below, dict) and isinstance(value, Mapping) else value
            )
        for key in values:
            origins[section, key] = origin or f"{ENVIRONMENT_PREFIX}{section}__{key}".upper()


def _apply_network(merged: Raw) -> None:
    chain = merged.get("chain", {})
    name = chain.get("network")
    if not name:
        return
    networks = tomllib.loads(data_path("config/networks.toml").read_text())
    network = networks.get(name)
    if not isinstance(network, dict):
        raise Misconfigured(
            f"chain.network: {name!r} is not known; networks.toml has {', '.join(sorted(networks))}"
        )
    chain["rpc_urls"] = chain.get("rpc_urls") or network.get("rpc_urls", [])
    chain["chain_id"] = chain.get("chain_id") or network.get("chain_id", 0)
    chain["controller"] = chain.get("controller") or network.get("controller", "")

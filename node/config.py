"""Settings: shipped defaults < operator's file < environment < flags, checked once into frozen sections.

Unknown keys are errors. Secrets are never settings, only the paths of their files are.
"""

import os
import tomllib
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from node.errors import Misconfigured
from node.resources import data_path
from node.types import Address, Wei

ENVIRONMENT_PREFIX = "SDV_NODE__"
TOKEN_DECIMALS = 18


def _address(value: object) -> object:
    if not isinstance(value, str) or len(value) != 42 or not value.lower().startswith("0x"):
        raise ValueError("an address is 0x and 40 hex digits")
    bytes.fromhex(value[2:])
    return Address(value.lower())


def _optional_address(value: object) -> object:
    return "" if value == "" else _address(value)


def _tokens(value: object) -> object:
    try:
        amount = Decimal(str(value))
    except InvalidOperation as error:
        raise ValueError(f"{value!r} is not an amount") from error
    if not amount.is_finite() or not 0 <= amount <= 10**9:
        raise ValueError("an amount lies between 0 and 1000000000 tokens")
    wei = amount * 10**TOKEN_DECIMALS
    if wei != wei.to_integral_value():
        raise ValueError("an amount has at most 18 decimals")
    return int(wei)


ConfigAddress = Annotated[Address, BeforeValidator(_address)]
OptionalAddress = Annotated[str, BeforeValidator(_optional_address)]
Tokens = Annotated[Wei, BeforeValidator(_tokens)]
Seconds = Annotated[float, Field(gt=0, le=30 * 86400)]
WholeSeconds = Annotated[int, Field(ge=1, le=365 * 86400)]


class Section(BaseModel):
    """A frozen part of the settings that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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
    rpc_url: str
    chain_id: Annotated[int, Field(ge=0)]
    controller: OptionalAddress
    confirmations: Annotated[int, Field(ge=0, le=1000)]
    poll_interval_s: Annotated[float, Field(ge=0.02, le=60)]
    lookback_blocks: Annotated[int, Field(ge=0)]
    max_fee_gwei: Annotated[float, Field(gt=0)]
    min_tip_gwei: Annotated[float, Field(ge=0)]
    resubmit_after_s: Seconds


class WalletSection(Section):
    """Where the key is; never the key."""

    keystore: str
    password_file: str


class MarketSection(Section):
    """Which jobs and which judges."""

    modules: Annotated[tuple[str, ...], Field(max_length=64)]
    mediators: Annotated[tuple[ConfigAddress, ...], Field(max_length=8)]
    allow_toy_models: bool


class PricingSection(Section):
    """What a job costs, in wei of the payment token after parsing."""

    floor: Tokens
    per_job: Tokens
    per_step: Tokens
    video_step_weight: Annotated[int, Field(ge=0, le=1000)]
    mediation_fee: Tokens


class DealSection(Section):
    """The terms of our proposals."""

    agree_timeout_s: WholeSeconds
    submit_timeout_s: WholeSeconds
    judge_timeout_s: WholeSeconds
    mediate_timeout_s: WholeSeconds
    timeout_collateral: Tokens
    results_collateral_multiple: Annotated[int, Field(ge=0, le=10)]


class AdmissionSection(Section):
    """Which jobs are worth taking."""

    max_offer_age_s: WholeSeconds
    max_open_deals: Annotated[int, Field(ge=1, le=1000)]
    max_open_proposals_per_requester: Annotated[int, Field(ge=1, le=1000)]
    min_gas_deals: Annotated[int, Field(ge=0, le=1000)]
    min_free_disk_gb: Annotated[float, Field(ge=0)]
    deadline_share: Annotated[float, Field(gt=0, le=1)]
    initial_job_s: Seconds


class WorkerSection(Section):
    """The process that renders."""

    profile: str
    residency: Literal["resident", "swapped"]
    load_timeout_s: Seconds
    progress_timeout_s: Seconds
    job_timeout_s: Seconds


class HttpSection(Section):
    """Dashboard, API, metrics and gateway."""

    host: str
    port: Annotated[int, Field(ge=0, le=65535)]
    public_url: str
    public_gateway: str


class RequesterSection(Section):
    """The other side of the market."""

    max_price: Tokens
    wait_for_proposals_s: Seconds
    gather_proposals_s: Annotated[float, Field(ge=0, le=86400)]


class Config(Section):
    """All settings. Each room is given its own section only."""

    node: NodeSection
    log: LogSection
    chain: ChainSection
    wallet: WalletSection
    market: MarketSection
    pricing: PricingSection
    deal: DealSection
    admission: AdmissionSection
    worker: WorkerSection
    http: HttpSection
    requester: RequesterSection

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
    source = path or _usual_file()
    if source is not None:
        _merge(merged, _read(source))
    _merge(merged, _from_environment(os.environ if environment is None else environment))
    _merge(merged, overrides or {})
    _apply_network(merged)
    try:
        return Config.model_validate(merged)
    except ValidationError as problem:
        lines = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in problem.errors()]
        raise Misconfigured("the settings are not valid: " + "; ".join(lines)) from None


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
        if len(parts) != 2:
            raise Misconfigured(f"{name} is not of the form {ENVIRONMENT_PREFIX}SECTION__KEY")
        listed = parts in (["market", "modules"], ["market", "mediators"])
        found.setdefault(parts[0], {})[parts[1]] = value.split(",") if listed else value
    return found


def _merge(into: Raw, layer: Mapping[str, Mapping[str, Any]]) -> None:
    for section, values in layer.items():
        if not isinstance(values, Mapping):
            raise Misconfigured(f"{section} must be a section like [chain], with its keys below it")
        into.setdefault(section, {}).update(values)


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
    if not chain.get("rpc_url"):
        urls = network.get("rpc_urls") or [""]
        chain["rpc_url"] = urls[0]
    chain["chain_id"] = chain.get("chain_id") or network.get("chain_id", 0)
    chain["controller"] = chain.get("controller") or network.get("controller", "")

"""Settings: shipped defaults < operator's file < environment < flags, checked once into frozen sections.

Unknown keys are errors. Secrets are never settings, only the paths of their files are.
"""

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from node.config_layers import (
    ENVIRONMENT_PREFIX,
    Layers,
    Names,
    Problem,
    by_place,
    defaults,
    listed,
    put_setting,
    read_layers,
)
from node.config_sections import (
    AdmissionSection,
    ChainSection,
    DealSection,
    HttpSection,
    LogSection,
    MarketSection,
    NodeSection,
    PolicySection,
    RaySection,
    WalletSection,
    WorkerSection,
)
from node.destinations import Reach
from node.errors import Misconfigured
from node.gpu_settings import GpuSection
from node.ipfs_settings import IpfsSection
from node.judging_settings import MediatorSection, RequesterSection
from node.pricing_settings import PricingSection
from node.setting_types import Section
from node.traces_settings import TracesSection
from node.usual_places import usual_config_file

__all__ = [
    "DEVELOPMENT_CHAINS",
    "ENVIRONMENT_PREFIX",
    "AdmissionSection",
    "ChainSection",
    "Config",
    "DealSection",
    "GpuSection",
    "HttpSection",
    "IpfsSection",
    "LogSection",
    "MarketSection",
    "MediatorSection",
    "NodeSection",
    "PolicySection",
    "PricingSection",
    "Problem",
    "RaySection",
    "RequesterSection",
    "TracesSection",
    "WalletSection",
    "WorkerSection",
    "checked",
    "layers_in_force",
    "load",
    "put_setting",
    "refused",
    "what_is_wrong",
]

DEVELOPMENT_CHAINS = frozenset({1337, 31337})
"""The chain ids of Anvil, Hardhat and Ganache: no public chain has them."""


_ALLOWED = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text in quotes",
    "tuple_type": 'a list like ["a", "b"]',
    "model_type": "a section with keys of its own",
    "literal_error": "one of {expected}",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
}
"""What is allowed where one of pydantic's errors is found, by its type; the limits are pydantic's own."""
_SHORT_WORD = re.compile(r"[\w.+ -]{0,20}")


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
    traces: TracesSection

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
    settings, problems = checked(layers_in_force(path, environment=environment, overrides=overrides))
    if settings is None:
        raise refused(problems)
    return settings


def refused(problems: Sequence[Problem]) -> Misconfigured:
    """Return the error that names every problem with the settings."""
    several = "\nAfter each change `sdv-node config check` tells what is left" if len(problems) > 1 else ""
    return Misconfigured(f"the settings are not valid:{listed(problems)}{several}")


def layers_in_force(
    path: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    text: str | None = None,
) -> Layers:
    """Return what ``load`` checks, each value with its origin. ``text`` stands for what the file has."""
    return read_layers(
        path or usual_config_file(),
        os.environ if environment is None else environment,
        overrides or {},
        text=text,
    )


def checked(layers: Layers) -> tuple[Config | None, tuple[Problem, ...]]:
    """Return the settings, None if anything is wrong, and every problem with them at once."""
    problems = list(layers.problems)
    settings = None
    try:
        settings = Config.model_validate(layers.merged)
    except ValidationError as found:
        problems += [_problem(error, layers) for error in found.errors()]
    else:
        problems += _unpriced_modules(settings, layers)
    return (None if problems else settings), by_place(problems)


def what_is_wrong(error: Mapping[str, Any]) -> str:
    """Return what one of pydantic's errors says, in words for whoever wrote the value."""
    kind, limits = str(error["type"]), error.get("ctx", {})
    if kind == "extra_forbidden":
        return "there is no such setting"
    if kind in _ALLOWED:
        return f"must be {_ALLOWED[kind].format(**limits)}{_instead(error.get('input'))}"
    return str(error["msg"]).removeprefix("Value error, ")


def _instead(value: object) -> str:
    """Return what was written where a number or one of few words belongs; nothing that may be a secret."""
    if isinstance(value, bool | int | float) or (isinstance(value, str) and _SHORT_WORD.fullmatch(value)):
        return f", not {value!r}"
    return ""


def _problem(error: Mapping[str, Any], layers: Layers) -> Problem:
    names: Names = error["loc"]
    unknown = error["type"] == "extra_forbidden"
    return Problem(
        ".".join(map(str, names)),
        what_is_wrong(error),
        layers.origins_below(names),
        _meant(names) if unknown else None,
    )


def _meant(names: Names) -> str | None:
    """Return the setting that was probably meant: one beside it, or one of that name elsewhere."""
    *above, last = map(str, names)
    known = [*_known(defaults(), ())]
    beside = [
        each[len(above)] for each in known if list(each[: len(above)]) == above and len(each) > len(above)
    ]
    near = difflib.get_close_matches(last, beside, n=1, cutoff=0.6)
    if near:
        return ".".join((*above, near[0]))
    elsewhere = [".".join(each) for each in known if each[-1] == last]
    return elsewhere[0] if elsewhere else None


def _known(table: Mapping[str, Any], before: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for key, value in table.items():
        yield (*before, key)
        if isinstance(value, Mapping):
            yield from _known(value, (*before, key))


def _unpriced_modules(settings: Config, layers: Layers) -> Sequence[Problem]:
    unknown = [module for module in settings.pricing.modules if module not in settings.market.modules]
    if not unknown:
        return ()
    wrong = (
        f"{', '.join(map(repr, unknown))} is not in market.modules, "
        f"which has {', '.join(settings.market.modules)}"
    )
    return (Problem("pricing.modules", wrong, layers.origins_below(("pricing", "modules"))),)

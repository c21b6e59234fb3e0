"""How ``sdv-node config init`` closes: what the node still lacks before a deal, and what to type."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from node.cli.context import Settings

if TYPE_CHECKING:
    from node.config import Config

_MAY_HOLD_SECRETS = ("chain.rpc_urls", "wallet.remote_signer")


@dataclass(frozen=True, slots=True)
class Missing:
    """What the node cannot work without, and the command that mends it."""

    what: str
    command: str


def typed_command(settings: Settings) -> str:
    """Return how commands on the new settings begin; the data directory stands in the file by now."""
    parts = ["sdv-node"]
    if settings.config_path:
        parts += ["--config", settings.config_path]
    for assignment in settings.assignments:
        name = assignment.partition("=")[0]
        if name != "node.data_dir":
            parts += ["--set", f"{name}=..." if name in _MAY_HOLD_SECRETS else assignment]
    return shlex.join(parts)


def missing(config: "Config", command: str) -> Iterator[Missing]:
    """Yield what the settings lack; ``command`` is how a command begins. Looks at files alone."""
    from node.pipeline.profiles import load_profile
    from node.worker.fake import is_fake

    change = f"{command} config set"
    if not config.chain.rpc_urls:
        yield Missing("an RPC endpoint", f"{change} chain.rpc_urls URL,URL")
    if not config.chain.controller:
        yield Missing("the market's controller", f"{change} chain.controller ADDRESS")
    if not config.wallet.remote_signer and not config.keystore_path.exists():
        yield Missing("a key", f"{command} wallet new")
    if not config.market.mediators:
        yield Missing("mediators, who may judge", f"{change} market.mediators ADDRESS,ADDRESS")
    if not all(_earns(config, module) for module in config.market.modules):
        yield Missing("a price above 0, to earn anything", f"{change} pricing.per_job TOKENS")
    profile = config.worker.profile
    if not is_fake(profile) and load_profile(profile).made_here and not config.market.allow_toy_models:
        yield Missing("models that a public market may be sold", f"{change} worker.profile sdv-1.1")


def _earns(config: "Config", module: str) -> bool:
    prices = config.pricing.of(module)
    return bool(prices.floor or prices.per_job or prices.per_step or prices.per_gpu_second)

"""Which settings a running node may take over, and what a changed file comes to. Others apply it.

A setting is live where nothing that was built from it stays behind with the old value. The signing policy's
caps are not: what the key may do is changed by a person who restarts the node.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from node.config import Config, checked
from node.config_layers import Layers, listed
from node.errors import NodeError

NOTHING_CHANGED = "nothing was changed, and the node runs on with the settings that it had"
_ALL: frozenset[str] = frozenset()
_LIVE: Mapping[str, frozenset[str]] = {
    "log": frozenset({"level"}),
    "market": frozenset({"matching", "mediators", "allow_toy_models", "offer_valid_s"}),
    "pricing": _ALL,
    "deal": _ALL,
    "admission": _ALL,
    "gpu": _ALL,
    # `sdv-node run` reads them at each call.
    "requester": _ALL,
}
_BUILT_IN: Mapping[str, frozenset[str]] = {
    "deal": frozenset({"agree_timeout_s", "escrow_check_s"}),
    "admission": frozenset({"max_offer_age_s", "min_free_disk_gb", "initial_job_gb", "initial_job_s"}),
    "gpu": frozenset({"poll_interval_s"}),
}


class ReloadRefused(NodeError):
    """The settings were not taken over: nothing has changed."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Change:
    """One setting that differs, as people write it."""

    key: str
    before: Any
    now: Any


@dataclass(frozen=True, slots=True)
class Reload:
    """What a changed file comes to: the settings to run with, what changed, and what waits for a restart."""

    config: Config
    layers: Layers
    changed: tuple[Change, ...]
    waiting: tuple[str, ...]


def compared(running: Config, layers: Layers, fresh: Layers) -> Reload:
    """Return what becomes of ``running``, made from ``layers``, by ``fresh``. Raises ReloadRefused.

    What needs a restart stays as it runs. The refusal names every problem, of the fresh settings or of their
    live part beside what runs.
    """
    wanted, problems = checked(fresh)
    if wanted is None:
        raise ReloadRefused(f"{NOTHING_CHANGED}: the settings are not valid:{listed(problems)}")
    mixed = deepcopy(layers.merged)
    changed: list[Change] = []
    waiting: list[str] = []
    for section in type(running).model_fields:
        before, now = getattr(running, section), getattr(wanted, section)
        for key in type(before).model_fields:
            if getattr(before, key) == getattr(now, key):
                continue
            names = f"{section}.{key}"
            if not _is_live(running, section, key):
                waiting.append(names)
                continue
            old, new = layers.merged[section].get(key), fresh.merged[section].get(key)
            if new is None:
                del mixed[section][key]
            else:
                mixed[section][key] = new
            changed.append(Change(names, old, new))
    taken = Layers(mixed, origins=fresh.origins, file=fresh.file)
    config, problems = checked(taken)
    if config is None:
        raise ReloadRefused(
            "nothing was changed: what can be taken over does not go with what runs until a restart: "
            + "; ".join(map(str, problems))
        )
    return Reload(config, taken, tuple(changed), tuple(waiting))


def may_be_live(section: str, key: str) -> bool:
    """Whether a running node can take over this setting, unless its role forbids that."""
    live = _LIVE.get(section)
    return live is not None and (not live or key in live) and key not in _BUILT_IN.get(section, frozenset())


def _is_live(running: Config, section: str, key: str) -> bool:
    # The mediator's own least fee is part of what it was built from.
    fixed_fee = (section, key) == ("pricing", "mediation_fee") and running.mediator.enabled
    return may_be_live(section, key) and not fixed_fee


def sections_changed(reload: Reload) -> frozenset[str]:
    """Return the sections in which something was taken over."""
    return frozenset(change.key.partition(".")[0] for change in reload.changed)

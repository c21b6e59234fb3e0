"""The layers of settings, laid over one another with each value's origin: no value is checked here.

Shipped defaults < the named network < the operator's file < environment < flags.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from node.resources import data_path
from node.toml_lines import key_lines

ENVIRONMENT_PREFIX = "SDV_NODE__"
DEFAULTS_FILE = "config/default.toml"
NETWORKS_FILE = "config/networks.toml"

Raw = dict[str, dict[str, Any]]
Names = tuple[str | int, ...]
"""The names that lead to a setting, as in ``("worker", "ray", "address")``."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who set a value: the default, a network's entry, a line of a file, a variable, a flag."""

    kind: Literal["default", "network", "file", "environment", "flag"]
    name: str
    line: int | None = None

    def __str__(self) -> str:
        return self.name if self.line is None else f"{self.name}:{self.line}"


DEFAULT = Origin("default", "default")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one setting, in words for whoever wrote it. ``key`` is empty for a whole file."""

    key: str
    wrong: str
    origins: tuple[Origin, ...] = ()
    meant: str | None = None

    def __str__(self) -> str:
        told = f"{self.key}: {self.wrong}" if self.key else self.wrong
        if self.meant:
            told += f", did you mean {self.meant}?"
        return told + (f" (set by {', '.join(map(str, self.origins))})" if self.origins else "")


def listed(problems: Sequence[Problem]) -> str:
    """Return the problems after a sentence that introduces them: one in its line, several below it."""
    if len(problems) == 1:
        return f" {problems[0]}"
    return "".join(f"\n  {problem}" for problem in problems)


def by_place(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """Return the problems in the order of the file's lines, then those that have no line."""
    return tuple(sorted(problems, key=_first_line))


def _first_line(problem: Problem) -> float:
    return min((each.line for each in problem.origins if each.line is not None), default=float("inf"))


@dataclass(slots=True)
class Layers:
    """All layers merged, and what was wrong with the layers themselves."""

    merged: Raw
    origins: dict[Names, Origin] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    file: Path | None = None

    def origin(self, names: Names) -> Origin:
        """Return who set a value, or what it is part of."""
        for length in range(len(names), 0, -1):
            if (found := self.origins.get(names[:length])) is not None:
                return found
        return DEFAULT

    def origins_below(self, names: Names) -> tuple[Origin, ...]:
        """Return who set a value; for a section, all who set something of it. None for a default."""
        own = self.origin(names)
        if own is not DEFAULT:
            return (own,)
        found = (origin for place, origin in self.origins.items() if place[: len(names)] == names)
        return tuple(dict.fromkeys(found))

    def lay(self, layer: Mapping[str, Any], origin: "OriginOf") -> None:
        """Lay ``layer`` over what is there; ``origin`` says who set a key of it."""
        for section, values in layer.items():
            if not isinstance(values, Mapping):
                self.problems.append(
                    Problem(
                        section,
                        f"{section} must be a section like [chain], with its keys below it",
                        (origin((section,)),),
                    )
                )
                continue
            if section not in self.merged:
                self.origins[section,] = origin((section,))
            self._lay(self.merged.setdefault(section, {}), values, (section,), origin)

    def _lay(self, into: dict[str, Any], values: Mapping[str, Any], names: Names, origin: "OriginOf") -> None:
        for key, value in values.items():
            place = (*names, key)
            below = into.get(key)
            # A section inside a section is merged like one, so that a file may set one key of it.
            if isinstance(value, Mapping) and isinstance(below, dict):
                self._lay(below, value, place, origin)
                continue
            into[key] = value
            for each in (place, *_inside(value, place)):
                self.origins[each] = origin(each)


@dataclass(frozen=True, slots=True)
class OriginOf:
    """Who set a key of one layer. ``name`` is the file; ``lines`` are those of its keys."""

    kind: Literal["file", "environment", "flag"]
    name: str = ""
    lines: Mapping[Names, int] = field(default_factory=dict)

    def __call__(self, names: Names) -> Origin:
        """Return the line, variable or flag that set a key."""
        if self.kind == "environment":
            return Origin("environment", f"{ENVIRONMENT_PREFIX}{'__'.join(map(str, names[:3]))}".upper())
        if self.kind == "flag":
            return Origin("flag", f"--set {'.'.join(map(str, names))}")
        while names:
            # What has no line of its own is where its first part is, as [a.b.c] is for a.b.
            inside = (line for place, line in self.lines.items() if place[: len(names)] == names)
            if (line := min(inside, default=None)) is not None:
                return Origin("file", self.name, line)
            names = names[:-1]
        return Origin("file", self.name)


def read_layers(
    path: Path | None,
    environment: Mapping[str, str],
    flags: Mapping[str, Mapping[str, Any]],
    *,
    text: str | None = None,
) -> Layers:
    """Return all layers merged. ``text`` stands for what the file at ``path`` has."""
    layers = Layers(defaults(), file=path)
    if path is not None:
        values, lines = _file(path, text, layers.problems)
        layers.lay(values, OriginOf("file", str(path), lines))
    layers.lay(_from_environment(environment, layers.problems), OriginOf("environment"))
    layers.lay(flags, OriginOf("flag"))
    _apply_network(layers)
    return layers


def defaults() -> Raw:
    """Return the shipped defaults."""
    found: Raw = tomllib.loads(data_path(DEFAULTS_FILE).read_text(encoding="utf-8"))
    return found


def known_networks() -> Raw:
    """Return the networks that chain.network may name."""
    found: Raw = tomllib.loads(data_path(NETWORKS_FILE).read_text(encoding="utf-8"))
    return found


def put_setting(settings: Raw, names: Sequence[str], value: Any) -> None:
    """Set a key of a section, or of a section inside it: ``names`` leads there."""
    section, *inner, key = names
    place = settings.setdefault(section, {})
    for name in inner:
        place = place.setdefault(name, {})
    place[key] = value


def _inside(value: Any, names: Names) -> Iterator[Names]:
    """Yield the names of what has lines of its own inside a value: tables, and those of a list."""
    below = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, each in below:
        if isinstance(value, Mapping) or isinstance(each, Mapping):
            yield (*names, key)
            yield from _inside(each, (*names, key))


def _file(path: Path, text: str | None, problems: list[Problem]) -> tuple[Raw, dict[Names, int]]:
    try:
        text = path.read_text(encoding="utf-8") if text is None else text
        return tomllib.loads(text), key_lines(text)
    except FileNotFoundError:
        problems.append(Problem("", f"{path} does not exist: name another file with --config"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        problems.append(Problem("", f"{path} cannot be read: {problem}"))
    return {}, {}


def _from_environment(environment: Mapping[str, str], problems: list[Problem]) -> Raw:
    found: Raw = {}
    for name, value in environment.items():
        if not name.startswith(ENVIRONMENT_PREFIX):
            continue
        parts = name[len(ENVIRONMENT_PREFIX) :].lower().split("__")
        if not 2 <= len(parts) <= 3 or not all(parts):
            problems.append(Problem("", f"{name} is not of the form {ENVIRONMENT_PREFIX}SECTION__KEY"))
            continue
        put_setting(found, parts, value)
    return found


def _apply_network(layers: Layers) -> None:
    chain = layers.merged.get("chain", {})
    name = chain.get("network")
    if not name:
        return
    networks = known_networks()
    network = networks.get(name) if isinstance(name, str) else None
    if not isinstance(network, dict):
        layers.problems.append(
            Problem(
                "chain.network",
                f"{name!r:.60} is not known; networks.toml has {', '.join(sorted(networks))}",
                layers.origins_below(("chain", "network")),
            )
        )
        return
    for key in ("rpc_urls", "chain_id", "controller", "explorer"):
        if not chain.get(key) and network.get(key):
            chain[key] = network[key]
            layers.origins["chain", key] = Origin("network", f"networks.toml [{name}]")

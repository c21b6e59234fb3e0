"""Changing single settings in an operator's file, with its comments and layout left as they are."""

import re
import tomllib
from collections.abc import Sequence
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AbstractTable

from node.config_layers import defaults
from node.errors import Misconfigured

_FORM = "SECTION.KEY, such as pricing.floor"


def setting_names(key: str) -> tuple[str, ...]:
    """Return the names that a dotted key leads through; quoted ones may have dots. Raises Misconfigured."""
    try:
        place: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        place = {}
    names: list[str] = []
    while isinstance(place, dict) and len(place) == 1:
        (name,) = place
        names.append(name)
        place = place[name]
    if place != 0 or len(names) < 2 or "\n" in key:
        raise Misconfigured(f"{key!r:.80} is no setting: write it {_FORM}")
    return tuple(names)


def typed_value(names: Sequence[str], text: str) -> Any:
    """Return a value as a file has it, by the kind of its default: a list is one text with commas.

    What cannot be read as that kind stays text, for the check of the settings to refuse in its own words.
    """
    default: Any = defaults()
    for name in names:
        default = default.get(name) if isinstance(default, dict) else None
    if isinstance(default, list) and not text.lstrip().startswith("["):
        return [item.strip() for item in text.split(",") if item.strip()]
    if isinstance(default, bool | int | float | list):
        try:
            return tomllib.loads(f"value = {text.strip()}")["value"]
        except tomllib.TOMLDecodeError:
            return text
    return text


def with_setting(text: str, names: Sequence[str], value: Any) -> str:
    """Return a file's text with one setting changed or added. Raises Misconfigured if it is no TOML."""
    *tables, key = names
    try:
        document = tomlkit.parse(text)
        place: Any = document
        for depth, name in enumerate(tables):
            if name not in place:
                inner = tomlkit.table(is_super_table=depth + 1 < len(tables))
                if depth == 0 and text and not text.endswith("\n\n"):
                    document.add(tomlkit.nl())
                place.add(_key(name), inner)
            place = place[name]
            if not isinstance(place, AbstractTable | tomlkit.container.OutOfOrderTableProxy):
                raise Misconfigured(f"{'.'.join(names[: depth + 1])} is not a section in this file")
        place[_key(key) if key not in place else key] = value
        return tomlkit.dumps(document)
    except TOMLKitError as problem:
        raise Misconfigured(f"the file cannot be changed: {problem}") from problem


def _key(name: str) -> Any:
    plain = re.fullmatch(r"[A-Za-z0-9_-]+", name)
    return name if plain else tomlkit.key(name)

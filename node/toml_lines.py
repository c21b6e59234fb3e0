"""On which line of a TOML file each key stands, which ``tomllib`` does not tell.

The file is read statement by statement: lines are added to a statement until ``tomllib`` understands it.
"""

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[str | int, ...]
"""The names that lead to a key; a number is a place in an array of tables."""

_ENDS = ("]", "}", '"""', "'''")


def key_lines(text: str) -> dict[Path, int]:
    """Return the line, counted from 1, of every table and key of a valid TOML text."""
    lines: dict[Path, int] = {}
    table: Path = ()
    counts: dict[Path, int] = {}
    for line, statement, found in _statements(text):
        if statement.lstrip().startswith("["):
            table = _header(found, counts)
            lines.setdefault(table, line)
        else:
            for path in _paths(found):
                lines.setdefault(table + path, line)
    return lines


def _statements(text: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
    begun: list[str] = []
    first = 0
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        if not begun:
            first = number
        begun.append(line)
        # A long list is not tried again at each of its lines.
        if len(begun) > 1 and not any(end in line for end in _ENDS):
            continue
        try:
            found = tomllib.loads("".join(begun))
        except tomllib.TOMLDecodeError:
            continue
        if found:
            yield first, "".join(begun), found
        begun = []


def _header(found: Mapping[str, Any], counts: dict[Path, int]) -> Path:
    """Return the path of a table's header, its place included where it is one of several."""
    path: Path = ()
    place: Any = found
    while place:
        if isinstance(place, list):
            number = counts.get(path, -1) + 1
            counts[path] = number
            return (*path, number)
        (name,) = place
        path, place = (*path, name), place[name]
        # A table below one of several belongs to the newest of them.
        if path in counts and isinstance(place, dict) and place:
            path = (*path, counts[path])
    return path


def _paths(found: Mapping[str, Any]) -> Iterator[Path]:
    for name, value in found.items():
        yield (name,)
        if isinstance(value, dict):
            yield from ((name, *below) for below in _paths(value))

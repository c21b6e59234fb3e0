"""The values that a shell may offer for an option or argument: quick to find, and never an error.

They are read from files alone: the node is not asked, and no setting is checked.
"""

import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from node.job.modules import MODULES
from node.journal.job_names import newest_job_names
from node.resources import data_path
from node.usual_places import usual_config_file, usual_data_dir

SHOWN_JOBS = 30
_OWN_PROFILES = ("/etc/sdv-node/models.toml", "~/.config/sdv-node/models.toml")

Found = Iterator[tuple[str, str]]
"""Values and what is said about each."""


def values_for(parameter: Mapping[str, Any]) -> Callable[[click.Context, str], Found] | None:
    """Return what finds the values of a described parameter; None if they cannot be known."""
    by_metavar = {"JOB": _jobs, "SECTION.KEY=VALUE": _assignments, "SECTION.KEY": _settings}
    by_name = {"profile": _profiles, "module": _modules}
    return by_metavar.get(parameter["metavar"]) or by_name.get(parameter["name"])


def completer(
    find: Callable[[click.Context, str], Found],
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem[str]]]:
    """Return ``find`` as click calls it: only what begins with what was typed."""

    def complete(
        context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        del parameter
        return [
            CompletionItem(value, help=told or None)
            for value, told in find(context, incomplete)
            if value.startswith(incomplete)
        ]

    return complete


def _jobs(context: click.Context, incomplete: str) -> Found:
    del incomplete
    yield from newest_job_names(_data_dir(context), SHOWN_JOBS)


def _modules(context: click.Context, incomplete: str) -> Found:
    del context, incomplete
    for module in MODULES.values():
        yield module.canonical, f"profile {module.profile}"


def _profiles(context: click.Context, incomplete: str) -> Found:
    del context, incomplete
    own = next((path for name in _OWN_PROFILES if (path := Path(name).expanduser()).is_file()), None)
    found = _toml(data_path("config/models.toml")) | (_toml(own) if own else {})
    for name, table in found.items():
        if name != "sources" and isinstance(table, dict):
            yield name, f"on {'the processor' if table.get('device') == 'cpu' else 'a GPU'}"


def _settings(context: click.Context, incomplete: str) -> Found:
    del context, incomplete
    for key, default in _flat(_toml(data_path("config/default.toml")), ""):
        yield key, f"default {_written(default)}"


def _assignments(context: click.Context, incomplete: str) -> Found:
    key, separator, _ = incomplete.partition("=")
    for name, default in _flat(_toml(data_path("config/default.toml")), ""):
        if not separator:
            yield f"{name}=", f"default {_written(default)}"
        elif name == key:
            values = ("true", "false") if isinstance(default, bool) else (_written(default),)
            yield from ((f"{name}={value}", "") for value in values)
            if name == "worker.profile":
                yield from ((f"{name}={value}", told) for value, told in _profiles(context, ""))


def _flat(table: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        elif not (isinstance(value, list) and before == "ipfs." and key in {"kubo", "pinning"}):
            yield f"{before}{key}", value


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _data_dir(context: click.Context) -> Path:
    """Return the data directory that the command would use, as far as that can be told in a moment."""
    given = context.find_root().params
    assigned = dict(each.split("=", 1) for each in given.get("assignments") or () if "=" in each)
    file = given.get("config_path") or usual_config_file()
    told = (
        given.get("data_dir"),
        assigned.get("node.data_dir"),
        os.environ.get("SDV_NODE__NODE__DATA_DIR"),
        _toml(Path(file)).get("node", {}).get("data_dir") if file else None,
    )
    chosen = next(filter(None, told), None)
    return Path(str(chosen)).expanduser() if chosen else usual_data_dir()


def _toml(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        return tomllib.loads(path.read_text(encoding="utf-8"))
    return {}

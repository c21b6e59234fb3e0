"""What every command is called, takes and says of itself, without importing any of them.

Importing all commands takes seconds, and a shell asks at every TAB. So the commands are described once, and
the description is kept in the user's cache until a file of the command line changes.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import click

from node import __version__
from node.usual_places import usual_cache_dir

_FORM = 1
_MAX_BYTES = 2**20


def index_of(root: click.Group) -> dict[str, Any]:
    """Return the description of ``root`` and all commands below it, as ``describe`` makes it."""
    place = _place()
    with suppress(OSError, ValueError):
        found: dict[str, Any] = json.loads(place.read_bytes()[:_MAX_BYTES])
        return found
    made = describe(root, "")
    # A home that cannot be written to, as a service's, costs time alone.
    with suppress(OSError):
        _keep(place, made)
    return made


def describe(command: click.Command, name: str) -> dict[str, Any]:
    """Return a command, its parameters and the commands below it, as plain data.

    ``short`` is its line in a list of commands, ``help`` its whole text as click keeps it.
    """
    made: dict[str, Any] = {
        "name": name,
        "short": command.get_short_help_str(limit=200),
        "help": command.help or "",
        "hidden": command.hidden,
        "parameters": [_parameter(each) for each in command.params],
    }
    if isinstance(command, click.Group):
        context = click.Context(command)
        below = ((each, command.get_command(context, each)) for each in command.list_commands(context))
        made["commands"] = {each: describe(found, each) for each, found in below if found is not None}
    return made


def _parameter(parameter: click.Parameter) -> dict[str, Any]:
    kind = parameter.type
    only_folders = isinstance(kind, click.Path) and kind.dir_okay and not kind.file_okay
    made: dict[str, Any] = {
        "name": parameter.name,
        "names": [*parameter.opts, *parameter.secondary_opts],
        "nargs": parameter.nargs,
        "multiple": parameter.multiple,
        "metavar": parameter.metavar or "",
        "choices": list(kind.choices) if isinstance(kind, click.Choice) else [],
        "path": ("dir" if only_folders else "file") if isinstance(kind, click.Path) else "",
    }
    if isinstance(parameter, click.Option):
        made |= {"option": True, "flag": parameter.is_flag, "help": parameter.help or ""}
    return made


def _place() -> Path:
    """Return the file of this very command line: another one after any change of its modules."""
    seen = sha256(f"{_FORM} {__version__} {click.__file__}".encode())
    for entry in sorted(os.scandir(Path(__file__).parent), key=lambda each: each.name):
        if entry.name.endswith(".py"):
            told = entry.stat()
            seen.update(f"{entry.path} {told.st_mtime_ns} {told.st_size}\n".encode())
    return usual_cache_dir() / f"commands-{seen.hexdigest()[:24]}.json"


def _keep(place: Path, made: Mapping[str, Any]) -> None:
    """Write the description whole or not at all, and take away those of earlier versions."""
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for old in place.parent.glob("commands-*.json"):
        old.unlink(missing_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=place.parent, prefix=".commands-", delete=False) as file:
        json.dump(made, file)
    Path(file.name).replace(place)

"""What every command is given: the settings in force, and a way to say things to people or programs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from node.config import Config, load
from node.errors import Misconfigured


@dataclass(frozen=True, slots=True)
class Settings:
    """The flags that stand before the command's name."""

    config_path: str | None
    data_dir: str | None
    assignments: tuple[str, ...]

    def overrides(self) -> dict[str, dict[str, Any]]:
        """Return the flags as settings. Raises Misconfigured for a malformed ``--set``."""
        found: dict[str, dict[str, Any]] = {}
        for assignment in self.assignments:
            path, separator, value = assignment.partition("=")
            section, dot, key = path.partition(".")
            if not (separator and dot and section and key):
                raise Misconfigured(f"--set {assignment!r} is not of the form SECTION.KEY=VALUE")
            listed = path in {"market.modules", "market.mediators"}
            found.setdefault(section, {})[key] = value.split(",") if listed else value
        if self.data_dir:
            found.setdefault("node", {})["data_dir"] = self.data_dir
        return found


def load_config(ctx: click.Context) -> Config:
    """Return the settings in force for this invocation."""
    settings: Settings = ctx.obj
    path = Path(settings.config_path) if settings.config_path else None
    return load(path, overrides=settings.overrides())


def print_json(document: object) -> None:
    """Print one JSON document for a program."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def wide_console() -> Console:
    """Return a console that wraps at the terminal's width, and off a terminal hardly ever."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=240)


def tokens(wei: int | str) -> str:
    """Return an amount in whole tokens (or ether), without trailing zeros."""
    amount = int(wei)
    sign, amount = ("-", -amount) if amount < 0 else ("", amount)
    whole, fraction = divmod(amount, 10**18)
    return f"{sign}{whole}" + (f".{fraction:018d}".rstrip("0") if fraction else "")

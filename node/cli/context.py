"""What every command is given: the settings in force, and a way to say things to people or programs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from node.errors import Misconfigured
from node.job.amounts import tokens

if TYPE_CHECKING:  # these take longer to import than a shell may wait for a completion
    from rich.console import Console

    from node.config import Config
    from node.config_layers import Layers

__all__ = [
    "Settings",
    "keep_output_clean",
    "layers_of",
    "load_config",
    "load_layers",
    "print_json",
    "tokens",
    "wide_console",
]


@dataclass(frozen=True, slots=True)
class Settings:
    """The flags that stand before the command's name."""

    config_path: str | None
    data_dir: str | None
    assignments: tuple[str, ...]

    def overrides(self) -> dict[str, dict[str, Any]]:
        """Return the flags as settings. Raises Misconfigured for a malformed ``--set``."""
        from node.config import put_setting

        found: dict[str, dict[str, Any]] = {}
        for assignment in self.assignments:
            path, separator, value = assignment.partition("=")
            names = path.split(".")
            if not separator or not 2 <= len(names) <= 3 or not all(names):
                raise Misconfigured(f"--set {assignment!r} is not of the form SECTION.KEY=VALUE")
            put_setting(found, names, value)
        if self.data_dir:
            found.setdefault("node", {})["data_dir"] = self.data_dir
        return found


def layers_of(ctx: click.Context, text: str | None = None, path: Path | None = None) -> "Layers":
    """Return the settings of this invocation before they are checked, each with its origin.

    ``text`` stands for what the operator's file has; ``path`` for the file that the flags name.
    """
    from node.config import layers_in_force

    settings: Settings = ctx.obj
    named = Path(settings.config_path) if settings.config_path else None
    return layers_in_force(path or named, overrides=settings.overrides(), text=text)


def load_layers(ctx: click.Context) -> "tuple[Config, Layers]":
    """Return the settings in force, and what they were made from. Raises Misconfigured."""
    from node.config import checked, refused

    layers = layers_of(ctx)
    settings, problems = checked(layers)
    if settings is None:
        raise refused(problems)
    return settings, layers


def load_config(ctx: click.Context) -> "Config":
    """Return the settings in force for this invocation."""
    return load_layers(ctx)[0]


def keep_output_clean(config: "Config") -> None:
    """Log to standard error, and troubles alone unless more is asked for: standard output is the answer's."""
    from node.observe.logging import configure_logging

    configure_logging("auto", "warning" if config.log.level == "info" else config.log.level)


def print_json(document: object) -> None:
    """Print one JSON document for a program."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def shown_address(url: str) -> str:
    """Return the address of an endpoint or signer without what may be secret: name, password, path, query."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return url
    shown = f"{parts.scheme}://{parts.hostname or ''}" + (f":{parts.port}" if parts.port else "")
    secret = parts.username or parts.password or parts.query or parts.path.strip("/")
    return f"{shown}/[not shown]" if secret else shown


def wide_console() -> "Console":
    """Return a console that wraps at the terminal's width, and off a terminal hardly ever."""
    from rich.console import Console

    from node.cli.unpadded import UnpaddedConsole

    console = Console(highlight=False)
    return console if console.is_terminal else UnpaddedConsole(highlight=False, width=240)

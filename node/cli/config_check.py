"""``sdv-node config check`` and ``config set``: all problems of the settings at once, and one changed."""

import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from node.cli.config_files import own_file, write_whole
from node.cli.context import layers_of, print_json
from node.errors import Misconfigured
from node.foreign_settings import foreign_warnings

if TYPE_CHECKING:
    from node.config import Config
    from node.config_layers import Layers, Problem

INVALID = 2


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def check(ctx: click.Context, as_json: bool) -> int:
    """Check all settings and name every problem at once, with the file and line, variable or flag it is from.

    Ends with 0 if all are valid, 2 if not. Nothing but files is looked at: `sdv-node doctor` tries the rest.

    \b
    Example:
      sdv-node config check
      sdv-node --config /etc/sdv-node/config.toml config check --json
    """
    layers = layers_of(ctx)
    problems = problems_of(layers)
    warnings = foreign_warnings(os.environ)
    if as_json:
        print_json(
            {
                "valid": not problems,
                "file": None if layers.file is None else str(layers.file),
                "problems": [_document(each) for each in problems],
                "warnings": warnings,
            }
        )
        return INVALID if problems else 0
    for problem in problems:
        click.echo(f"problem  {problem}")
    for warning in warnings:
        click.echo(f"warning  {warning}")
    read = "the defaults, there is no settings file" if layers.file is None else str(layers.file)
    count = f"{len(problems)} problem{'' if len(problems) == 1 else 's'}" if problems else "valid"
    click.echo(f"{count}: {read}")
    return INVALID if problems else 0


@click.command("set")
@click.argument("key", metavar="SECTION.KEY")
@click.argument("value")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def set_(ctx: click.Context, key: str, value: str, as_json: bool) -> None:
    """Change one setting in the settings file; comments and layout stay, invalid values are refused.

    A list is one text with commas. A running node takes prices and limits over with `sdv-node reload`.

    \b
    Example:
      sdv-node config set pricing.floor 2
      sdv-node config set chain.rpc_urls https://a.example,wss://b.example
    """
    from node.config_edit import setting_names, typed_value, with_setting
    from node.config_layers import listed

    names = setting_names(key)
    path = own_file(ctx)
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    after = with_setting(before, names, typed_value(names, value))
    known = (
        {(each.key, each.wrong) for each in problems_of(layers_of(ctx, before, path))} if before else set()
    )
    new = [each for each in problems_of(layers_of(ctx, after, path)) if (each.key, each.wrong) not in known]
    if new:
        raise Misconfigured(f"nothing was changed:{listed(new)}")
    write_whole(path, after)
    over = layers_of(ctx).origin(names)
    hidden = None if over.kind == "file" else f"{over} is stronger than the file, and stays in force"
    if as_json:
        print_json(
            {"file": str(path), "key": key, "changed": before != after, "hidden_by": hidden and str(over)}
        )
        return
    click.echo(f"{key} is set in {path}" if before != after else f"{key} was so already in {path}")
    if hidden:
        click.echo(f"but {hidden}", err=True)


def problems_of(layers: "Layers") -> "tuple[Problem, ...]":
    """Return every problem of the settings, those included that only a look at the shipped tables tells."""
    from node.config import checked
    from node.config_layers import by_place

    settings, problems = checked(layers)
    return problems if settings is None else by_place((*problems, *_unknown_names(settings, layers)))


def _unknown_names(settings: "Config", layers: "Layers") -> "Iterator[Problem]":
    from node.config_layers import Problem
    from node.job.modules import resolve_module
    from node.job.problems import InvalidInputs
    from node.pipeline.profiles import load_profile
    from node.worker.fake import is_fake

    for module in settings.market.modules:
        try:
            resolve_module(module)
        except InvalidInputs as unknown:
            yield Problem("market.modules", str(unknown), layers.origins_below(("market", "modules")))
    if not is_fake(settings.worker.profile):
        try:
            load_profile(settings.worker.profile)
        except Misconfigured as unknown:
            yield Problem("worker.profile", str(unknown), layers.origins_below(("worker", "profile")))


def _document(problem: "Problem") -> dict[str, Any]:
    return {
        "key": problem.key or None,
        "problem": problem.wrong,
        "did_you_mean": problem.meant,
        "origins": [asdict(origin) for origin in problem.origins],
    }

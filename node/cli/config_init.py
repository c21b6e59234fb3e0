"""``sdv-node config init``: a settings file from a few answers, and the key if it is wanted."""

import asyncio
import os
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.config_files import own_file, write_whole
from node.cli.context import Settings, layers_of, print_json
from node.errors import Misconfigured, NodeError
from node.foreign_settings import foreign_warnings

if TYPE_CHECKING:
    from node.cli.config_questions import Answers
    from node.config import Config
    from node.config_layers import Layers

WHOLE_GB, SWAPPED_GB = 22, 15
"""What the sdv profiles take of a card with all models on it, and with the two sets taking turns."""


@click.command()
@click.option("--network", metavar="NAME", help="A network of networks.toml: devnet, arbitrum-sepolia.")
@click.option("--rpc-url", "rpc_urls", metavar="URL", multiple=True, help="An endpoint; may be repeated.")
@click.option("--chain-id", metavar="NUMBER", help="The id of the chain, without --network.")
@click.option("--controller", metavar="ADDRESS", help="The market's Controller, without --network.")
@click.option("--mediator", "mediators", metavar="ADDRESS", multiple=True, help="Who may judge; repeatable.")
@click.option("--profile", metavar="NAME", help="Which models; without it by the GPU found.")
@click.option("--price", metavar="TOKENS", help="The price of a job, in whole payment tokens.")
@click.option("--public-url", metavar="URL", help="Where requesters reach this node.")
@click.option("--wallet", type=click.Choice(["new", "import", "remote", "later"]), help="Where the key is.")
@click.option("--key-file", metavar="FILE", help="The key to import, hex digits or a keystore; - is stdin.")
@click.option("--remote-signer", metavar="URL", help="Web3Signer or Clef, instead of a keystore.")
@click.option("--account", metavar="ADDRESS", help="The account that the remote signer signs for.")
@click.option("--payout-address", metavar="ADDRESS", help="The only account that is ever withdrawn to.")
@click.option("--defaults", "unattended", is_flag=True, help="Ask nothing: flags, and defaults for the rest.")
@click.option("--yes", is_flag=True, help="Change a settings file that exists, without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and ask nothing.")
@click.pass_context
def init(ctx: click.Context, /, unattended: bool, yes: bool, as_json: bool, **flags: Any) -> None:
    """Write a settings file: asks on a terminal, and takes flags for what is known already.

    The form of each answer is checked at once. Endpoints are tried once, for 3 seconds: one that does not
    answer, or serves another chain, is told of and written all the same. A file that exists keeps its
    comments and all that is not asked here, and is changed only after a question, or with --yes. Questions
    and remarks go to standard error.

    \b
    Example:
      sdv-node config init
      sdv-node config init --defaults --network devnet --profile tiny --wallet new
      sdv-node config init --defaults --network arbitrum-sepolia --mediator 0x... --price 2 --wallet later
    """
    from node.app.endpoint_trial import endpoint_warnings
    from node.cli import config_questions as questions
    from node.cli.config_closing import missing, typed_command

    given: Settings = ctx.obj
    path = own_file(ctx)
    asks = questions.can_be_asked(unattended=unattended or as_json)
    if not asks and not unattended and not any(flags.values()):
        raise Misconfigured("nobody can be asked here: give --defaults, or flags for what you know")
    for warning in foreign_warnings(os.environ):
        click.echo(f"note: {warning}", err=True)
    if path.exists() and not yes:
        if not asks:
            raise Misconfigured(f"{path} exists: --yes changes what is asked here and keeps the rest of it")
        click.confirm(f"{path} exists. Change it, keeping what is not asked here?", abort=True, err=True)

    interview = questions.Interview(asks, _given(flags))
    told = (questions.wrong_with(names, value) for names, value in interview.answers.items())
    if wrong := [each for each in told if each is not None]:
        raise Misconfigured("nothing was written: " + "\n  ".join(wrong))
    before = layers_of(ctx, path=path if path.exists() else None)
    has_market = bool(before.merged["chain"].get("rpc_urls"))
    questions.ask_market(interview, os.environ, network=flags["network"], has_market=has_market)
    if directory := _given_directory(before):
        interview.answers["node", "data_dir"] = directory
    found, suggestion, residency = _look_for_gpu(ctx)
    questions.ask_work(interview, found, suggestion, _profiles())
    if residency and interview.answers["worker", "profile"] == suggestion:
        interview.answers["worker", "residency"] = residency
    has_key = _settings(ctx, path, interview.answers)[0].keystore_path.exists()
    wallet = flags["wallet"] or ("import" if flags["key_file"] else None)
    wallet = questions.ask_wallet(interview, wallet=wallet, has_key=has_key)
    made = _make_key(ctx, path, interview.answers, wallet, flags["key_file"])
    config, text = _settings(ctx, path, interview.answers)
    write_whole(path, text)
    warnings = asyncio.run(endpoint_warnings(config.chain.rpc_urls, config.chain.chain_id))
    command = typed_command(given)
    lacking = list(missing(config, command))
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    if as_json:
        document = {".".join(names): value for names, value in interview.answers.items()}
        print_json(
            {
                "file": str(path),
                "settings": document,
                "wallet": made,
                "warnings": warnings,
                "missing": [asdict(each) for each in lacking],
            }
        )
        return
    click.echo(f"settings  {path}")
    for name, value in (made or {}).items():
        click.echo(f"{name.partition('_')[0]:<9} {value}")
    if made:
        click.echo("Back both files up: whoever has them has the money, and without them it is gone.")
    if lacking:
        click.echo("Before the node takes a deal and is paid for it, it still needs:")
    for each in lacking:
        click.echo(f"  {each.what}\n    {each.command}")
    click.echo(f"Next:\n  {command} doctor   tells what else is missing\n  {command} start    runs the node")


def _given(flags: dict[str, Any]) -> "Answers":
    from node.cli.config_questions import OWN
    from node.config_edit import typed_value

    keys = {
        "network": ("chain", "network"),
        "chain_id": ("chain", "chain_id"),
        "controller": ("chain", "controller"),
        "profile": ("worker", "profile"),
        "price": ("pricing", "per_job"),
        "public_url": ("http", "public_url"),
        "remote_signer": ("wallet", "remote_signer"),
        "account": ("wallet", "address"),
        "payout_address": ("wallet", "payout_address"),
    }
    found: Answers = {
        names: typed_value(names, flags[flag])
        for flag, names in keys.items()
        if flags[flag] and (flag, flags[flag]) != ("network", OWN)
    }
    if flags["rpc_urls"]:
        found["chain", "rpc_urls"] = list(flags["rpc_urls"])
    if flags["mediators"]:
        found["market", "mediators"] = list(flags["mediators"])
    return found


def _given_directory(layers: "Layers") -> str | None:
    """Return the data directory that a flag or the environment names for this call alone."""
    if layers.origin(("node", "data_dir")).kind not in {"flag", "environment"}:
        return None
    named = str(layers.merged["node"]["data_dir"])
    return str(Path(named).expanduser().absolute()) if named else None


def _profiles() -> dict[str, str]:
    from node.pipeline.profiles import load_profiles

    return {
        name: "toy pictures on the processor, for trying things out"
        if profile.made_here
        else f"{profile.memory_gb:g} GB of a GPU, {profile.swapped_memory_gb:g} GB swapped"
        for name, profile in load_profiles().items()
    }


def _look_for_gpu(ctx: click.Context) -> tuple[str, str, str | None]:
    """Return what was found, the profile that suits it, and the residency if it is not the usual one."""
    from node.app.gpu_checks import read_gpus
    from node.config import checked

    settings, _ = checked(layers_of(ctx, ""))
    report = None if settings is None else asyncio.run(read_gpus(settings))
    cards = report.gpus if report is not None else ()
    if not cards:
        return "No NVIDIA GPU was found on this machine.", "tiny", None
    largest = max(card.memory_total_bytes for card in cards) / 1e9
    found = (
        f"Found: {', '.join(f'{card.name} with {card.memory_total_bytes / 1e9:.0f} GB' for card in cards)}."
    )
    if largest < SWAPPED_GB:
        return f"{found} The sdv profiles need {SWAPPED_GB} GB.", "tiny", None
    return found, "sdv-1.1", None if largest >= WHOLE_GB else "swapped"


def _settings(ctx: click.Context, path: Path, answers: "Answers") -> "tuple[Config, str]":
    """Return the settings that the answers make, and the file's text. Raises Misconfigured."""
    from node.cli.config_check import problems_of
    from node.config import checked
    from node.config_edit import with_setting
    from node.config_layers import listed
    from node.config_template import new_file

    if path.exists():
        text = path.read_text(encoding="utf-8")
        for names, value in answers.items():
            text = with_setting(text, names, value)
    else:
        text = new_file(answers)
    layers = layers_of(ctx, text, path)
    settings, _ = checked(layers)
    problems = problems_of(layers)
    if settings is None or problems:
        raise Misconfigured(f"nothing was written:{listed(problems)}")
    if not settings.chain.rpc_urls:
        raise Misconfigured(
            "nothing was written: no endpoint leads to the market, give --rpc-url or --network"
        )
    return settings, text


def _make_key(
    ctx: click.Context, path: Path, answers: "Answers", wallet: str, key_file: str | None
) -> dict[str, str] | None:
    from node.app.core_files import keep_memory_private
    from node.cli.wallet import key_from, make_keystore, refuse_overwriting, source_password

    if wallet not in {"new", "import"}:
        return None
    settings: Settings = ctx.obj
    ctx.obj = replace(settings, config_path=str(path) if path.exists() else settings.config_path)
    keep_memory_private()
    config, _ = _settings(ctx, path, answers)
    refuse_overwriting(config)
    if config.password_path is None:
        answers["wallet", "password_file"] = str(config.keystore_path.with_name("password"))
        config, _ = _settings(ctx, path, answers)
    try:
        key = key_from(key_file, partial(source_password, None)) if wallet == "import" else None
        return make_keystore(config, None, key)
    except OSError as problem:
        raise NodeError(f"the keystore cannot be written: {problem}") from problem

"""``sdv-node models``: which models a node has, getting those it lacks, checking those it has."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from node.cli.context import load_config, print_json, wide_console
from node.cli.transfer_display import reporter
from node.errors import Misconfigured, NodeError
from node.pipeline.profiles import Profile, load_profile, load_profiles
from node.pipeline.weights.hub import DEFAULT_ENDPOINT
from node.pipeline.weights.local import parse_single_files
from node.pipeline.weights.obtaining import Places
from node.pipeline.weights.pull import pull as pull_weights
from node.pipeline.weights.records import Verified, bytes_on_disk, completeness
from node.pipeline.weights.records import verify as verify_weights
from node.pipeline.weights.secrets import find_token


@click.group()
def models() -> None:
    """Get and check the weights that a profile computes with.

    \b
    Example:
      sdv-node models list
      sdv-node models pull sdv-1.0
      sdv-node models verify
    """


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of the profiles.")
@click.pass_context
def list_profiles(ctx: click.Context, as_json: bool) -> None:
    """Show the profiles, and of each whether its weights are complete, or what is missing.

    \b
    Example:
      sdv-node models list
      sdv-node models list --json | jq '.[] | select(.complete) | .name'
    """
    config = load_config(ctx)
    data_dir = config.node.directory
    rows = [_describe(profile, data_dir) for profile in load_profiles().values()]
    if as_json:
        print_json(rows)
        return
    console = wide_console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("profile", "state", "size", "computes on", "precision", "serves"):
        table.add_column(column)
    for row in rows:
        chosen = " (in use)" if row["name"] == config.worker.profile else ""
        table.add_row(
            row["name"] + chosen,
            _state(row),
            _size(row),
            row["device"],
            f"{row['precision']}, VAE {row['vae_precision']}",
            ", ".join(row["serves"]),
        )
    console.print(table)
    for row in rows:
        for problem in row["problems"]:
            console.print(f"{row['name']}: {problem}", soft_wrap=True, markup=False)
    console.print(f"weights are kept in {data_dir / 'models'}", soft_wrap=True, markup=False)


@models.command()
@click.argument("profile")
@click.option(
    "--from", "origin", metavar="DIR|URL", help="A directory that has the files, or a mirror of the hub."
)
@click.option(
    "--single-file",
    "single_files",
    metavar="still=PATH|clip=PATH",
    multiple=True,
    help="A checkpoint in one file, as ComfyUI uses it. May be given for both.",
)
@click.option("--token-file", metavar="FILE", help="File with an access token of the hub, mode 600.")
@click.option("--keep-originals", is_flag=True, help="Keep downloaded files after they are converted.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
@click.pass_context
def pull(
    ctx: click.Context,
    profile: str,
    origin: str | None,
    single_files: tuple[str, ...],
    token_file: str | None,
    keep_originals: bool,
    as_json: bool,
) -> int:
    """Get a profile's weights, check their hashes, and convert them once to their precision.

    They come from the Hugging Face hub at a pinned revision, from a mirror of it (a URL, or HF_ENDPOINT), or
    from files you have: a directory in Hugging Face layout, a hub cache, or ComfyUI's single-file
    checkpoints, which are found by name. Your own files are only read. An interrupted pull goes on where it
    was.

    A repository behind a licence needs a token: --token-file, the systemd credential huggingface-token, or
    the environment variable HF_TOKEN.

    \b
    Example:
      sdv-node models pull sdv-1.0
      sdv-node models pull sdv-1.1 --token-file ~/.hf-token
      sdv-node models pull sdv-1.1 --from ~/ComfyUI/models/checkpoints
      sdv-node models pull sdv-1.0 --single-file clip=/data/svd_xt.safetensors
    """
    with _errors_as_json(as_json):
        chosen = load_profile(profile)
        data_dir = load_config(ctx).node.directory
        if chosen.made_here:
            raise Misconfigured(
                f"the weights of {profile} are made on this machine at first use: nothing to pull"
            )
        places = _places(origin, single_files, token_file)
        with reporter() as report:
            new = pull_weights(chosen, data_dir, places, report, keep_originals=keep_originals)
        if as_json:
            print_json(_describe(chosen, data_dir) | {"pulled": new})
        elif new:
            click.echo(f"{profile} is complete in {chosen.directory(data_dir)}")
        else:
            click.echo(f"{profile} was complete already: nothing was done")
    return 0


@models.command()
@click.argument("profile", required=False)
@click.option(
    "--json", "as_json", is_flag=True, help="Print a JSON object: files and their states by profile."
)
@click.pass_context
def verify(ctx: click.Context, profile: str | None, as_json: bool) -> int:
    """Hash every file of a profile (or of all that are here) and compare it with what was recorded.

    Ends with 1 if a file is missing, truncated, changed, a pickle, or not part of the profile.

    \b
    Example:
      sdv-node models verify
      sdv-node models verify sdv-1.1 --json
    """
    with _errors_as_json(as_json):
        data_dir = load_config(ctx).node.directory
        named = [load_profile(profile)] if profile else list(load_profiles().values())
        chosen = [one for one in named if profile or one.directory(data_dir).exists()]
        found: dict[str, list[Verified]] = {}
        with reporter() as report:
            for one in chosen:
                if size := bytes_on_disk(one, data_dir):
                    report.begin(f"hashing {one.name}", size)
                found[one.name] = verify_weights(one, data_dir, lambda _name, count: report.advance(count))
        # What is right byte by byte may still be of another precision than the profile now asks for.
        lacks = {one.name: completeness(one, data_dir) for one in chosen}
    wrong = sum(result.state != "ok" for results in found.values() for result in results)
    if as_json:
        files = {
            name: {
                "ok": all(result.state == "ok" for result in results) and not lacks[name],
                "problems": lacks[name],
                "files": [result.to_json() for result in results],
            }
            for name, results in found.items()
        }
        print_json(files)
    else:
        _show_verified(found, lacks, data_dir)
    return 1 if wrong or any(lacks.values()) else 0


def _show_verified(found: dict[str, list[Verified]], lacks: dict[str, list[str]], data_dir: Path) -> None:
    if not found:
        click.echo(f"no profile has weights in {data_dir / 'models'}")
    for name, results in found.items():
        if not results and not lacks[name]:
            click.echo(f"{name}: nothing was verified, no weights of it are in {data_dir / 'models'}")
            continue
        bad = [result for result in results if result.state != "ok"]
        for result in bad:
            click.echo(f"{name}: {result.path} is {result.state}: {result.finding}")
        if not bad:
            for problem in lacks[name]:
                click.echo(f"{name}: {problem}")
            if not lacks[name]:
                click.echo(f"{name}: {len(results)} files are as they were recorded")


def _places(origin: str | None, single_files: tuple[str, ...], token_file: str | None) -> Places:
    token = find_token(Path(token_file).expanduser() if token_file else None)
    endpoint, directory = os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT, None
    if origin is not None and "://" in origin:
        endpoint = origin
    elif origin is not None:
        directory = Path(origin).expanduser().absolute()
        if not directory.is_dir():
            raise Misconfigured(f"--from {origin!r} is neither a directory nor the address of a hub")
    return Places(endpoint, token, directory, parse_single_files(single_files))


def _describe(profile: Profile, data_dir: Path) -> dict[str, Any]:
    problems = completeness(profile, data_dir)
    return {
        "name": profile.name,
        "complete": not problems,
        "made_here": profile.made_here,
        "problems": problems,
        "directory": str(profile.directory(data_dir)),
        "bytes": bytes_on_disk(profile, data_dir),
        "download_bytes": sum(source.download_bytes for source in profile.sources.values()),
        "download_known": all(
            file.size_bytes for source in profile.sources.values() for file in source.files if file.is_weights
        ),
        "device": profile.device,
        "precision": profile.precision,
        "vae_precision": profile.vae_precision,
        "serves": list(profile.serves),
        "sources": {
            group: {
                "repository": source.repository,
                "revision": source.revision,
                "gated": source.gated,
                "licence": source.licence,
            }
            for group, source in profile.sources.items()
        },
    }


def _state(row: dict[str, Any]) -> str:
    if row["made_here"]:
        return "made on first use" if not row["bytes"] else "made here"
    return "complete" if row["complete"] else "incomplete" if row["bytes"] else "not pulled"


def _size(row: dict[str, Any]) -> str:
    if row["bytes"] or row["made_here"]:
        return _gigabytes(row["bytes"])
    return f"{_gigabytes(row['download_bytes'])} to get" + ("" if row["download_known"] else ", or more")


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 10**8 else f"{count / 1e6:.1f} MB"


@contextmanager
def _errors_as_json(as_json: bool) -> Iterator[None]:
    """Give programs the error as JSON too; people get it from whoever ends the command."""
    try:
        yield
    except NodeError as error:
        if as_json:
            print_json({"error": str(error)})
        raise

"""``sdv-node dashboard``: the address that opens the page as its operator."""

import asyncio
import os
from typing import Any

import click

from node.cli.api import node_url
from node.cli.context import load_config, print_json
from node.config import Config
from node.errors import NodeError, Unreachable


class NotOurs(NodeError):
    """Another user's node: its token is not ours to replace."""

    exit_code = 4


@click.command()
@click.option("--rotate", is_flag=True, help="Make a new token; the old one and all sessions end.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def dashboard(ctx: click.Context, rotate: bool, as_json: bool) -> None:
    """Print an address that opens the running node's dashboard, once and within five minutes.

    It holds a code for one session, not the token. That is in http-token of the data directory: programs send
    it as Authorization: Bearer.

    \b
    Example:
      sdv-node dashboard
      sdv-node dashboard --rotate
      ssh -L 8470:127.0.0.1:8470 node.example     then open the printed address on your own machine
    """
    config = load_config(ctx)
    if rotate:
        _rotate(config)
    answer = asyncio.run(_ask(config))
    if answer is None and not rotate:
        raise Unreachable(f"no node runs in {config.node.directory}: sdv-node start, then ask again")
    url = None if answer is None else f"{node_url(config.http)}/?token={answer['code']}"
    valid_for_s = None if answer is None else answer["valid_for_s"]
    if as_json:
        print_json({"url": url, "valid_for_s": valid_for_s, "rotated": rotate})
        return
    if rotate:
        click.echo("the token is a new one; who had the old one is out")
    if url is not None:
        click.echo(url)


def _rotate(config: Config) -> None:
    from node.web.token_file import FILE_NAME, TokenFile

    path = config.node.directory / FILE_NAME
    if not path.parent.is_dir() or path.parent.stat().st_uid != os.geteuid():
        # A file of another owner would lock the node out of its own token.
        raise NotOurs(f"{path.parent} is not this user's: run this as the user that runs the node")
    TokenFile(path).renew()


async def _ask(config: Config) -> dict[str, Any] | None:
    from node.app.control import ask_running_node
    from node.web.sessions import SIGN_IN

    return await ask_running_node(config.node.directory, SIGN_IN)

"""``sdv-node worker``: one worker on its own, under a user without network and key."""

import os
import sys
from pathlib import Path

import click

from node.cli.context import load_config
from node.errors import Misconfigured
from node.pipeline.profiles import load_profile
from node.pipeline.weights.records import completeness
from node.setting_types import gpu_name, socket_path
from node.worker.fake import is_fake
from node.worker.process import child_environment

_OF_THE_SERVICE_MANAGER = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


@click.command()
@click.option(
    "--socket", metavar="PATH", required=True, help="Where to listen; a node names it in worker.sockets."
)
@click.option("--profile", metavar="NAME", help="Which models; the setting worker.profile unless given.")
@click.option("--gpu", metavar="UUID", help="The card to use, by UUID or index; any unless given.")
@click.option("--user", metavar="NAME", default="sdv-node", show_default=True, help="Whom the node runs as.")
@click.pass_context
def worker(ctx: click.Context, socket: str, profile: str | None, gpu: str | None, user: str) -> None:
    """Render for a node that runs under another user, until it is told to end.

    It needs no network, no key and no journal: jobs come over the socket, which the node's user must be able
    to open through the worker's group, and results go to the folder of worker.exchange, which both can write.
    Weights are those of its own --data-dir. An idle worker waits for the node to come back with its models
    loaded; one whose node goes away in the middle of a job ends, and is to be started again.

    \b
    Example:
      sdv-node --data-dir /var/lib/sdv-node-worker worker --socket /run/sdv-node-worker/0/worker.sock \\
        --profile sdv-1.1 --gpu GPU-8c1f42d0-...
    """
    config = load_config(ctx)
    name = profile or config.worker.profile
    directory, exchange = config.node.directory, Path(config.worker.exchange).absolute()
    try:
        socket_path(str(Path(socket).absolute()))
        card = None if gpu is None else str(gpu_name(gpu))
    except ValueError as error:
        raise Misconfigured(str(error)) from None
    if not is_fake(name):
        lacking = completeness(load_profile(name), directory)
        if lacking:
            raise Misconfigured(f"{'; '.join(lacking)}: sdv-node --data-dir {directory} models pull {name}")
    _make(exchange)
    environment = child_environment(os.environ, directory, card)
    environment |= {key: os.environ[key] for key in _OF_THE_SERVICE_MANAGER if key in os.environ}
    command = [
        sys.executable, "-P", "-m", "node.worker.child", "--socket", str(Path(socket).absolute()),
        "--profile", name, "--residency", config.worker.residency, "--data-dir", str(directory.absolute()),
        "--user", user, "--exchange", str(exchange),
        "--load-s", str(config.worker.load_timeout_s), "--progress-s", str(config.worker.progress_timeout_s),
    ]  # fmt: skip
    # Some of the environment is read when the interpreter starts, so it starts again.
    os.execve(sys.executable, command, environment)  # noqa: S606 - there is nothing for a shell to do


def _make(exchange: Path) -> None:
    try:
        exchange.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(f"{exchange} (worker.exchange) cannot be made: {error.strerror}") from error
    if not os.access(exchange, os.W_OK | os.X_OK):
        raise Misconfigured(f"{exchange} (worker.exchange) cannot be written by this user")

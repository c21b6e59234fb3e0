"""``sdv-node demo``: both sides of one paid job on this machine, nothing configured, nothing left running."""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click
from rich.console import Console
from rich.text import Text

from node.cli.context import load_config, tokens
from node.cli.run_display import RunDisplay
from node.config import Config
from node.errors import NodeError
from node.job.spec import parse_inputs
from node.requester.steps import Started, Step

DEFAULT_PROMPT = "an astronaut floating against a white background"
MODULE = "sdv-pipeline:v1.1-lilypad2"

NODE_SAYS = {
    "SEEN": "offer seen",
    "PROPOSING": "offer is worth it, proposing",
    "PROPOSED": "proposal is on chain",
    "AGREED": "deal agreed, the payment is in escrow",
    "RENDERING": "rendering",
    "PUBLISHING": "rendered, publishing to IPFS",
    "SUBMITTING": "published, submitting the result",
    "SUBMITTED": "result is on chain",
    "DISPUTED": "the result is disputed",
    "PAID": "paid",
    "REJECTED": "the result was rejected",
}


class DemoDisplay(RunDisplay):
    """The requester's steps and the node's, each line with the name of the side it happens on."""

    def __call__(self, step: Step) -> None:
        """Show a step; a demo's run cannot be resumed, because its chain ends with it."""
        if not isinstance(step, Started):
            super().__call__(step)

    def say(self, text: str) -> None:
        """Print a line of the requester."""
        self.line("requester", "magenta", text)

    def node(self, text: str) -> None:
        """Print a line of the node."""
        self.line("node", "cyan", text)

    def line(self, side: str, colour: str, text: str) -> None:
        """Print one line under the name of a side."""
        for part in text.splitlines():
            self._console.print(Text.assemble((f"{side:>9}  ", colour), part), soft_wrap=True)


@click.command()
@click.argument("words", nargs=-1, metavar="[PROMPT]")
@click.option("--prompt", metavar="TEXT", help=f"What to show. Default: {DEFAULT_PROMPT}")
@click.option(
    "-i", "--input", "inputs", metavar="KEY=VALUE", multiple=True, help="Another input, e.g. Seed=7."
)
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="Write the result there."
)
@click.option(
    "--dispute",
    type=click.Choice(["honest", "cheating"]),
    help="Show a dispute with an honest or a cheating provider, and how a mediator rules.",
)
@click.option("--no-wait", is_flag=True, help="Do not keep the gateway running at the end.")
@click.pass_context
def demo(
    ctx: click.Context,
    words: tuple[str, ...],
    prompt: str | None,
    inputs: tuple[str, ...],
    json_file: Path | None,
    dispute: Literal["honest", "cheating"] | None,
    no_wait: bool,
) -> int:
    """Run one job end to end on a private chain: offer, deal, rendering, IPFS, result, payment.

    Starts a local Anvil with the market contracts, a node with the tiny models, and a requester who posts
    the prompt. Needs no wallet, no GPU and no network.

    With --dispute a mediator with a node of its own takes part: an honest provider is paid although its
    customer distrusts it, a cheating one (a byte of its film is changed) loses its collateral.

    \b
    Example:
      sdv-node demo "a red fox in snow" --json result.json
      sdv-node demo --dispute cheating
    """
    from node.observe.logging import configure_logging

    text = prompt if prompt is not None else " ".join(words) or DEFAULT_PROMPT
    all_inputs = (f"Prompt={text}", *inputs)
    parse_inputs(MODULE, all_inputs)
    config = load_config(ctx)
    directory = config.node.directory / "demo"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if json_file is not None:
        json_file.touch()
    with (directory / "node.log").open("a", encoding="utf-8") as log:
        configure_logging("json", config.log.level, log)
        wait = not no_wait and sys.stdin.isatty() and sys.stdout.isatty()
        display = DemoDisplay(Console())

        def save(document: dict[str, Any]) -> None:
            if json_file is not None:
                json_file.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")

        if dispute is not None:
            from node.cli.demo_dispute import show_dispute

            return asyncio.run(show_dispute(display, directory, (MODULE, all_inputs), dispute, save))
        document = asyncio.run(_demo(display, directory, all_inputs, config, wait=wait, on_document=save))
    return 0 if document["phase"] == "PAID" else 1


async def _demo(
    display: DemoDisplay,
    directory: Path,
    inputs: tuple[str, ...],
    config: Config,
    *,
    wait: bool,
    on_document: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    from node.app.demonstration import Demonstration

    display.node("starting a local chain with the market contracts")
    async with Demonstration(directory, display.node) as stage:
        display.symbol = stage.symbol
        display.node(f"running, dashboard at {stage.node.url}")
        display.node("loading the tiny models (made on the first run)")
        await stage.worker_ready()
        with display:
            watching = asyncio.create_task(watch(stage, display))
            outcome = await stage.request(MODULE, inputs, on_step=display)
            if outcome.exit_code == 0:
                await stage.settled(outcome.job_number)
                await watching
            watching.cancel()
        document = await stage.document(outcome)
        on_document(document)
        if outcome.exit_code != 0:
            raise NodeError(f"the demo did not end paid: {outcome.reason}; see {directory / 'node.log'}")
        _show(stage, document, outcome.directory, config.http.public_gateway)
        if wait:
            click.echo("\nThe dashboard and the gateway keep running until you press Enter.")
            await _enter()
    return document


async def _enter() -> None:
    """Wait for a line on standard input without a thread, which Ctrl-C could not end."""
    pressed = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), pressed.set)
    try:
        await pressed.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())


async def watch(stage: Any, display: DemoDisplay) -> None:
    """Tell what the node does, until its job is over."""
    seen: set[str] = set()
    async for phase in stage.phases():
        if phase not in seen and phase in NODE_SAYS:
            seen.add(phase)
            display.node(NODE_SAYS[phase])
        if phase in {"PAID", "REJECTED"}:
            return


def _show(stage: Any, document: dict[str, Any], folder: Path | None, public_gateway: str) -> None:
    gas = document["gas"]
    cid = document["cid"]
    rows = [
        ("deal", document["deal_id"]),
        ("CID", cid),
        ("class", document["class"]),
        ("local gateway", f"{stage.node.url}/ipfs/{cid} (until the demo ends)"),
        ("public gateway", f"{public_gateway}/ipfs/{cid} (once the node is reachable from the internet)"),
        ("folder", str(folder)),
    ]
    rows += [("", path.removeprefix(f"{folder}/")) for path in document["outputs"] if "/frames_" not in path]
    rows += [
        ("paid", f"{tokens(document['paid_wei'])} {stage.symbol} by the requester to the node"),
        ("gas", f"{document['gas_used']} in all: node {gas['provider']}, requester {gas['requester']}"),
        ("log", str(stage.log_file)),
    ]
    click.echo()
    for name, value in rows:
        click.echo(f"  {name:<14}  {value}")

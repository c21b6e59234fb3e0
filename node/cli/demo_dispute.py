"""``sdv-node demo --dispute``: three parties, a result that one of them does not believe, and a ruling."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click

from node.cli.context import tokens
from node.cli.demo import DemoDisplay, watch
from node.requester.outcome import Outcome, RunState

_EXPECTED = {"honest": RunState.PAID, "cheating": RunState.REJECTED}
_LINES = {
    "honest": "The provider was honest: it is paid, and who distrusted it paid the mediator.",
    "cheating": "The provider cheated: its collateral is gone, and its customer has the payment back.",
}


async def show_dispute(
    display: DemoDisplay,
    directory: Path,
    job: tuple[str, tuple[str, ...]],
    provider: Literal["honest", "cheating"],
    on_document: Callable[[dict[str, Any]], None],
) -> int:
    """Play the dispute and print who gained and lost what. Returns the exit code."""
    from node.app.dispute_demonstration import DisputeDemonstration

    display.node("starting a local chain with the market contracts")
    async with DisputeDemonstration(directory, display.node, provider) as stage:
        display.symbol = stage.symbol
        display.node(f"running, dashboard at {stage.node.url}")
        display.line("mediator", "yellow", "running, with models of its own")
        display.node("loading the tiny models of both (made on the first run)")
        await stage.worker_ready()
        with display:
            watching = [
                asyncio.create_task(watch(stage, display)),
                asyncio.create_task(_watch_mediator(stage, display)),
            ]
            outcome = await stage.request(*job, on_step=display)
            await stage.settled(outcome.job_number)
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
        document = await _document(stage, outcome, provider)
        on_document(document)
        _show(stage, document)
    return 0 if outcome.state is _EXPECTED[provider] else 1


async def _watch_mediator(stage: Any, display: DemoDisplay) -> None:
    async for case in stage.rulings():
        ruling = f" {case['decision']}" if case["decision"] else ""
        why = case["reason"] or case["waits"] or "drawn; computing the job again"
        display.line("mediator", "yellow", f"{case['phase']}{ruling}: {why}")


async def _document(stage: Any, outcome: Outcome, provider: str) -> dict[str, Any]:
    document: dict[str, Any] = await stage.document(outcome)
    case = stage.case() or {"decision": None, "reason": outcome.reason, "evidence": None}
    return {
        **document,
        "provider": provider,
        "state": outcome.state.value,
        "ruling": case["decision"],
        "reason": case["reason"],
        "evidence": case["evidence"],
        "gains_wei": {party: str(wei) for party, wei in (await stage.gains()).items()},
    }


def _show(stage: Any, document: dict[str, Any]) -> None:
    click.echo()
    for name in ("deal_id", "ruling", "reason", "evidence"):
        click.echo(f"  {name.removesuffix('_id'):<10}  {document[name]}")
    for party, wei in document["gains_wei"].items():
        sign = "+" if int(wei) > 0 else ""
        click.echo(f"  {party:<10}  {sign}{tokens(wei)} {stage.symbol}")
    click.echo(f"\n{_LINES[document['provider']]}")

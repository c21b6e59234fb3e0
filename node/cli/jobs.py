"""``sdv-node jobs``: the jobs of this node, from the running node or from its journal."""

import asyncio
import time
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from node.cli.api import get_json
from node.cli.context import load_config, print_json, tokens, wide_console
from node.config import Config
from node.errors import NodeError, Unreachable


class NoSuchJob(NodeError):
    """The job asked for is not in the journal."""


@click.group()
def jobs() -> None:
    """List and inspect jobs."""


@jobs.command("list")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True)
@click.option("--before", metavar="JOB", help="Only jobs older than this one, e.g. j17.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@click.pass_context
def list_jobs(ctx: click.Context, limit: int, before: str | None, as_json: bool) -> None:
    """List jobs, newest first.

    \b
    Example:
      sdv-node jobs list --limit 5
    """
    found = _list(load_config(ctx), limit, before)
    if as_json:
        print_json(found)
        return
    table = Table("job", "phase", "paid", "prompt", "result or reason", box=None, pad_edge=False)
    for job in found:
        table.add_row(
            job["job_id"],
            job["phase"],
            tokens(job["paid_wei"]) if job["phase"] == "PAID" else "",
            Text(job["prompt"][:48]),
            Text(job["cid"] or job["reason"] or ""),
        )
    wide_console().print(table if found else "no jobs yet")


@jobs.command()
@click.argument("job_id", metavar="JOB")
@click.option("--json", "as_json", is_flag=True, help="Print the job as JSON.")
@click.pass_context
def show(ctx: click.Context, job_id: str, as_json: bool) -> None:
    """Show one job with its history and transactions.

    \b
    Example:
      sdv-node jobs show j17
    """
    job = _job(load_config(ctx), job_id)
    if as_json:
        print_json(job)
        return
    console = wide_console()
    table = Table.grid(padding=(0, 2))
    for key in (
        "job_id",
        "deal_id",
        "phase",
        "module",
        "prompt",
        "requester",
        "cid",
        "reason",
        "determinism_class",
    ):
        if job[key] is not None:
            table.add_row(key, Text(str(job[key])))
    if job["price_wei"] is not None:
        table.add_row("price", tokens(job["price_wei"]))
    table.add_row("paid", tokens(job["paid_wei"]))
    console.print(table)
    for step in job["timeline"]:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(step["at"]))
        console.print(f"  {at}  {step['phase']:<11} {step['event']}", Text(step["detail"] or ""))
    for tx in job["transactions"]:
        console.print(f"  {tx['status']:<8} nonce {tx['nonce']}  {tx['what']}  {tx['tx_hash'] or ''}")


def _list(config: Config, limit: int, before: str | None) -> list[dict[str, Any]]:
    query = f"/api/v1/jobs?limit={limit}" + (f"&before={before}" if before else "")
    try:
        status, document = get_json(config.http, query)
    except Unreachable as unreachable:
        return asyncio.run(_offline_list(config, limit, before, unreachable))
    if status != 200:
        raise NodeError(str(document.get("error")))
    found: list[dict[str, Any]] = document["jobs"]
    return found


def _job(config: Config, job_id: str) -> dict[str, Any]:
    try:
        status, document = get_json(config.http, f"/api/v1/jobs/{job_id}")
    except Unreachable as unreachable:
        found = asyncio.run(_offline_job(config, job_id, unreachable))
    else:
        found = document if status == 200 else None
    if found is None:
        raise NoSuchJob(f"{job_id} is not a job of this node: sdv-node jobs list shows them")
    return found


async def _offline_list(
    config: Config, limit: int, before: str | None, unreachable: Unreachable
) -> list[dict[str, Any]]:
    from node.app import journal_reader

    async with journal_reader(config, unreachable) as reader:
        return await reader.jobs(limit, before)


async def _offline_job(config: Config, job_id: str, unreachable: Unreachable) -> dict[str, Any] | None:
    from node.app import journal_reader

    async with journal_reader(config, unreachable) as reader:
        return await reader.job(job_id)

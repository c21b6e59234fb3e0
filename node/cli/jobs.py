"""``sdv-node jobs``: the jobs of this node, from the running node or from its journal."""

import asyncio
import re
import time
from typing import Any
from urllib.parse import urlencode

import click
from rich.table import Table
from rich.text import Text

from node.addresses import NoAddress, parse_address
from node.cli.api import HINT, get_json
from node.cli.context import load_config, print_json, tokens, wide_console
from node.cli.jobs_money import audit, counterparties, export
from node.cli.moments import FORMS, moment
from node.cli.render_display import duration
from node.config import Config
from node.errors import Misconfigured, NodeError, RefusedByPolicy, Unreachable
from node.job.phase import Phase

PHASES = [phase.value for phase in Phase]
JOB_ID = re.compile(r"[jh][0-9]{1,20}")


class NoSuchJob(NodeError):
    """The job asked for is not in the journal."""


def checked_address(text: str | None) -> str | None:
    """Return an address in lower case, None for None. Raises Misconfigured for anything else."""
    try:
        return None if text is None else parse_address(text)
    except NoAddress as problem:
        raise Misconfigured(f"{text!r:.60} is not an account: {problem}") from None


@click.group()
def jobs() -> None:
    """List and inspect jobs.

    \b
    Example:
      sdv-node jobs list --limit 5
      sdv-node jobs show j17
    """


for command in (export, audit, counterparties):
    jobs.add_command(command)


@jobs.command("list")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True)
@click.option("--before", metavar="JOB", help="Only jobs older than this one, e.g. j17.")
@click.option("--phase", type=click.Choice(PHASES, case_sensitive=False), help="Only jobs in this phase.")
@click.option("--requester", metavar="ADDRESS", help="Only jobs of this account.")
@click.option("--since", metavar="MOMENT", help=f"Only jobs first seen since: {FORMS}.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@click.pass_context
def list_jobs(
    ctx: click.Context,
    limit: int,
    before: str | None,
    phase: str | None,
    requester: str | None,
    since: str | None,
    as_json: bool,
) -> None:
    """List jobs, newest first.

    \b
    Example:
      sdv-node jobs list --limit 5
      sdv-node jobs list --phase UNPAID --since 30d
    """
    earliest = moment(since)
    query = {
        "limit": str(limit),
        "before": before,
        "phase": phase,
        "requester": checked_address(requester),
        "since": None if earliest is None else str(int(earliest)),
    }
    found = _list(load_config(ctx), {name: value for name, value in query.items() if value is not None})
    if as_json:
        print_json(found)
        return
    columns = ("job", "phase", "requester", "price", "paid", "gas", "prompt", "result or reason")
    table = Table(*columns, box=None, pad_edge=False)
    for job in found:
        table.add_row(
            job["job_id"],
            job["phase"],
            f"{job['requester'][:6]}…{job['requester'][-4:]}",
            tokens(job["price_wei"]) if job["price_wei"] is not None else "",
            tokens(job["paid_wei"]) if job["phase"] == "PAID" else "",
            tokens(job["gas_wei"]) if job["gas_wei"] != "0" else "",
            Text(job["prompt"][:48]),
            Text(job["cid"] or job["reason"] or ""),
        )
    nothing = "no such jobs" if any((phase, requester, since, before)) else "no jobs yet"
    wide_console().print(table if found else nothing)


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
    _add_times(table, job)
    _add_money(table, job["money"])
    console.print(table)
    for payment in job["money"]["payments"]:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(payment["at"]))
        what = f"{payment['reason']} {payment['direction']}".replace("_", " ")
        console.print(f"  {at}  {tokens(payment['amount_wei']):>8}  {what}  {payment['tx_hash']}")
    for copy in job["copies"]:
        console.print(f"  {copy['place']:<12} {told_copy(copy)}", Text(copy["problem"] or ""))
    for step in job["timeline"]:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(step["at"]))
        said = " in ".join(filter(None, (step["detail"], step["tx_hash"])))
        console.print(f"  {at}  {step['phase']:<11} {step['event']}", Text(said))
    for tx in job["transactions"]:
        console.print(f"  {tx['status']:<8} nonce {tx['nonce']}  {tx['what']}  {tx['tx_hash'] or ''}")


def told_copy(copy: dict[str, Any]) -> str:
    """Return what became of a result at one place, in a few words."""
    moments = (("kept", copy["stored_at"]), ("read back", copy["read_at"]))
    told = [
        f"{what} {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(at))}"
        for what, at in moments
        if at is not None
    ]
    if copy["awaited"]:
        told.append("waiting")
    elif not told:
        told.append("not yet" if copy["awaited"] is None else "nobody waits for it")
    return ", ".join(told)


def _add_times(table: Table, job: dict[str, Any]) -> None:
    expected, taken = job.get("estimate"), job.get("run_time")
    if expected is not None:
        source = "" if expected["measured"] else ", nothing is measured yet"
        table.add_row(
            "rendering",
            f"about {duration(expected['left_s'])} left; {expected['expected_s']:.0f} s are expected, "
            f"{expected['upper_s']:.0f} at most{source}",
        )
    if taken is not None:
        table.add_row("rendering", f"took {taken['taken_s']:.1f} s, {taken['expected_s']:.1f} were expected")


def _add_money(table: Table, money: dict[str, Any]) -> None:
    table.add_row("locked", tokens(money["locked_wei"]))
    table.add_row("net", tokens(money["net_wei"]))
    table.add_row("gas", f"{tokens(money['gas_wei'])} in {money['transactions']} transactions")
    claim = money["claim"]
    if claim is not None:
        due = claim["due_at"]
        when = "now" if due is None else time.strftime("after %Y-%m-%d %H:%M:%S", time.localtime(due))
        table.add_row("claim", f"{tokens(claim['amount_wei'])} {when} ({claim['kind']})")
    record = {name: number for name, number in money["requester"].items() if number}
    told = ", ".join(f"{number} {name}" for name, number in record.items())
    table.add_row("its record", told or "no deals so far")


def _list(config: Config, query: dict[str, str]) -> list[dict[str, Any]]:
    try:
        status, document = get_json(config, f"/api/v1/jobs?{urlencode(query)}")
    except Unreachable as unreachable:
        return asyncio.run(_offline_list(config, query, unreachable))
    if status != 200:
        raise NodeError(str(document.get("error")))
    found: list[dict[str, Any]] = document["jobs"]
    return found


def _job(config: Config, job_id: str) -> dict[str, Any]:
    if not JOB_ID.fullmatch(job_id):
        raise NoSuchJob(f"{job_id!r:.40} is no job, such as j17: sdv-node jobs list shows them")
    try:
        status, document = get_json(config, f"/api/v1/jobs/{job_id}")
    except Unreachable as unreachable:
        found = asyncio.run(_offline_job(config, job_id, unreachable))
    else:
        if status == 200 and document.get("view") == "public":
            raise RefusedByPolicy(f"the node tells its operator alone about {job_id}: {HINT}")
        found = document if status == 200 else None
    if found is None:
        raise NoSuchJob(f"{job_id} is not a job of this node: sdv-node jobs list shows them")
    return found


async def _offline_list(
    config: Config, query: dict[str, str], unreachable: Unreachable
) -> list[dict[str, Any]]:
    from node.app import journal_reader
    from node.journal.ledger_rows import JobFilter
    from node.types import Address

    requester, since = query.get("requester"), query.get("since")
    chosen = JobFilter(
        phase=query.get("phase"),
        requester=Address(requester) if requester else None,
        since=float(since) if since else None,
    )
    async with journal_reader(config, unreachable) as reader:
        return await reader.jobs(int(query["limit"]), query.get("before"), chosen)


async def _offline_job(config: Config, job_id: str, unreachable: Unreachable) -> dict[str, Any] | None:
    from node.app import journal_reader

    async with journal_reader(config, unreachable) as reader:
        return await reader.job(job_id)

"""``sdv-node jobs export``, ``audit`` and ``counterparties``: the ledger in files, checked, by account."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from node.cli.context import load_config, print_json, tokens, wide_console
from node.cli.moments import FORMS, moment
from node.config import Config

ALL_JOBS = 10**9


DIFFERS = 1


@click.command()
@click.option("--csv", "form", flag_value="csv", default=True, help="Comma separated values (the default).")
@click.option("--json", "form", flag_value="json", help="A JSON list with the same fields.")
@click.option(
    "--rows",
    type=click.Choice(["jobs", "payments", "gas"]),
    default="jobs",
    show_default=True,
    help="One row per job, per payment on chain, or per transaction.",
)
@click.option("--since", metavar="MOMENT", help=f"From then on: {FORMS}.")
@click.option("--until", metavar="MOMENT", help="Before then.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Into this file, not printed.")
@click.pass_context
def export(
    ctx: click.Context, form: str, rows: str, since: str | None, until: str | None, out: Path | None
) -> None:
    """Write the node's money for bookkeeping: exact amounts in whole tokens and in wei.

    Jobs are chosen by when they were first seen, payments and gas by the time of their block. It does not
    matter whether the node runs.

    \b
    Example:
      sdv-node jobs export --csv --rows payments --since 2026-11-01 --out november.csv
    """
    from node.settlement.export import to_csv

    found = asyncio.run(_rows(load_config(ctx), rows, moment(since), moment(until)))
    if form == "json":
        if out is None:
            print_json(found)
            return
        import json

        text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    else:
        text = to_csv(found)
    if out is None:
        click.echo(text, nl=False)
        return
    out.write_text(text, encoding="utf-8", newline="")
    click.echo(f"{len(found)} rows in {out}")


async def _rows(
    config: Config, kind: str, since: float | None, until: float | None
) -> Sequence[dict[str, str]]:
    from node.app.money import ledger_journal, own_account
    from node.journal.ledger_rows import JobFilter
    from node.settlement.export import gas_rows, job_rows, payment_rows
    from node.settlement.ledger import Period, fold

    account = own_account(config)
    period = Period(since, until)
    async with ledger_journal(config) as ledger:
        postings = [] if kind == "gas" else await ledger.postings(payee=account)
        gas = [] if kind == "payments" else await ledger.gas()
        if kind == "payments":
            return payment_rows(posting for posting in postings if period.holds(posting.row.at))
        if kind == "gas":
            return gas_rows(row for row in gas if period.holds(row.at))
        jobs = await ledger.jobs(JobFilter(since=since), ALL_JOBS)
    sums = fold(account, postings, gas).by_job
    return job_rows((row for row in reversed(jobs) if period.holds(row.seen_at)), sums)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
@click.pass_context
def audit(ctx: click.Context, as_json: bool) -> int:
    """Compare the ledger with every payment the chain has, to the wei, and name each difference.

    Ends with 0 if both say the same, 1 if they differ, 3 if the chain was not reached.

    \b
    Example:
      sdv-node jobs audit
    """
    report = asyncio.run(_audit(load_config(ctx)))
    if as_json:
        print_json(report)
    elif report is None:
        click.echo("no deals yet, so there is nothing to compare")
    else:
        _tell(report)
    return 0 if report is None or report["equal"] else DIFFERS


async def _audit(config: Config) -> dict[str, Any] | None:
    from node.app.audit import audit as compare
    from node.app.money import ledger_journal, own_account
    from node.app.parties import open_market

    async with ledger_journal(config) as ledger, open_market(config.chain) as market:
        found = await compare(market.chain, market.contracts, ledger, own_account(config))
        return None if found is None else {**found.to_json(), "told": [str(d) for d in found.differences]}


def _tell(report: dict[str, Any]) -> None:
    click.echo(f"blocks {report['first_block']} to {report['last_block']}, {report['payments']} payments")
    for side in ("ledger", "chain"):
        sums = report[side]
        click.echo(
            f"{side:<7} earned {tokens(sums['earned_wei'])}, locked {tokens(sums['locked_wei'])}, "
            f"net {tokens(sums['net_wei'])}"
        )
    for line in report["told"]:
        click.echo(f"differs: {line}")
    for deal_id in report["unknown_deals"]:
        click.echo(
            f"unknown: deal {deal_id} names this account as provider and the journal does not have it: "
            "look for another node or data directory with this key"
        )
    if report["equal"]:
        click.echo("ledger and chain are equal to the wei")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@click.pass_context
def counterparties(ctx: click.Context, as_json: bool) -> None:
    """Show every account this node met: how its deals ended, what it paid, and what it is still good for.

    \b
    Example:
      sdv-node jobs counterparties
    """
    found = asyncio.run(_counterparties(load_config(ctx)))
    if as_json:
        print_json(found)
        return
    table = Table(
        "account",
        "deals",
        "paid",
        "unpaid",
        "drained",
        "rejected",
        "failed",
        "open",
        "net",
        "gas",
        "taken",
        box=None,
        pad_edge=False,
    )
    for one in found:
        unpaid = one["unpaid"] + one["unanswered"]
        numbers = (
            one["deals"],
            one["paid"],
            unpaid,
            one["drained"],
            one["rejected"],
            one["failed"],
            one["open"],
        )
        table.add_row(
            one["account"],
            *map(str, numbers),
            tokens(one["net_wei"]),
            tokens(one["gas_wei"]),
            one["declined_because"] or "yes",
        )
    wide_console().print(table if found else "no accounts yet")


async def _counterparties(config: Config) -> list[dict[str, Any]]:
    from node.app.money import counterparties as known
    from node.app.money import ledger_journal, own_account

    async with ledger_journal(config) as ledger:
        return await known(ledger, own_account(config), config.admission)

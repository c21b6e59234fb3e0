"""``sdv-node clean``: make room by letting finished jobs' results go."""

import asyncio
from typing import Any

import click
from rich.table import Table

from node.cli.context import keep_output_clean, load_config, print_json, wide_console
from node.cli.moments import date_time
from node.config import Config


@click.command()
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def clean(ctx: click.Context, dry_run: bool, as_json: bool) -> None:
    """Remove finished jobs' results: those kept for ipfs.keep_days, and the oldest beyond ipfs.quota_gb.

    Results of jobs that are open, disputed or not paid yet stay, and so does the published offer. A running
    node cleans by itself every ten minutes; this has it do so now. Without a node this command does it.

    \b
    Examples:
      sdv-node clean --dry-run
      sdv-node clean --json | jq .freed_bytes
    """
    done = asyncio.run(_carry_out(load_config(ctx), dry_run=dry_run))
    if as_json:
        print_json(done)
        return
    show_done(done)


async def _carry_out(config: Config, *, dry_run: bool) -> dict[str, Any]:
    from node.app.control import ask_running_node
    from node.app.housekeeping import CLEAN, clean_stopped

    keep_output_clean(config)
    done = await ask_running_node(config.node.directory, CLEAN, {"dry_run": dry_run})
    return done if done is not None else await clean_stopped(config, dry_run=dry_run)


def show_done(done: dict[str, Any]) -> None:
    """Print for people what went, or would."""
    console = wide_console()
    would = "would go" if done["dry_run"] else "went"
    if done["let_go"]:
        table = Table("job", "ended", "phase", "MB", "because of", box=None, pad_edge=False)
        for one in done["let_go"]:
            size = f"{one['bytes'] / 10**6:.1f}"
            table.add_row(one["job_id"], date_time(one["ended_at"]), one["phase"], size, one["why"])
        console.print(table)
    results, copies = done["jobs_let_go"], len(done["second_copies"])
    stay = "stays" if done["kept_jobs"] == 1 else "stay"
    click.echo(
        f"{_counted(results, 'result', 'results')} and "
        f"{_counted(copies, 'second copy', 'second copies')} {would}, "
        f"{done['freed_bytes'] / 10**6:.1f} MB; {_counted(done['kept_jobs'], 'result', 'results')} with "
        f"{done['kept_bytes'] / 10**6:.1f} MB {stay}, "
        f"{done['disk_free_bytes'] / 10**9:.1f} GB of the disk are free"
    )
    if done["over_quota_bytes"]:
        click.echo(
            f"{done['over_quota_bytes'] / 10**9:.3g} GB more than ipfs.quota_gb are kept "
            "for jobs that are not over"
        )
    for job_id, problem in done["damaged"].items():
        click.echo(f"{job_id} is damaged on disk: {problem}", err=True)


def _counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"

"""``sdv-node logs``: what the node wrote, of one job or of all, as it comes or as it was."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from node.cli.context import load_config
from node.cli.moments import FORMS, moment
from node.errors import Misconfigured
from node.observe.log_records import FOLDER, LEVELS, Following, LogRecord, Wanted, last_records

LOOK_EVERY_S = 0.5
UNIT = "sdv-node"


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until Ctrl-C.")
@click.option("--job", "job_id", metavar="JOB", help="Only lines about this job, e.g. j17.")
@click.option("--since", metavar="MOMENT", help=f"Only lines since: {FORMS}.")
@click.option(
    "--level", type=click.Choice(LEVELS), default="debug", help="Only lines of this level or above."
)
@click.option(
    "-n", "--lines", type=click.IntRange(0, 100_000), default=100, show_default=True, help="At most so many."
)
@click.option(
    "--from",
    "source",
    type=click.Choice(["auto", "record", "journal"]),
    default="auto",
    show_default=True,
    help="The node's own record, or systemd's journal; auto takes the record if it may be read.",
)
@click.option("--unit", default=UNIT, show_default=True, help="The service whose journal is read.")
@click.option("--json", "as_json", is_flag=True, help="Print each line as one JSON object.")
@click.pass_context
def logs(
    ctx: click.Context,
    follow: bool,
    job_id: str | None,
    since: str | None,
    level: str,
    lines: int,
    source: str,
    unit: str,
    as_json: bool,
) -> None:
    """Show the node's log, or follow it.

    The node keeps a record of its own in <data dir>/log, whatever runs it. The journal also has what
    systemd says about the service.

    \b
    Examples:
      sdv-node logs --follow
      sdv-node logs --job j17
      sdv-node logs --since 2h --level warning
      sdv-node logs --from journal --since 1h
    """
    wanted = Wanted(job_id, moment(since), level)
    data_dir = load_config(ctx).node.directory
    show = _printer(as_json=as_json)
    if source == "journal" or (source == "auto" and not _is_readable(data_dir)):
        found = _of_journal(unit, wanted, lines, follow=follow)
    else:
        found = _of_record(data_dir, wanted, lines, follow=follow)
    shown = 0
    for record in found:
        show(record)
        shown += 1
    if not shown and lines:
        click.echo(f"no lines: nothing that was logged is {_told(job_id, since, level)}", err=True)


def _told(job_id: str | None, since: str | None, level: str) -> str:
    asked = [f"about {job_id}"] if job_id else []
    asked += [f"since {since}"] if since else []
    return ", ".join((*asked, f"of level {level} or above"))


def _is_readable(data_dir: Path) -> bool:
    try:
        next(iter((data_dir / FOLDER).iterdir()), None)
    except PermissionError:
        return False
    except OSError:
        return True
    return True


def _of_journal(unit: str, wanted: Wanted, lines: int, *, follow: bool) -> Iterator[LogRecord]:
    from node.observe.service_journal import follow_journal, journal_records

    yield from journal_records(unit, wanted, lines) if lines else ()
    if follow:
        yield from follow_journal(unit, wanted)


def _of_record(data_dir: Path, wanted: Wanted, lines: int, *, follow: bool) -> Iterator[LogRecord]:
    if not (follow or (data_dir / FOLDER).exists()):
        raise Misconfigured(
            f"no node has kept a log in {data_dir / FOLDER}: --data-dir or --config names another node"
        )
    following = Following(data_dir, wanted)
    try:
        yield from last_records(data_dir, wanted, lines)
        while follow:
            yield from following.news()
            time.sleep(LOOK_EVERY_S)
    finally:
        following.close()


def _printer(*, as_json: bool) -> Callable[[LogRecord], None]:
    from node.observe.logging import console_renderer, escape_control

    renderer = console_renderer(colours=sys.stdout.isatty() and not os.environ.get("NO_COLOR"))

    def show(record: LogRecord) -> None:
        event = escape_control(None, "", {"event": "", **record})
        click.echo(json.dumps(record, ensure_ascii=False) if as_json else renderer(None, "", event))

    return show

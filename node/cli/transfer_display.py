"""How far large files are: a moving bar for a terminal, a line now and then for a log.

Both on standard error.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from node.pipeline.weights.conversion import Reporter

_TOLD_SHARE = 0.1
_WORTH_TELLING_BYTES = 200 << 20


class _Lines:
    """One line when something begins, and one for each tenth of what is large."""

    def __init__(self) -> None:
        self._what, self._total, self._done, self._told = "", 0, 0, 0.0

    def begin(self, what: str, total_bytes: int) -> None:
        """Say what begins."""
        self._what, self._total, self._done, self._told = what, total_bytes, 0, 0.0
        click.echo(f"{what} ({total_bytes / 1e6:.1f} MB)" if total_bytes else what, err=True)

    def advance(self, count: int) -> None:
        """Say so when another tenth is done."""
        self._done += count
        share = self._done / self._total if self._total else 0.0
        if self._total >= _WORTH_TELLING_BYTES and share >= self._told + _TOLD_SHARE:
            self._told = share
            click.echo(f"{self._what}: {share:.0%}", err=True)

    def note(self, text: str) -> None:
        """Say it."""
        click.echo(text, err=True)


class _Bars:
    """A bar for what runs, and a line above it for what is done."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None, visible=False)

    def begin(self, what: str, total_bytes: int) -> None:
        """Start a new bar."""
        self._progress.remove_task(self._task)
        self._task = self._progress.add_task(what, total=total_bytes or None)

    def advance(self, count: int) -> None:
        """Move the bar."""
        self._progress.advance(self._task, count)

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(Text(text), soft_wrap=True)


@contextmanager
def reporter() -> Iterator[Reporter]:
    """Show what is told to the reporter until the end of the context."""
    console = Console(stderr=True, highlight=False)
    if not (console.is_terminal and sys.stderr.isatty()):
        yield _Lines()
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Bars(progress)

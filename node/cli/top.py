"""``sdv-node top``: the running node, live in the terminal."""

import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click
from rich.console import Console, RenderableType
from rich.live import Live

from node.cli.context import load_config
from node.cli.top_feed import Feed, View, read
from node.cli.top_frame import frame
from node.config import Config
from node.observe.log_records import Following, LogRecord, Wanted, last_records

REFRESH_S = 0.5
LOG_S = 3600.0
"""How far back troubles are looked for."""
TROUBLES = 20
WIDTH, HEIGHT = 80, 24
"""Of a frame that no terminal bounds."""


@click.command()
@click.option("--once", is_flag=True, help="Print one frame and end; programs read `status --json`.")
@click.pass_context
def top(ctx: click.Context, once: bool) -> None:
    """Watch the running node: jobs and their steps, queue, GPUs, earnings, last offers, troubles in the log.

    It follows the node's events and goes on by itself after a break. q or Ctrl-C ends it.

    \b
    Example:
      sdv-node top
      sdv-node top --once
    """
    config = load_config(ctx)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH, height=HEIGHT)
    view = View()
    read(config, view)
    if once or not (console.is_terminal and sys.stdin.isatty()):
        troubles = _Troubles(config.node.directory)
        view.log = troubles.newest()
        troubles.close()
        console.print(_frame(view, console))
        return
    _watch(config, console, view)


def _watch(config: Config, console: Console, view: View) -> None:
    feed = Feed(config, view)
    feed.start()
    troubles = _Troubles(config.node.directory)
    try:
        with _single_keys(), Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                view.log = troubles.newest()
                live.update(_frame(view, console), refresh=True)
                if _key_within(REFRESH_S) in {"q", "Q", "\x03"}:
                    return
    except KeyboardInterrupt:
        return
    finally:
        feed.stop()
        troubles.close()


def _frame(view: View, console: Console) -> RenderableType:
    return frame(
        view,
        width=console.width,
        height=console.height,
        now=time.time(),
        ascii_only=console.options.ascii_only,
    )


class _Troubles:
    """The newest warnings and errors of the node's own record of its log; none where it may not be read."""

    def __init__(self, directory: Path) -> None:
        wanted = Wanted(level="warning", since=time.time() - LOG_S)
        self._following = None
        self._newest: list[LogRecord] = []
        with suppress(OSError):
            self._following = Following(directory, wanted)
            self._newest = last_records(directory, wanted, TROUBLES)[::-1]

    def newest(self) -> list[LogRecord]:
        """Return them, the newest first, with what has come since the last call."""
        if self._following is not None:
            with suppress(OSError):
                self._newest = [*reversed(self._following.news()), *self._newest][:TROUBLES]
        return self._newest

    def close(self) -> None:
        """Let go of the file."""
        if self._following is not None:
            self._following.close()


@contextmanager
def _single_keys() -> Iterator[None]:
    """Have the terminal give each key at once, and put it back."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _key_within(seconds: float) -> str | None:
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return sys.stdin.read(1) if ready else None

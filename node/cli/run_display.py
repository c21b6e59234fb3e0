"""A requested job as people see it: one line per step, and bars while something moves on a terminal."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from node.cli.context import tokens
from node.requester.steps import (
    Accepted,
    Chosen,
    DealAgreed,
    Downloading,
    Failed,
    JobPosted,
    ProposalIgnored,
    ProposalSeen,
    Rendering,
    ResultSubmitted,
    Started,
    Step,
    Verified,
    Waiting,
)

PLAIN_PROGRESS = 0.1
"""Without a terminal a line is printed each time rendering advances by this share, or to another stage."""


def sentence(step: Step, symbol: str) -> str | None:
    """Return what a step means in one line, or None for steps that are shown as a bar."""
    match step:
        case Started(run_id=run_id):
            return f"Run {run_id} (to go on after an interruption: sdv-node run --resume {run_id})"
        case JobPosted():
            return f"Job j{step.number} is posted in transaction {step.tx_hash}; waiting for proposals"
        case ProposalSeen():
            price, locked = tokens(step.price_wei), tokens(step.locked_wei)
            return f"{step.provider} proposes {price} {symbol} (locks {locked})"
        case ProposalIgnored():
            return f"A proposal of {step.provider} is ignored: {step.reason}"
        case Chosen():
            return f"Taking {step.provider} for {tokens(step.price_wei)} {symbol}, out of {step.out_of}"
        case DealAgreed():
            return (
                f"Deal {step.deal_id} is agreed, {tokens(step.locked_wei)} {symbol} in escrow; the job runs"
            )
        case ResultSubmitted(instruction_count=0):
            return "The provider says that it could not do the job"
        case ResultSubmitted():
            return f"The result is submitted as {step.data_id}; downloading"
        case Verified():
            return f"Verified: the files have the CID {step.cid}"
        case Accepted(paid_wei=0):
            return "Accepted: nothing is paid, the collateral is back"
        case Accepted():
            return f"Accepted: {tokens(step.paid_wei)} {symbol} paid"
        case Waiting():
            return f"Trying again: {step.what}"
        case Failed():
            return f"Failed: {step.reason}\nNext: {step.next_step}"
        case Rendering() | Downloading():
            return None


class RunDisplay:
    """Shows the steps of one run; used as the run's ``on_step`` inside a ``with``."""

    def __init__(self, console: Console) -> None:
        self.symbol = "tokens"
        self.run_id: str | None = None
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._said: tuple[str, float] = ("", -1.0)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def __call__(self, step: Step) -> None:
        """Show a step."""
        if isinstance(step, Started):
            self.run_id = step.run_id
        text = sentence(step, self.symbol)
        if text is not None:
            self._clear_bar()
            self.say(text)
        elif isinstance(step, Rendering):
            self._rendering(step)
        elif isinstance(step, Downloading):
            self._bar("downloading", f"{step.received_bytes / 1e6:.1f} MB", None)

    def say(self, text: str) -> None:
        """Print text as it is."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _rendering(self, step: Rendering) -> None:
        progress = step.progress
        detail = f"{progress.fraction:.0%}, {progress.stage} {progress.step}/{progress.steps}"
        if self._console.is_terminal:
            self._bar("rendering", detail, progress.fraction)
            return
        stage, fraction = self._said
        if stage != progress.stage or progress.fraction >= fraction + PLAIN_PROGRESS:
            self._said = (progress.stage, progress.fraction)
            self.say(f"Rendering: {detail}")

    def _bar(self, what: str, detail: str, fraction: float | None) -> None:
        total = None if fraction is None else 1.0
        if self._task is None:
            self._task = self._bars.add_task(what, total=total, detail=detail)
        self._bars.update(self._task, description=what, detail=detail, total=total, completed=fraction or 0.0)

    def _clear_bar(self) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None

"""A requested job as people see it: one line per step, and bars while something moves on a terminal."""

from datetime import datetime
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from node.cli.context import tokens
from node.cli.proposal_table import ProposalTable
from node.cli.render_display import duration
from node.job.deal import AgreementState
from node.requester.steps import (
    Accepted,
    CheckDrawn,
    CheckedHere,
    Checking,
    Chosen,
    DealAgreed,
    Disputed,
    Downloading,
    Failed,
    Hired,
    HireLapsed,
    HireRefused,
    JobPosted,
    MediatorAwaited,
    MediatorSilent,
    OfferFound,
    OfferIgnored,
    ProposalIgnored,
    ProposalSeen,
    Publishing,
    Rendering,
    ResultSubmitted,
    Resumed,
    SourceDropped,
    Started,
    Step,
    Verified,
    Waiting,
)

KEPT_LINES = 6
"""Lines of the terminal that the table leaves to what was said before and to the bars."""
STANDS = {
    AgreementState.DEAL_NEGOTIATING: "hired and has to agree",
    AgreementState.DEAL_AGREED: "agreed and under way",
    AgreementState.RESULTS_SUBMITTED: "waiting for you to look at the result",
    AgreementState.RESULTS_ACCEPTED: "accepted and paid",
    AgreementState.RESULTS_CHECKED: "before a mediator",
    AgreementState.MEDIATION_ACCEPTED: "decided for the provider",
    AgreementState.MEDIATION_REJECTED: "decided for you",
    AgreementState.TIMEOUT_AGREE: "over: it was not agreed in time",
    AgreementState.TIMEOUT_SUBMIT_RESULTS: "over: no result came in time",
    AgreementState.TIMEOUT_JUDGE_RESULTS: "over: it was not judged in time",
    AgreementState.TIMEOUT_MEDIATE_RESULTS: "over: no mediator ruled in time",
}
PLAIN_PROGRESS = 0.1
"""Without a terminal a line is printed each time rendering advances by this share, or to another stage."""


def sentence(step: Step, symbol: str) -> str | None:
    """Return what a step means in one line, or None for steps that are shown as a bar."""
    match step:
        case Started(run_id=run_id):
            return f"Run {run_id} (to go on after an interruption: sdv-node run --resume {run_id})"
        case JobPosted():
            return f"Job j{step.number} is posted in transaction {step.tx_hash}"
        case Resumed():
            return _what_stands(step, symbol)
        case ProposalSeen() | OfferFound():
            price, locked = tokens(step.price_wei), tokens(step.locked_wei)
            does = "proposes" if isinstance(step, ProposalSeen) else "can be hired for"
            record = f", {step.record.accepted} of {step.record.ended} paid" if step.record else ""
            return f"{step.provider} {does} {price} {symbol} (locks {locked}{record})"
        case ProposalIgnored():
            return f"A proposal of {step.provider} is ignored: {step.reason}"
        case OfferIgnored():
            return f"{step.provider} is not hired: {step.reason}"
        case Chosen():
            return f"Taking {step.provider} for {tokens(step.price_wei)} {symbol}, out of {step.out_of}"
        case Hired():
            locked, until = tokens(step.locked_wei), _clock_time(step.closes_at)
            return (
                f"Hired {step.provider} in deal {step.deal_id}, {locked} {symbol} in escrow; "
                f"it has to agree by {until}"
            )
        case HireRefused():
            return (
                f"{step.provider} does not take the hire: {step.reason}; "
                "all comes back when its time to agree is over"
            )
        case HireLapsed():
            return f"{step.provider} did not agree in time: {tokens(step.returned_wei)} {symbol} came back"
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
        case CheckDrawn():
            return f"This run is {'one' if step.checked else 'none'} of those whose results are checked"
        case Checking():
            return "Computing the job again here before the result is accepted"
        case CheckedHere():
            return f"Checked: {step.reason}\n  what that rests on: {step.evidence}"
        case Disputed():
            fee = f"the fee of {tokens(step.fee_wei)} {symbol} is yours to pay"
            return f"Disputed: {step.reason}; a mediator rules now, {fee}"
        case MediatorAwaited():
            who = step.mediator or "nobody"
            return f"The mediator {who} may rule until {_clock_time(step.over_at)}"
        case MediatorSilent():
            return f"The mediator {step.mediator} stayed silent and is passed over"
        case Accepted(paid_wei=0):
            return "Accepted: nothing is paid, the collateral is back"
        case Accepted():
            return f"Accepted: {tokens(step.paid_wei)} {symbol} paid"
        case SourceDropped():
            return f"{step.source} is not asked for the rest: {step.reason}"
        case Waiting():
            return f"Trying again: {step.what}"
        case Failed():
            return f"Failed: {step.reason}\nNext: {step.next_step}"
        case Rendering() | Publishing() | Downloading():
            return None


def _what_stands(step: Resumed, symbol: str) -> str:
    if step.number is None:
        return f"Run {step.run_id}: nothing is posted yet"
    said = f"Run {step.run_id}: job j{step.number} is posted"
    if step.deal_id is None:
        return f"{said}, no deal is agreed yet"
    if step.state is None:
        return f"{said}, deal {step.deal_id} was being agreed"
    locked = f", {tokens(step.locked_wei)} {symbol} of yours locked at first" if step.locked_wei else ""
    return f"{said}, deal {step.deal_id} with {step.provider} is {STANDS[step.state]}{locked}"


def _clock_time(timestamp: int) -> str:
    moment = datetime.fromtimestamp(timestamp).astimezone()
    today = moment.date() == datetime.now().astimezone().date()
    return moment.strftime("%H:%M:%S" if today else "%d %B, %H:%M:%S")


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
        )
        self._table = ProposalTable()
        self._comparing = True
        self._live = Live(console=console, transient=True, get_renderable=self._moving)
        self._task: TaskID | None = None
        self._said: tuple[str, float] = ("", -1.0)
        self._said_published = False

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._settle_table()
        self._live.stop()

    def __call__(self, step: Step) -> None:
        """Show a step."""
        if isinstance(step, Started | Resumed):
            self.run_id = step.run_id
        if self._console.is_terminal:
            if isinstance(step, ProposalSeen | OfferFound):
                self._comparing = True
            in_table = self._table.note(step)
            if isinstance(step, DealAgreed):
                self._settle_table()
            if in_table and self._comparing:
                return
        text = sentence(step, self.symbol)
        if text is not None:
            self._clear_bar()
            self.say(text)
        elif isinstance(step, Rendering):
            self._rendering(step)
        elif isinstance(step, Publishing):
            self._publishing()
        elif isinstance(step, Downloading):
            self._downloading(step)

    def say(self, text: str) -> None:
        """Print text as it is."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _moving(self) -> RenderableType:
        """Return what is drawn again and again at the bottom of the terminal."""
        if not (self._comparing and self._table):
            return self._bars
        return Group(self._shown_table(), self._bars)

    def _shown_table(self) -> RenderableType:
        size = self._console.size
        return self._table.shown(self.symbol, size.width, size.height - KEPT_LINES)

    def _settle_table(self) -> None:
        """Leave the table as it is in the scroll-back; it does not change any more."""
        if self._console.is_terminal and self._comparing and self._table:
            self._comparing = False
            self._console.print(self._shown_table())

    def _rendering(self, step: Rendering) -> None:
        progress = step.progress
        detail = f"{progress.fraction:.0%}, {progress.stage} {progress.step}/{progress.steps}"
        if step.left_s is not None:
            detail += f", about {duration(step.left_s)} left"
        if self._console.is_terminal:
            self._bar("rendering", detail, progress.fraction)
            return
        stage, fraction = self._said
        if stage != progress.stage or progress.fraction >= fraction + PLAIN_PROGRESS:
            self._said = (progress.stage, progress.fraction)
            self.say(f"Rendering: {detail}")

    def _publishing(self) -> None:
        if self._console.is_terminal:
            self._bar("publishing", "rendered; copies are made and read back", None)
        elif not self._said_published:
            self._said_published = True
            self.say("Rendered; the provider has copies made and read back before it reports the result")

    def _downloading(self, step: Downloading) -> None:
        if not step.total_bytes:
            self._bar("downloading", f"{step.received_bytes / 1e6:.1f} MB", None)
            return
        detail = f"{step.received_bytes / 1e6:.1f} of {step.total_bytes / 1e6:.1f} MB"
        self._bar("downloading", detail, min(1.0, step.received_bytes / step.total_bytes))

    def _bar(self, what: str, detail: str, fraction: float | None) -> None:
        total = None if fraction is None else 1.0
        if any((task.total is None) != (total is None) for task in self._bars.tasks):
            # An update leaves the total alone when it is told that there is none.
            self._clear_bar()
        if self._task is None:
            self._task = self._bars.add_task(what, total=total, detail=detail)
        self._bars.update(self._task, description=what, detail=detail, total=total, completed=fraction or 0.0)

    def _clear_bar(self) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None

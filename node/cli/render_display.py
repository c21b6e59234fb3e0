"""A render as people see it: a bar with the time that is left on a terminal, a line per stage elsewhere."""

from collections.abc import Callable
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.text import Text

from node.job.progress import Progress

_LOADING = "loading models"


class Estimate:
    """The time a job still takes, by the pace of the steps of the stage it is in.

    Later stages are reckoned at the same pace, each by its share of the job; until a stage has shown its own
    pace, that of the one before stands.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._stage: str | None = None
        self._began = self._last = (0.0, 0.0)
        self._s_per_job: float | None = None

    def tell(self, progress: Progress) -> None:
        """Take a report into account."""
        now = (self._clock(), progress.fraction)
        if progress.stage != self._stage or progress.step <= 1:
            # A stage's first step is not its pace: models may have been moved or compiled for it.
            self._stage, self._began = progress.stage, now
        elif progress.fraction > self._last[1]:
            self._s_per_job = (now[0] - self._began[0]) / (now[1] - self._began[1])
        self._last = now

    def remaining_s(self) -> float | None:
        """Return the seconds left from now on, or None while there is no telling."""
        if self._s_per_job is None:
            return None
        told_at, fraction = self._last
        return max(0.0, (1.0 - fraction) * self._s_per_job - (self._clock() - told_at))


class _RemainingColumn(ProgressColumn):
    def __init__(self, estimate: Estimate) -> None:
        super().__init__()
        self._estimate = estimate

    def render(self, task: Task) -> Text:
        """Show the time left."""
        del task
        seconds = self._estimate.remaining_s()
        text = "-:--:--" if seconds is None else duration(seconds)
        return Text(f"{text} left", style="progress.remaining")


def duration(seconds: float) -> str:
    """Return a duration as hours, minutes and seconds."""
    minutes, whole_s = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{whole_s:02}"


class RenderDisplay:
    """Shows the reports of one render; used as its ``on_progress`` inside a ``with``.

    Artifacts are shown by their path below ``job_dir`` as soon as they exist.
    """

    def __init__(self, console: Console, job_dir: Path, clips: int) -> None:
        self._console = console
        self._job_dir = job_dir
        self._clips = clips
        self._clip = 0
        self._stage = _LOADING
        self._estimate = Estimate()
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            _RemainingColumn(self._estimate),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bars.add_task(_LOADING, total=1.0)

    def __enter__(self) -> Self:
        self._bars.start()
        self._line(_LOADING)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def __call__(self, progress: Progress) -> None:
        """Show a report."""
        if progress.artifact is not None:
            self._say(f"still: {self._job_dir / progress.artifact}")
            return
        self._estimate.tell(progress)
        if progress.stage != self._stage:
            self._stage = progress.stage
            self._clip += progress.stage == "clip"
            steps = f", {progress.steps} steps" if progress.steps > 1 else ""
            self._line(f"{self._named(progress.stage)}{steps}")
        steps = f"  {progress.step}/{progress.steps}" if progress.steps > 1 else ""
        name = f"{self._named(progress.stage)}{steps}"
        self._bars.update(self._task, completed=progress.fraction, description=name)

    def _named(self, stage: str) -> str:
        if self._clips > 1 and stage.startswith("clip"):
            return f"{stage} ({self._clip} of {self._clips})"
        return stage

    def _line(self, text: str) -> None:
        if not self._console.is_terminal:
            self._say(text)

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

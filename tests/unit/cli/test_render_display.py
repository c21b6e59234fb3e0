"""What people see of a render: stages, steps, the time that is left, and the still as soon as it is there."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from node.cli.render_display import Estimate, RenderDisplay, duration
from node.job.progress import Progress

JOB = [
    Progress("still", 0, 5, 0.0),
    *(Progress("still", step, 5, step * 0.02) for step in range(1, 6)),
    Progress("still decode", 0, 1, 0.1),
    Progress("still decode", 1, 1, 0.12),
    Progress("still decode", 1, 1, 0.12, "work/files/still_00001_.png"),
    Progress("clip", 0, 4, 0.12),
    *(Progress("clip", step, 4, 0.12 + step * 0.07) for step in range(1, 5)),
    Progress("clip decode", 0, 1, 0.4),
    Progress("clip decode", 1, 1, 0.45),
    Progress("clip", 0, 4, 0.45),
    Progress("clip decode", 0, 1, 0.8),
    Progress("encode", 0, 2, 0.9),
    Progress("encode", 2, 2, 1.0),
]


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def estimate(clock):
    return Estimate(clock)


def tell(estimate, clock, reports):
    for seconds, progress in reports:
        clock.now += seconds
        estimate.tell(progress)


def test_nothing_is_promised_before_two_steps_are_done(estimate, clock):
    assert estimate.remaining_s() is None
    tell(estimate, clock, [(0, Progress("still", 0, 10, 0.0)), (60, Progress("still", 1, 10, 0.01))])
    assert estimate.remaining_s() is None


def test_the_rest_is_reckoned_by_the_steps_of_the_stage_and_not_by_what_came_before_them(estimate, clock):
    reports = [
        (0, Progress("clip", 0, 10, 0.0)),
        (60, Progress("clip", 1, 10, 0.1)),
        (2, Progress("clip", 2, 10, 0.2)),
        (2, Progress("clip", 3, 10, 0.3)),
    ]
    tell(estimate, clock, reports)
    assert estimate.remaining_s() == pytest.approx(14)
    clock.now += 1.5
    assert estimate.remaining_s() == pytest.approx(12.5)
    clock.now += 100
    assert estimate.remaining_s() == 0


def test_a_new_stage_keeps_the_pace_until_it_shows_its_own(estimate, clock):
    reports = [
        (0, Progress("still", 1, 3, 0.1)),
        (1, Progress("still", 2, 3, 0.2)),
        (1, Progress("still", 3, 3, 0.3)),
        (0, Progress("clip", 0, 7, 0.3)),
        (5, Progress("clip", 1, 7, 0.4)),
    ]
    tell(estimate, clock, reports)
    assert estimate.remaining_s() == pytest.approx(6)
    tell(estimate, clock, [(3, Progress("clip", 2, 7, 0.5))])
    assert estimate.remaining_s() == pytest.approx(15)


def test_an_attempt_that_gets_no_further_changes_no_pace(estimate, clock):
    reports = [
        (0, Progress("clip", 1, 10, 0.1)),
        (1, Progress("clip", 2, 10, 0.2)),
        (5, Progress("clip", 2, 10, 0.2)),
    ]
    tell(estimate, clock, reports)
    assert estimate.remaining_s() == pytest.approx(8)


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0:00:00"), (59.6, "0:01:00"), (3725, "1:02:05")])
def test_durations_are_told_in_hours_minutes_and_seconds(seconds, text):
    assert duration(seconds) == text


def show(console, clips):
    with RenderDisplay(console, Path("/data/.fox.partial"), clips) as display:
        for progress in JOB:
            display(progress)
    return console.file.getvalue()


def test_without_a_terminal_every_stage_is_one_line_and_the_still_is_named_at_once():
    assert show(Console(file=io.StringIO(), width=40), clips=2).splitlines() == [
        "loading models",
        "still, 5 steps",
        "still decode",
        "still: /data/.fox.partial/work/files/still_00001_.png",
        "clip (1 of 2), 4 steps",
        "clip decode (1 of 2)",
        "clip (2 of 2), 4 steps",
        "clip decode (2 of 2)",
        "encode, 2 steps",
    ]


def test_a_single_clip_is_not_numbered():
    assert "clip, 4 steps" in show(Console(file=io.StringIO()), clips=1).splitlines()


def test_a_terminal_shows_the_step_the_share_and_the_time_left_and_keeps_only_the_stills_path():
    shown = show(Console(file=io.StringIO(), force_terminal=True, width=100), clips=2)
    assert "still: /data/.fox.partial/work/files/still_00001_.png" in shown
    assert "encode  2/2" in shown
    assert "100%" in shown
    assert " left" in shown
    assert "loading models\n" not in shown


def test_a_path_that_looks_like_markup_is_shown_as_it_is():
    console = Console(file=io.StringIO())
    with RenderDisplay(console, Path("/data/[red]"), 1) as display:
        display(Progress("still decode", 1, 1, 0.1, "a.png"))
    assert "still: /data/[red]/a.png" in console.file.getvalue()

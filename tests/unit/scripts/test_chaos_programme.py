"""What the runs of a test add up to, and what is no result of a selection."""

import subprocess
from pathlib import Path

import pytest

from scripts.chaos_runs import suite
from scripts.chaos_runs.programme import Run, Selection, figures, p95

SELECTION = Selection("T17", "keys", ("tests/unit/a.py",))
REPORT = """<testsuites><testsuite>
<testcase name="passes"/>
<testcase name="fails"><failure/></testcase>
<testcase name="cannot run here"><skipped/></testcase>
</testsuite></testsuites>"""


@pytest.mark.parametrize(("values", "expected"), [((), 0.0), ((3.0,), 3.0), (range(1, 101), 95)])
def test_the_95th_percentile_is_a_value_that_was_measured(values, expected):
    assert p95(values) == expected


def test_counts_add_up_the_highest_stays_and_samples_of_all_runs_are_one():
    runs = [
        Run([], counts={"deals": 1}, highest={"start, s": 2.0}, samples={"job, s": (1.0, 9.0)}),
        Run([], counts={"deals": 2}, highest={"start, s": 1.0}, samples={"job, s": (2.0,)}),
    ]
    assert figures(runs) == {"deals": 3, "start, s": 2.0, "95 % of: job, s": 9.0, "slowest job, s": 9.0}


def ending(monkeypatch, code: int) -> None:
    def run(command, **_):
        option = next(word for word in command if word.startswith("--junitxml="))
        Path(option.partition("=")[2]).write_text(REPORT)
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(suite.subprocess, "run", run)


def test_a_skipped_case_is_no_run_and_a_failed_one_is_named(monkeypatch):
    ending(monkeypatch, suite.SOME_FAILED)
    record = suite.run_selection(SELECTION, "ci", "scripts/chaos T17")
    assert (record.runs, record.failures, record.failed) == (2, 1, ["fails"])


@pytest.mark.parametrize("code", [2, 3, 4, 5, -9])
def test_a_selection_that_pytest_could_not_run_to_its_end_gives_no_record(monkeypatch, code):
    ending(monkeypatch, code)
    with pytest.raises(SystemExit, match="T17"):
        suite.run_selection(SELECTION, "ci", "scripts/chaos T17")


def test_every_test_of_the_programme_has_its_place_in_the_record():
    from scripts.chaos_runs.__main__ import SELECTIONS, TESTS
    from scripts.chaos_runs.record import ORDER

    assert {*TESTS, *SELECTIONS} <= set(ORDER)

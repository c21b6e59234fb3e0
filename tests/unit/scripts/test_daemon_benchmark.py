"""The daemon's benchmark: a gap between two jobs is the time in which the device had neither of them."""

import pytest

from node.job.progress import Progress
from scripts.benchmarks.daemon.__main__ import read_options
from scripts.benchmarks.daemon.gaps import Told, device_ended, first_step_began, gaps, handovers
from scripts.benchmarks.daemon.report import report


def job(*reports: tuple[float, str, int]) -> list[Told]:
    return [Told(at, Progress(stage, step, 3, 0.0)) for at, stage, step in reports]


FIRST = job(
    (0.0, "still", 0), (1.0, "still", 1), (2.0, "still", 2), (3.0, "still", 3),
    (3.5, "clip decode", 0), (4.0, "clip decode", 1), (4.4, "clip decode", 1),
    (4.1, "encode", 0), (7.0, "encode", 1),
)  # fmt: skip
SECOND = job((4.5, "still", 0), (6.0, "still", 1), (7.0, "still", 2), (8.0, "still", 3))


def test_the_device_is_done_with_its_last_step_not_with_the_encoding_or_a_file():
    assert device_ended(FIRST) == 4.0


def test_what_a_job_does_before_its_first_step_counts_as_idle():
    assert first_step_began(SECOND) == 5.0
    assert gaps([FIRST, SECOND]) == [1.0]
    assert handovers([FIRST, SECOND]) == [0.5]


def test_a_renderer_that_reports_no_beginning_is_read_the_same_way():
    fake = job((10.0, "fake", 1), (11.0, "fake", 2), (12.0, "fake", 3), (13.0, "encode", 4))
    assert (first_step_began(fake), device_ended(fake)) == (9.0, 12.0)
    assert handovers([FIRST, fake]) == gaps([FIRST, fake]) == [5.0]


def test_the_page_has_a_column_for_each_profile_and_leaves_out_what_was_not_run():
    found = {
        "made": "a machine", "first_start_s": 9.0, "start_s": 8.0, "start_in_yardsticks": 2.0,
        "warm_job_s": 1.5, "cold_job_s": 9.5, "cold_to_warm": 6.3, "gap_s": 0.05, "longest_gap_s": 0.07,
        "handover_s": 0.004, "device_s": 1.0,
    }  # fmt: skip
    page = report({"workers": {"tiny": found, "sdv-1.1": found}})
    assert "| measure | `tiny` | `sdv-1.1` |" in page
    assert "| **start and first job in times of a warm job** | **6.3** | **6.3** |" in page
    assert "| idle as a share of that | 5.0% | 5.0% |" in page
    assert "whole daemon" not in page


@pytest.mark.parametrize(
    ("options", "told"),
    [(("--profile", "sdv-1.1"), "--data-dir DIR is needed with sdv-1.1"), (("--profile", "sdv-9"), "sdv-9")],
)
def test_a_profile_that_cannot_be_measured_is_refused_before_anything_starts(options, told, capsys):
    with pytest.raises(SystemExit) as refused:
        read_options(options)
    assert refused.value.code == 2
    assert told in capsys.readouterr().err

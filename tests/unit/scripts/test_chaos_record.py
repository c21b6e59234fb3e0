"""The page of figures says what was run, how often, and no more than that."""

import pytest

from scripts.chaos_runs import record
from scripts.chaos_runs.record import Record, load, page, remember, table


def made(test="T2", size="ci", **changes) -> Record:
    known = {
        "what": "kills",
        "runs": 200,
        "failures": 0,
        "seconds": 9,
        "command": "scripts/chaos T2",
        "machine": "2 cores",
        "first_seed": 0,
        "figures": {"kills": 483},
    }
    return Record(test=test, size=size, **(known | changes))


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "DATA", tmp_path / "reliability.json")
    monkeypatch.setattr(record, "PAGE", tmp_path / "reliability.md")


@pytest.mark.parametrize(("runs", "bound"), [(1000, "< 0.3 %"), (200, "< 1.5 %"), (2000, "< 0.15 %")])
def test_no_failure_in_n_runs_excludes_a_rate_of_three_in_n(runs, bound):
    assert made(runs=runs).bound == bound


@pytest.mark.parametrize("changes", [{"failures": 1}, {"runs": 0}, {"runs": 3}, {"first_seed": None}])
def test_no_rate_is_claimed_for_runs_that_failed_were_too_few_or_have_no_seed(changes):
    assert made(**changes).bound == "-"


def test_a_newer_record_takes_the_place_of_one_of_the_same_test_and_size():
    remember([made(), made(size="full", runs=2000)])
    remember([made(runs=400)])
    assert [(kept.size, kept.runs) for kept in load()] == [("ci", 400), ("full", 2000)]


def test_the_page_shows_every_run_every_failure_and_every_figure():
    failing = made(test="T1", failures=1, failed=["before seen, seed 3: I2: agree was mined 2 times"])
    text = page([failing, made()])
    assert table([failing, made()]) in text
    assert "- T1 (ci): before seen, seed 3: I2: agree was mined 2 times" in text
    assert "| T2 | ci | kills | 483 |" in text

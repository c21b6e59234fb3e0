"""Inputs that killed workers are remembered on the disk, in bounds, and forgotten when they end well."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from node.errors import JobFailed
from node.worker import quarantine
from node.worker.quarantine import FILE, Quarantine
from tests.fakes.jobs import make_spec


def spec(number):
    return make_spec(f"Seed={number}")


def is_refused(kept, number):
    try:
        kept.check(spec(number))
    except JobFailed:
        return True
    return False


def test_two_deaths_are_too_many_also_after_a_restart(tmp_path):
    kept = Quarantine(tmp_path)
    kept.died(spec(1), "signal 9")
    assert not is_refused(kept, 1)
    kept.died(spec(1), "signal 11")
    with pytest.raises(JobFailed, match=f"signal 9; signal 11.*remove {tmp_path / FILE}"):
        Quarantine(tmp_path).check(spec(1))
    assert not is_refused(Quarantine(tmp_path), 2)
    assert Quarantine(tmp_path).count() == 1


def test_inputs_that_end_well_are_forgotten_on_the_disk_too(tmp_path):
    Quarantine(tmp_path).died(spec(1), "signal 9")
    Quarantine(tmp_path).survived(spec(1))
    assert Quarantine(tmp_path).died(spec(1), "signal 9") == 1


def test_the_oldest_inputs_go_first_and_reasons_are_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(quarantine, "_REMEMBERED_INPUTS", 2)
    kept = Quarantine(tmp_path)
    for number in (1, 2, 1, 2, 1, 3):
        kept.died(spec(number), "x" * 10_000)
    assert [is_refused(Quarantine(tmp_path), number) for number in (1, 2, 3)] == [True, False, False]
    assert (tmp_path / FILE).stat().st_size < 2000


def test_deaths_from_several_threads_are_all_on_the_disk(tmp_path):
    kept = Quarantine(tmp_path)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: kept.died(spec(number % 40), "signal 9"), range(80)))
    assert Quarantine(tmp_path).count() == 40


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', '{"a": ["x", 2]}', "[" * 100_000])
def test_a_file_that_is_none_is_put_aside(tmp_path, content):
    (tmp_path / FILE).write_text(content)
    kept = Quarantine(tmp_path)
    assert kept.count() == 0
    assert (tmp_path / FILE).with_suffix(".damaged").read_text() == content
    kept.died(spec(1), "signal 9")
    assert len(json.loads((tmp_path / FILE).read_text())) == 1

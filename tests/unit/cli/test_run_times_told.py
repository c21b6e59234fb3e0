"""People are told how long a job takes and took, and that nothing is measured yet."""

import json

import pytest

from node.cli import jobs
from node.cli.main import main
from node.cli.status import show_status
from tests.fakes.status_source import FakeStatusSource

MONEY = {"locked_wei": "0", "net_wei": "0", "gas_wei": "0", "transactions": 0, "claim": None}


@pytest.fixture
def shown(monkeypatch, capsys):
    """Return what ``jobs show`` prints of a job with these fields."""

    def show(**fields):
        source = FakeStatusSource()
        job_id = source.add_job("A fox", money=MONEY | {"requester": {}, "payments": []}, copies=[], **fields)
        monkeypatch.setattr(jobs, "get_json", lambda *_: (200, source._jobs[job_id]))
        with pytest.raises(SystemExit) as ended:
            main(["jobs", "show", job_id])
        assert ended.value.code == 0
        return capsys.readouterr().out

    return show


def test_a_job_to_come_tells_when_it_will_be_done_and_by_what_it_is_reckoned(shown):
    estimate = {"expected_s": 61.4, "upper_s": 92.0, "left_s": 125.2, "measured": True}
    assert "about 0:02:05 left; 61 s are expected, 92 at most" in shown(estimate=estimate)
    assert "nothing is measured yet" in shown(estimate=estimate | {"measured": False})


def test_a_rendered_job_tells_what_it_took_beside_what_was_expected(shown):
    text = shown(run_time={"expected_s": 61.42, "taken_s": 58.03})
    assert "took 58.0 s, 61.4 were expected" in text


def test_the_status_says_what_is_missing(capsys):
    usual = {"version": "1", "accepting": True}
    show_status(usual | {"run_times": {"measured": False, "problem": None}}, "http://x")
    assert "not measured yet: sdv-node bench" in capsys.readouterr().out
    show_status(usual | {"run_times": {"measured": True, "problem": "run-times.json is damaged"}}, "http://x")
    assert "run-times.json is damaged" in capsys.readouterr().out
    show_status(usual | {"run_times": {"measured": True, "problem": None}}, "http://x")
    assert "run times" not in capsys.readouterr().out


def test_prices_of_single_modules_are_shown_in_tokens(tmp_path, capsys):
    file = tmp_path / "node.toml"
    file.write_text('[pricing.modules."sdv-pipeline:v1.1-lilypad2"]\nper_gpu_second = "0.125"\n')
    with pytest.raises(SystemExit):
        main(["--config", str(file), "config", "show"])
    shown = capsys.readouterr().out
    assert "modules = {'sdv-pipeline:v1.1-lilypad2': {'per_gpu_second': '0.125 tokens'}}" in shown
    with pytest.raises(SystemExit):
        main(["--config", str(file), "config", "show", "--json"])
    document = json.loads(capsys.readouterr().out)
    prices = document["pricing"]["modules"]["sdv-pipeline:v1.1-lilypad2"]
    assert prices["per_gpu_second"] == 125 * 10**15

"""The record of a run: written in one step, read back whole or not at all."""

import json
from dataclasses import replace

import pytest

from node.requester.runs import Run, RunRecords, UnknownRun, new_run_id
from node.types import Address, DealId
from tests.fakes.jobs import make_deal

RUN = Run(
    run_id="0123456789ab",
    chain_id=31337,
    controller=Address("0x01"),
    requester=Address("0x02"),
    module="sdv-pipeline:v1.1-lilypad2",
    inputs=("Prompt=naïve 🌌 \u2028", "Steps=5"),
    max_price_wei=2**80,
    from_block=7,
)


def test_a_run_is_read_back_as_it_was_saved_last(tmp_path):
    records = RunRecords(tmp_path)
    records.save(RUN)
    assert records.load(RUN.run_id) == RUN
    agreed = replace(RUN, job_number=17, deal_id=DealId("j17-x"))
    records.save(agreed)
    assert records.load(RUN.run_id) == agreed
    assert [path.name for path in (tmp_path / "requester" / "runs").iterdir()] == ["0123456789ab.json"]


def test_an_interrupted_write_leaves_the_last_record(tmp_path):
    records = RunRecords(tmp_path)
    records.save(RUN)
    (tmp_path / "requester" / "runs" / f"{RUN.run_id}.part").write_text('{"run_')
    assert records.load(RUN.run_id) == RUN


@pytest.mark.parametrize(
    "run_id", ["", "..", "../../etc/passwd", "0123456789AB", "0123456789ab\n", "\x1b[2J"]
)
def test_what_is_no_run_id_is_refused_before_any_file_is_looked_at(tmp_path, run_id):
    with pytest.raises(UnknownRun, match="is no run id") as caught:
        RunRecords(tmp_path).load(run_id)
    assert str(caught.value).isprintable()


def test_an_unknown_run_is_refused(tmp_path):
    with pytest.raises(UnknownRun, match="there is no run"):
        RunRecords(tmp_path).load(new_run_id())


@pytest.mark.parametrize(
    "change", [{"chain_id": "1"}, {"from_block": -1}, {"inputs": "text"}, {"inputs": [5]}, {"extra": 1}]
)
def test_a_record_of_another_shape_is_refused(tmp_path, change):
    records = RunRecords(tmp_path)
    records.save(RUN)
    path = tmp_path / "requester" / "runs" / f"{RUN.run_id}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UnknownRun, match="cannot be read"):
        records.load(RUN.run_id)


def test_a_record_of_the_time_before_hires_is_read_as_a_run_by_proposals(tmp_path):
    records = RunRecords(tmp_path)
    records.save(RUN)
    path = tmp_path / "requester" / "runs" / f"{RUN.run_id}.json"
    document = json.loads(path.read_text())
    for name in ("provider", "matching", "hire", "passed_over"):
        del document[name]
    path.write_text(json.dumps(document))
    assert records.load(RUN.run_id) == replace(RUN, matching="propose")


def test_the_deal_that_a_run_agrees_to_first_is_read_back_whole(tmp_path):
    records = RunRecords(tmp_path)
    deal = make_deal(17)
    hired = replace(
        RUN,
        job_number=17,
        deal_id=deal.deal_id,
        provider=deal.members.resource_provider,
        matching="hire",
        hire=deal,
        passed_over=(Address("0x03"),),
    )
    records.save(hired)
    assert records.load(RUN.run_id) == hired


def test_an_intent_is_the_same_after_a_restart_and_different_for_every_run(tmp_path):
    records = RunRecords(tmp_path)
    records.save(RUN)
    assert records.load(RUN.run_id).intent("agree:j1-x") == RUN.intent("agree:j1-x")
    assert RUN.intent("agree:j1-x") != replace(RUN, run_id=new_run_id()).intent("agree:j1-x")


def test_a_job_that_was_not_posted_has_no_number():
    with pytest.raises(ValueError, match="before it is posted"):
        _ = RUN.number

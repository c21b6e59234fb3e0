"""The bench measures the real pipeline, and what it measured is known to whoever starts afterwards."""

import json

import pytest

from node.admission.estimate import NEEDED
from node.admission.time_records import FILE
from node.admission.work import Part
from node.app.benching import bench
from node.app.timing import run_times
from node.cli.main import main
from node.job.spec import parse_inputs
from node.journal.database import InUse, take_lock
from tests.fakes.jobs import make_config

pytestmark = pytest.mark.integration

SMALL = ("Steps=5", "VideoSteps=5", "Sampler=euler", "VideoSampler=euler")
OTHER = ("Steps=6", "VideoSteps=5", "Sampler=heun", "VideoSampler=dpm_2", "Frames=png")


def config_in(directory, profile):
    return make_config(node={"data_dir": str(directory)}, worker={"profile": profile})


async def test_one_job_of_the_real_pipeline_tells_what_other_jobs_take(tmp_path):
    config = config_in(tmp_path, "tiny")
    told = []
    found = await bench(config, jobs=(SMALL,), proof=OTHER, on_job=lambda *place: told.append(place))
    assert told == [(0, 2), (1, 2), (2, 2)]
    (first,) = found.learned_from
    assert not first.expected.measured
    assert found.proof.expected.measured
    after = run_times(config)
    learned = after.times().parts
    assert learned.keys() == NEEDED | {Part.ENCODE, Part.ENCODE_FILES}
    assert learned[Part.STILL_EVALUATION] > 0 < learned[Part.CLIP_EVALUATION]
    usual = after.estimate(parse_inputs("sdv-pipeline:v1.1-lilypad2", ()))
    assert usual == found.usual
    assert 0 < usual.expected_s < usual.upper_s


def test_the_command_prints_what_it_measured_and_keeps_it(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--data-dir", str(tmp_path), "--set", "worker.profile=fake:5", "bench", "--json"])
    assert ended.value.code == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["profile"], document["measured"]) == ("fake:5", True)
    assert [job["measured"] for job in document["jobs"]] == [False, True, True, True]
    (kept,) = json.loads((tmp_path / FILE).read_text())["machines"]
    assert (kept["profile"], len(kept["whole_s"])) == ("fake:5", 4)


def test_a_working_node_is_not_measured_beside(tmp_path, capsys):
    with take_lock(tmp_path), pytest.raises(SystemExit) as ended:
        main(["--data-dir", str(tmp_path), "--set", "worker.profile=fake", "bench"])
    assert ended.value.code == InUse.exit_code
    assert "another sdv-node" in capsys.readouterr().err
    assert not (tmp_path / FILE).exists()

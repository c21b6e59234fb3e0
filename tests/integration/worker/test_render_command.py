"""``sdv-node render`` as programs and people use it, with the fake renderer."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from node.publisher.unixfs import cid_of

pytestmark = pytest.mark.integration
SDV_NODE = Path(sys.executable).with_name("sdv-node")


@pytest.fixture
def render(tmp_path):
    def run(*arguments):
        command = [SDV_NODE, "--data-dir", tmp_path / "data", "render", "--profile", "fake:0", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)

    return run


def test_one_json_object_describes_the_result(render, tmp_path):
    done = render("-i", "Prompt=a=b", "-i", "Seed=7", "--out", "fox", "--json")
    assert done.returncode == 0
    document = json.loads(done.stdout)
    assert document.keys() == {"cid", "class", "outputs", "manifest"}
    assert document["cid"] == cid_of(tmp_path / "fox")
    assert document["class"] == "fake"
    assert document["manifest"]["inputs"]["Prompt"] == "a=b"
    assert len(document["outputs"]) == 29
    assert all(Path(path).is_file() for path in document["outputs"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "fox"]


def test_an_earlier_result_is_replaced_and_equal_inputs_give_an_equal_cid(render):
    cids = [
        json.loads(render("-i", f"Seed={seed}", "--out", "same", "--json").stdout)["cid"]
        for seed in (1, 2, 1)
    ]
    assert cids[0] == cids[2] != cids[1]


def test_a_directory_with_other_files_is_left_alone(render, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear diary")
    done = render("--out", "mine")
    assert done.returncode == 2
    assert "other files" in done.stderr
    assert (tmp_path / "mine" / "diary.txt").read_text() == "dear diary"


def test_every_problem_of_the_inputs_is_named(render, tmp_path):
    wrong = ("-i", "Steps=900", "-i", "Colour=red", "-i", "Batching=3", "--out", "x")
    done = render(*wrong, "--json")
    assert done.returncode == 2
    problems = json.loads(done.stdout)["problems"]
    assert {problem["key"] for problem in problems} == {"Steps", "Colour", "Batching"}
    assert all(problem["allowed"] and problem["value"] for problem in problems)
    for key in ("Steps='900'", "Colour='red'", "Batching='3'"):
        assert key in done.stderr
    assert render(*wrong).stdout == ""
    assert not (tmp_path / "x").exists()


def test_a_job_that_fails_is_a_problem_found(render):
    done = render("-i", "Prompt=fault:refuse", "--out", "x", "--json")
    assert done.returncode == 1
    assert "asked for a refusal" in json.loads(done.stdout)["error"]


@pytest.mark.parametrize("module", ["node.worker.pool", "node.cli.render"])
def test_the_daemons_side_never_loads_the_heavy_libraries(module):
    code = (
        f"import sys, {module}; "
        "print(sorted({'torch', 'diffusers', 'transformers', 'av', 'PIL', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""``sdv-node render`` as programs and people use it, with the fake renderer."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from node.cli.render_place import job_directory
from node.locking import Locked
from node.publisher.unixfs import cid_of
from node.worker.fake import FakeRenderer

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
    assert document["class"] == FakeRenderer.determinism_class
    assert document["manifest"]["inputs"]["Prompt"] == "a=b"
    names = ["still_00001_.png", *(f"output_00001_.{suffix}" for suffix in ("png", "webp", "mp4"))]
    assert document["outputs"] == [str(tmp_path / "fox" / "outputs" / name) for name in names]
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


@pytest.mark.parametrize(
    "files",
    [
        {"manifest.json": '{"manifest_version": 3}', "src/a.js": "x"},
        {"manifest.json": '{"manifest_version": 3}'},
        {"manifest.json": "{}", "outputs/a.png": "x"},
        {"manifest.json": "no json"},
        {"outputs/a.png": "x"},
    ],
)
def test_a_directory_that_only_looks_like_a_result_is_left_alone(render, tmp_path, files):
    for name, text in files.items():
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_text(text)
    done = render("--out", "mine")
    assert done.returncode == 2
    assert "other files" in done.stderr
    assert all((tmp_path / "mine" / name).read_text() == text for name, text in files.items())


def test_an_earlier_result_with_a_file_of_somebody_else_beside_it_is_left_alone(render, tmp_path):
    assert render("--out", "fox").returncode == 0
    (tmp_path / "fox" / "notes.txt").write_text("mine")
    assert render("-i", "Seed=2", "--out", "fox").returncode == 2
    assert (tmp_path / "fox" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("out", [".", "..", "here/.."])
def test_the_working_directory_is_never_replaced(render, out):
    done = render("--out", out)
    assert done.returncode == 2
    assert "working directory" in done.stderr


def test_a_link_is_followed_to_where_the_result_goes(render, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert render("--out", "link").returncode == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "manifest.json").is_file()


def test_a_second_render_of_a_job_into_the_same_place_is_told_that_one_is_running(tmp_path):
    with job_directory(tmp_path / "fox", "0" * 64) as job_dir:
        with (
            pytest.raises(Locked, match="another render of this job"),
            job_directory(tmp_path / "fox", "0" * 64),
        ):
            pass
        assert job_dir.exists()
    assert not job_dir.exists()


def test_a_profile_that_cannot_be_computed_here_is_refused_before_a_worker_starts(render, tmp_path):
    done = render("--profile", "sdv-1.1", "--out", "x")
    assert done.returncode == 2
    assert "sdv-node models pull sdv-1.1" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) in ([], ["data"])


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


def test_frames_are_delivered_on_request(render, tmp_path):
    document = json.loads(render("-i", "Frames=png", "--out", "fox", "--json").stdout)
    assert len(document["outputs"]) == 29
    assert document["outputs"][-1] == str(tmp_path / "fox/outputs/frames_00001_/frame_00025_.png")


def test_a_key_and_its_value_may_be_two_words(render):
    done = render("-i", "Prompt", "a red fox", "-i", "Seed", "7", "--out", "fox", "--json")
    assert json.loads(done.stdout)["manifest"]["inputs"]["Prompt"] == "a red fox"
    assert "Note: -i Seed 7 is read as -i Seed=7" in done.stderr


def test_stages_and_the_still_are_told_on_standard_error_and_the_result_on_standard_output(render, tmp_path):
    done = render("--out", "fox")
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert lines[:2] == ["loading models", "fake, 5 steps"]
    (still,) = (line.removeprefix("still: ") for line in lines if line.startswith("still: "))
    assert Path(still).is_absolute()
    assert Path(still).parent.is_relative_to(tmp_path)
    assert Path(still).name == "still_00001_.png"
    result = [line for line in done.stdout.splitlines() if line.startswith("/")]
    assert len(result) == 4
    assert all(Path(path).is_file() for path in result)


def test_an_interrupted_render_is_quiet_ends_its_worker_and_leaves_nothing_that_looks_finished(tmp_path):
    command = [SDV_NODE, "--data-dir", tmp_path / "data", "render", "--profile", "fake:20000", "--out", "fox"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as interrupted:
        assert "fake, 5 steps\n" in iter(interrupted.stderr.readline, "")
        workers = children(interrupted.pid)
        interrupted.send_signal(signal.SIGINT)
        output, errors = interrupted.communicate(timeout=30)
    assert interrupted.returncode == 130
    assert (output, errors.strip()) == ("", "")
    assert not (tmp_path / "fox").exists()
    assert len(workers) == 1
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def children(pid):
    return [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


@pytest.mark.parametrize(
    "module", ["node.app.node", "node.worker.pool", "node.cli.start", "node.cli.render", "node.cli.models"]
)
def test_the_daemons_side_never_loads_the_heavy_libraries(module):
    code = (
        f"import sys, {module}; "
        "print(sorted({'torch', 'diffusers', 'transformers', 'av', 'PIL', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

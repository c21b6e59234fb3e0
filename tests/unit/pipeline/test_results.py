"""The result directory appears at once, complete, and says which job it belongs to."""

import json

import pytest

from node.errors import JobFailed, Misconfigured
from node.job.manifest import Manifest
from node.job.outputs import image_path
from node.job.spec import parse_inputs
from node.pipeline import results
from node.pipeline.profiles import load_profile, load_profiles


def job(*inputs):
    return parse_inputs("sdv-pipeline:v1.1-lilypad2", inputs)


def write(job_dir, spec):
    source = job_dir / "still"
    source.write_bytes(b"picture")
    output = results.describe_output(image_path(1), source)
    manifest = Manifest(
        module=spec.module,
        profile="tiny",
        inputs=spec.tunables(),
        notes=spec.notes,
        determinism_class="c1",
        class_parts={"torch": "2"},
        weights={"w": "00" * 32},
        stages={"stills": "11" * 32},
        outputs=(output,),
    )
    results.write_result(job_dir, spec, manifest, {output.path: source})


def test_a_result_holds_what_is_published_and_nothing_else(tmp_path):
    spec = job("Prompt=a cow", "ImageSeed=3")
    write(tmp_path, spec)
    files = {
        str(path.relative_to(tmp_path / "result"))
        for path in (tmp_path / "result").rglob("*")
        if path.is_file()
    }
    assert files == {"exitCode", "stdout", "stderr", "manifest.json", "outputs/still_00001_.png"}
    assert (tmp_path / "result" / "exitCode").read_text() == "0"
    assert "ImageSeed" in (tmp_path / "result" / "stderr").read_text()
    manifest = json.loads((tmp_path / "result" / "manifest.json").read_text())
    assert manifest["inputs"]["Prompt"] == "a cow"
    assert manifest["inputs"]["Seed"] == 3
    assert manifest["outputs"] == [
        {
            "path": "outputs/still_00001_.png",
            "media_type": "image/png",
            "bytes": 7,
            "sha256": "2cea274d0bedc39ec4ab6ba9e59ec889e3ed6fb56a1cf088a64d9b383378dc97",
        }
    ]


def test_a_finished_result_is_recognised(tmp_path):
    spec = job()
    assert results.read_result(tmp_path, spec) is None
    write(tmp_path, spec)
    finished = results.read_result(tmp_path, spec)
    assert finished == results.Finished(tmp_path / "result", ("outputs/still_00001_.png",), "c1")


def test_a_result_of_other_inputs_is_never_passed_off(tmp_path):
    write(tmp_path, job("Seed=1"))
    with pytest.raises(JobFailed, match="other inputs"):
        results.read_result(tmp_path, job("Seed=2"))


def test_leftovers_of_an_interrupted_write_do_no_harm(tmp_path):
    (tmp_path / "result.partial" / "outputs").mkdir(parents=True)
    (tmp_path / "result.partial" / "outputs" / "still_00001_.png").write_bytes(b"torn")
    write(tmp_path, job())
    assert (tmp_path / "result" / "outputs" / "still_00001_.png").read_bytes() == b"picture"
    assert not (tmp_path / "result.partial").exists()


def test_a_failed_write_leaves_no_result(tmp_path):
    with pytest.raises(OSError, match="missing"):
        results.write_result(tmp_path, job(), None, {"outputs/still_00001_.png": tmp_path / "missing"})
    assert results.read_result(tmp_path, job()) is None


def test_profiles_are_read_and_checked(tmp_path):
    assert load_profile("tiny").frames == 25
    with pytest.raises(Misconfigured, match="tiny"):
        load_profile("huge")
    broken = tmp_path / "models.toml"
    broken.write_text("[a]\nthreads = 0\n")
    with pytest.raises(Misconfigured, match="threads"):
        load_profiles(broken)

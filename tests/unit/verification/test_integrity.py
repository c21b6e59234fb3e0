"""A result directory is what it says it is, or everything that is wrong with it is told."""

import json
import os

import pytest

from node.job.manifest import class_name, digest
from node.verification.integrity import examine
from node.worker.fake import FakeRenderer
from tests.fakes.jobs import make_spec

SPEC = make_spec()
STILL, MP4 = "outputs/still_00001_.png", "outputs/output_00001_.mp4"


@pytest.fixture
def result(tmp_path):
    return FakeRenderer("fake:0").render(SPEC, tmp_path / "j1", lambda _: None).directory


def edit(directory, change):
    path = directory / "manifest.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def problems(directory, wanted=None):
    return "; ".join(examine(directory, wanted).problems)


@pytest.mark.parametrize("inputs", [(), ("Batching=2", "Frames=png"), ("Prompt=(a:1.2) cow", "ImageSeed=7")])
def test_an_honest_result_has_no_problems_and_tells_its_job(tmp_path, inputs):
    spec = make_spec(*inputs)
    directory = FakeRenderer("fake:0").render(spec, tmp_path / "j1", lambda _: None).directory
    found = examine(directory, spec)
    assert found.problems == ()
    assert found.spec.tunables() == spec.tunables()
    assert found.manifest.determinism_class == FakeRenderer.determinism_class
    listed = {output.path for output in found.manifest.outputs}
    assert found.files.keys() == listed | {"exitCode", "stdout", "stderr", "manifest.json"}


def replaced(path, link_target):
    path.unlink()
    path.symlink_to(link_target)


DAMAGE = {
    "changed byte": (lambda d: (d / MP4).write_bytes((d / MP4).read_bytes()[:-1] + b"x"), "not the file"),
    "longer file": (lambda d: (d / MP4).write_bytes(b"x" * 1000), "has 1000 bytes"),
    "missing file": (lambda d: (d / MP4).unlink(), "output_00001_.mp4 is missing"),
    "swapped files": (
        lambda d: (d / "outputs/output_00001_.webp").replace(d / MP4),
        "output_00001_.webp is missing",
    ),
    "file more": (lambda d: (d / "outputs/virus.exe").touch(), "outputs/virus.exe is there"),
    "file beside": (lambda d: (d / "README").touch(), "README is there"),
    "link": (lambda d: replaced(d / STILL, "/etc/hostname"), "still_00001_.png is not a plain file"),
    "pipe": (lambda d: os.mkfifo(d / "outputs/pipe"), "outputs/pipe is not a plain file"),
    "deep folder": (lambda d: (d / "outputs/a/b/c/d").mkdir(parents=True), "is not a plain file"),
    "empty folder": (lambda d: (d / "outputs/more").mkdir(), "outputs/more is not a plain file"),
    "no exit code": (lambda d: (d / "exitCode").unlink(), "exitCode is missing"),
    "long exit code": (lambda d: (d / "exitCode").write_text("0" * 99), "exitCode is longer"),
    "failed": (lambda d: (d / "exitCode").write_text("1"), "exit code is '1'"),
    "no stdout": (lambda d: (d / "stdout").unlink(), "stdout is missing"),
    "no manifest": (lambda d: (d / "manifest.json").unlink(), "manifest.json is missing"),
    "torn manifest": (lambda d: (d / "manifest.json").write_text("{"), "not JSON"),
}


@pytest.mark.parametrize(("damage", "told"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_found_and_named(result, damage, told):
    damage(result)
    assert told in problems(result)


LIES = {
    "class": (lambda m: m.update(determinism_class="0" * 16), "not that of the parts"),
    "class parts": (lambda m: m["class_parts"].update(torch="9"), "not that of the parts"),
    "weights": (lambda m: m["weights"].update(unet="ab" * 32), "weights are not those in its"),
    "profile": (lambda m: m.update(profile="sdv-1.1"), "profile is not the one in its"),
    "inputs left out": (lambda m: m["inputs"].pop("Seed"), "not complete"),
    "inputs of no job": (lambda m: m["inputs"].update(Steps=1), "not valid"),
    "output left out": (lambda m: m["outputs"].pop(), "output_00001_.mp4 is promised"),
    "output more": (
        lambda m: m["outputs"].append(m["outputs"][0] | {"path": "outputs/extra.png"}),
        "lists 'outputs/extra.png', which the job does not promise",
    ),
    "stage left out": (lambda m: m["stages"].pop("text_conditioning"), "stage text_conditioning"),
    "stage of a file": (lambda m: m["stages"].update({MP4: "ab" * 32}), "do not tell the hash"),
}


@pytest.mark.parametrize(("lie", "told"), LIES.values(), ids=LIES)
def test_a_manifest_that_contradicts_itself_or_the_files_is_found_out(result, lie, told):
    edit(result, lie)
    assert told in problems(result)


def test_a_class_can_be_claimed_only_with_its_parts(result):
    def claim(manifest):
        manifest["weights"] = {"unet": "ab" * 32}
        manifest["class_parts"] |= {"weights": digest(manifest["weights"]), "device": "a dearer card"}
        manifest["determinism_class"] = class_name(manifest["class_parts"])

    edit(result, claim)
    assert problems(result) == ""


@pytest.mark.parametrize(
    ("changed", "told"),
    [(("Prompt=a red fox", "Seed=7"), "Seed"), (("Prompt=x", "Steps=9"), "Prompt, Steps")],
)
def test_the_result_of_another_job_is_not_this_ones(result, changed, told):
    assert f"not those of the job: {told} differ" in problems(result, make_spec(*changed))


def test_a_provider_that_reports_its_failure_is_told_from_one_that_delivers_rubbish(result):
    assert not examine(result).failed
    (result / "exitCode").write_text("1\n")
    assert examine(result).failed
    (result / "exitCode").write_text("rm -rf")
    assert not examine(result).failed


def test_what_a_hostile_name_shows_is_harmless_and_the_list_ends(result):
    for number in range(50):
        (result / f"outputs/\x1b[2J{number}").touch()
    found = examine(result).problems
    assert all(problem.isprintable() for problem in found)
    assert len(found) == 21
    assert found[-1] == "and 30 more problems"


def test_a_file_a_link_or_nothing_is_no_result_directory(result, tmp_path):
    (tmp_path / "link").symlink_to(result)
    for path in (result / "stdout", tmp_path / "link", tmp_path / "nothing"):
        assert examine(path).problems == ("it is not a directory",)

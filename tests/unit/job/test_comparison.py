"""Where two executions of a job part, and what that says about the result."""

import hashlib
from dataclasses import replace

import pytest

from node.job.comparison import Execution, Proof, Relation, compare
from node.job.manifest import Manifest, OutputFile, class_name, digest
from node.job.outputs import FRAMES, expected_outputs, media_type
from node.job.spec import parse_inputs
from node.job.stages import all_stages, computed_stages

SPEC = parse_inputs("sdv-pipeline:v1.1-lilypad2", ["Batching=2"])
PARTS = {"profile": "tiny", "weights": "w1", "torch": "2", "device": "a card", "pipeline": "3"}
APNG = "outputs/output_00001_.png"


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def execution(seed="a", *, parts=PARTS, changed=(), cid=None):
    """Return an execution in which every stage from a changed one on is another."""
    hashes = {stage: sha("a") for stage in all_stages(SPEC)} | {stage: sha(seed + "x") for stage in changed}
    outputs = tuple(
        OutputFile(path, media_type(path), 1, hashes[path]) for path in expected_outputs(SPEC, FRAMES)
    )
    manifest = Manifest(
        module=SPEC.module,
        profile=parts["profile"],
        inputs=SPEC.tunables(),
        notes=(),
        determinism_class=class_name(parts),
        class_parts=parts,
        weights={},
        stages=hashes,
        outputs=outputs,
    )
    files = {output.path: output.sha256 for output in outputs}
    files |= dict.fromkeys(("exitCode", "stdout", "stderr"), sha("text"))
    files["manifest.json"] = sha(f"{parts} {sorted(changed)}")
    return Execution(cid or f"cid of {parts} {sorted(changed)}", manifest, files)


def test_equal_cids_are_equal_results():
    assert compare(SPEC, execution(), execution()).relation is Relation.IDENTICAL


@pytest.mark.parametrize("stage", all_stages(SPEC))
def test_within_a_class_any_difference_is_one_and_is_located(stage):
    found = compare(SPEC, execution(changed=[stage]), execution())
    assert (found.relation, found.parts_at) == (Relation.DIFFERENT, stage)
    assert found.differing == (stage, "manifest.json")
    assert found.class_differences == {}


def test_two_executions_part_at_the_first_stage_of_all_that_differ():
    order = all_stages(SPEC)
    found = compare(SPEC, execution(changed=order[5:]), execution())
    assert found.parts_at == order[5]
    assert found.differing == (*order[5:], "manifest.json")


def test_a_file_is_judged_by_its_bytes_and_not_by_what_its_manifest_says():
    honest = execution()
    changed = replace(honest, cid="another", files=dict(honest.files) | {APNG: sha("other bytes")})
    assert compare(SPEC, changed, honest).differing == (APNG,)


@pytest.mark.parametrize("name", ["stdout", "exitCode", "outputs/more.png", "extra"])
def test_a_text_that_differs_or_a_file_more_is_named(name):
    honest = execution()
    changed = replace(honest, cid="another", files=dict(honest.files) | {name: sha("other")})
    assert compare(SPEC, changed, honest).differing == (name,)


def test_numbers_that_are_not_told_count_as_different():
    honest = execution()
    silent = replace(honest.manifest, stages={})
    changed = replace(honest, cid="another", manifest=silent)
    assert compare(SPEC, changed, honest).differing == tuple(
        stage for stage in all_stages(SPEC) if stage in computed_stages(SPEC)
    )


def test_another_machine_is_no_proof_and_its_parts_are_named():
    other = execution(parts=PARTS | {"device": "another card", "triton": "3"}, changed=all_stages(SPEC))
    found = compare(SPEC, other, execution())
    assert found.relation is Relation.OTHER_CLASS
    assert found.class_differences == {"device": ("another card", "a card"), "triton": ("3", None)}


@pytest.mark.parametrize("part", ["weights", "profile"])
def test_other_networks_are_told_from_another_machine(part):
    other = execution(parts=PARTS | {part: "another", "device": "another card"}, changed=all_stages(SPEC))
    found = compare(SPEC, other, execution())
    assert found.relation is Relation.OTHER_MODEL
    assert found.proves is None


def with_weights(**weights):
    """Return an execution whose class differs by its weights alone."""
    other = execution(parts=PARTS | {"weights": digest(weights)}, changed=all_stages(SPEC))
    return replace(other, manifest=replace(other.manifest, weights=weights))


def test_other_weights_on_the_same_machine_are_proof_and_named():
    ours = with_weights(
        **{"still/unet/model.safetensors": sha("ours"), "clip/vae/model.safetensors": sha("a")}
    )
    theirs = with_weights(
        **{"still/unet/model.safetensors": sha("x"), "clip/vae/model.safetensors": sha("a")}
    )
    found = compare(SPEC, theirs, ours)
    assert (found.relation, found.proves) == (Relation.OTHER_MODEL, Proof.WRONG)
    assert found.weights_differing == ("still/unet/model.safetensors",)


def test_the_two_published_layouts_of_a_network_are_two_classes_and_neither_is_wrong():
    ours = with_weights(**{"still/unet/model.safetensors": sha("u"), "clip/vae/model.safetensors": sha("a")})
    theirs = with_weights(
        **{"still/unet/model.safetensors": sha("u"), "clip/vae/model.safetensors": sha("b")}
    )
    assert compare(SPEC, theirs, ours).proves is None


def test_the_name_of_a_profile_decides_no_byte():
    named = PARTS | {"profile": "my own"}
    honest = replace(execution(parts=named), files=dict(execution().files) | {"manifest.json": sha("name")})
    assert compare(SPEC, honest, execution()).proves is Proof.RIGHT
    cheating = execution(parts=named, changed=all_stages(SPEC)[3:])
    assert compare(SPEC, cheating, execution()).proves is Proof.WRONG


@pytest.mark.parametrize("part", ["precision", "sizes", "kernels", "torch", "pipeline", "switches"])
def test_whatever_else_decides_bytes_leaves_it_to_a_machine_of_that_class(part):
    other = execution(parts=PARTS | {part: "another", "weights": "w2"}, changed=all_stages(SPEC))
    assert compare(SPEC, other, execution()).proves is None


def test_equal_bytes_and_other_bytes_within_a_class_are_proof():
    assert compare(SPEC, execution(), execution()).proves is Proof.RIGHT
    assert compare(SPEC, execution(changed=["stills"]), execution()).proves is Proof.WRONG


def test_the_report_for_programs_has_the_first_difference_and_both_values_of_a_part():
    other = execution(parts=PARTS | {"device": "another card"}, changed=["stills"])
    assert compare(SPEC, other, execution()).to_json() == {
        "relation": "other class",
        "parts_at": "stills",
        "proves": None,
        "differing": ["stills", "manifest.json"],
        "weights_differing": [],
        "class_differences": {"device": {"result": "another card", "execution": "a card"}},
    }

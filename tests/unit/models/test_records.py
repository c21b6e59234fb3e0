"""What is on the disk is compared with its record: cheaply before it is offered, byte by byte on demand."""

import dataclasses
import json
import os
import pickle

import pytest

from node.errors import Fatal
from node.pipeline.profiles import load_profile
from node.pipeline.weights.records import completeness, recorded_hashes, sha256_of, verify

UNET = "still/unet/model.safetensors"


def states(profile, data_dir):
    return {result.path: result.state for result in verify(profile, data_dir) if result.state != "ok"}


def test_a_complete_profile_has_no_problems_and_known_hashes(profile, data_dir):
    directory = profile.directory(data_dir)
    assert completeness(profile, data_dir) == []
    assert states(profile, data_dir) == {}
    hashes = recorded_hashes(directory)
    assert hashes == {path: sha256_of(directory / path) for path in hashes}
    assert len(hashes) == 4


def test_a_profile_that_was_never_pulled_says_how_to_pull_it(profile, tmp_path):
    (problem,) = completeness(profile, tmp_path)
    assert "sdv-node models pull small" in problem
    assert set(states(profile, tmp_path).values()) == {"missing"}


def test_weights_made_on_this_machine_are_never_lacking(tmp_path):
    assert completeness(load_profile("tiny"), tmp_path) == []
    assert verify(load_profile("tiny"), tmp_path) == []
    assert recorded_hashes(tmp_path) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"precision": "bfloat16"},
            "precision was float16 when the weights were converted and is bfloat16 now",
        ),
        ({"vae_precision": "float32"}, "vae_precision was bfloat16"),
    ],
)
def test_another_precision_makes_a_profile_incomplete(profile, data_dir, change, told):
    changed = dataclasses.replace(profile, **change)
    assert any(told in problem for problem in completeness(changed, data_dir))


def test_another_recipe_makes_a_profile_incomplete(profile, data_dir, monkeypatch):
    monkeypatch.setattr("node.pipeline.weights.records.RECIPE", "next")
    assert any("recipe was 1" in problem for problem in completeness(profile, data_dir))


def test_another_revision_or_pinned_hash_makes_a_profile_incomplete(profile, data_dir):
    other = dataclasses.replace(profile.still, revision="9" * 40)
    changed = dataclasses.replace(profile, still=other)
    assert any("still weights are not those of one" in problem for problem in completeness(changed, data_dir))
    config, weights = profile.clip.files
    other = dataclasses.replace(profile.clip, files=(config, dataclasses.replace(weights, sha256="0" * 64)))
    changed = dataclasses.replace(profile, clip=other)
    assert any("clip weights are not those of two" in problem for problem in completeness(changed, data_dir))


def damage(path, how):
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
        return
    damaged = {
        "truncated": content[:-1],
        "too long": content + b"x",
        "wrong": content[:-1] + b"?",
        "pickled": pickle.dumps(list(range(100))),
    }
    path.write_bytes(damaged[how])


@pytest.mark.parametrize("how", ["missing", "truncated", "too long", "wrong", "pickled"])
def test_a_damaged_file_is_found_cheaply_and_named_exactly(profile, data_dir, how):
    directory = profile.directory(data_dir)
    expected = sha256_of(directory / UNET)
    damage(directory / UNET, how)
    assert any(UNET in problem for problem in completeness(profile, data_dir))
    assert states(profile, data_dir) == {UNET: how}
    (result,) = (result for result in verify(profile, data_dir) if result.state != "ok")
    assert expected in result.finding
    with pytest.raises(Fatal, match=UNET):
        recorded_hashes(directory)


def test_a_change_that_keeps_size_and_time_is_found_by_hashing(profile, data_dir):
    path = profile.directory(data_dir) / UNET
    state = path.stat()
    damage(path, "wrong")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert completeness(profile, data_dir) == []
    assert states(profile, data_dir) == {UNET: "wrong"}
    # Once found it stays a problem, so that the profile is neither offered nor taken for complete by a pull.
    assert any(UNET in problem for problem in completeness(profile, data_dir))


def test_a_restored_backup_is_good_again_once_it_was_hashed(profile, data_dir):
    for path in profile.directory(data_dir).rglob("*.safetensors"):
        os.utime(path, ns=(1, 1))
    assert completeness(profile, data_dir)
    assert states(profile, data_dir) == {}
    assert completeness(profile, data_dir) == []


def test_hashing_does_not_hide_that_the_precision_is_another(profile, data_dir):
    changed = dataclasses.replace(profile, precision="bfloat16")
    for path in profile.directory(data_dir).rglob("*.safetensors"):
        os.utime(path, ns=(1, 1))
    assert states(changed, data_dir) == {}
    assert any("precision was float16" in problem for problem in completeness(changed, data_dir))
    assert completeness(profile, data_dir) == []


def test_a_damaged_file_is_not_forgiven_for_the_others_times(profile, data_dir):
    directory = profile.directory(data_dir)
    os.utime(directory / "clip/unet/model.safetensors", ns=(1, 1))
    damage(directory / UNET, "wrong")
    assert states(profile, data_dir) == {UNET: "wrong"}
    (problem,) = completeness(profile, data_dir)
    assert UNET in problem


def test_a_stray_file_is_reported(profile, data_dir):
    (profile.directory(data_dir) / "still" / "unet" / "model.bin").write_bytes(b"x")
    assert states(profile, data_dir) == {"still/unet/model.bin": "unexpected"}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"version": 2}',
        '{"version": 1, "files": {"../x": {"bytes": 1, "mtime_ns": 1, "sha256": ""}}, "sources": {}}',
        '{"version": 1, "files": {"a": {}}, "sources": {}}',
        '{"version": 1, "files": {}, "sources": 5}',
        "x" * (2 << 20),
    ],
)
def test_a_record_that_cannot_be_understood_is_a_problem_in_words(profile, data_dir, content):
    (profile.directory(data_dir) / "weights.json").write_text(content)
    (problem,) = completeness(profile, data_dir)
    assert "weights.json cannot be read" in problem
    with pytest.raises(Fatal):
        verify(profile, data_dir)


def test_a_made_here_profile_is_verified_against_its_own_origin(tmp_path):
    directory = tmp_path / "models" / "tiny"
    (directory / "still").mkdir(parents=True)
    (directory / "still" / "a").write_bytes(b"a")
    (directory / "still" / "b").write_bytes(b"changed")
    files = {"still/a": sha256_of(directory / "still" / "a"), "still/b": "0" * 64, "still/c": "0" * 64}
    (directory / "origin.json").write_text(json.dumps({"files": files}))
    (directory / "still" / "stray.bin").write_bytes(b"x")
    found = {result.path: result for result in verify(load_profile("tiny"), tmp_path)}
    assert {path: result.state for path, result in found.items()} == {
        "still/a": "ok",
        "still/b": "wrong",
        "still/c": "missing",
        "still/stray.bin": "unexpected",
    }
    changed = sha256_of(directory / "still" / "b")
    assert found["still/b"].finding == f"7 bytes with SHA-256 {changed}, expected SHA-256 {'0' * 64}"


def test_an_origin_that_leads_out_of_its_directory_is_not_followed(tmp_path):
    directory = tmp_path / "models" / "tiny"
    directory.mkdir(parents=True)
    (directory / "origin.json").write_text(json.dumps({"files": {"../outside": "0" * 64}}))
    (found,) = verify(load_profile("tiny"), tmp_path)
    assert (found.path, found.state) == ("origin.json", "wrong")

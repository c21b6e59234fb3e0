"""A hub, directories and single files end in the same bytes, or in a refusal that says why."""

import dataclasses
import hashlib
import json
import os
import pickle
import shutil

import pytest

from node.errors import Fatal, Misconfigured, Unreachable
from node.locking import Locked, locked
from node.pipeline.profiles import load_profiles
from node.pipeline.weights.hub import Hub, WrongFile
from node.pipeline.weights.obtaining import Places
from node.pipeline.weights.pull import pull
from node.pipeline.weights.records import completeness, recorded_hashes
from node.pipeline.weights.secrets import Token
from tests.integration.models.conftest import REVISIONS, Quiet

pytestmark = pytest.mark.integration

TOKEN = Token("hf_allowed", "the test")
CHUNK = 1 << 16
UNET = "unet/diffusion_pytorch_model.fp16.safetensors"


@pytest.fixture(scope="session")
def from_single_files(published, tmp_path_factory):
    """The profile pulled from single files, in the real converting process."""
    data_dir = tmp_path_factory.mktemp("data")
    places = Places(
        directory=published.folders["lab/still"],
        single_files={
            "still": published.single_files / "sd_xl_base_1.0.safetensors",
            "clip": published.single_files / "svd_xt.safetensors",
        },
    )
    assert pull(published.profile(), data_dir, places, Quiet(), configs=published.configs)
    return data_dir


def test_single_files_become_a_complete_profile_that_loads(published, from_single_files):
    import torch

    from node.pipeline.models import load_models

    profile = published.profile()
    assert completeness(profile, from_single_files) == []
    models = load_models(profile, profile.directory(from_single_files))
    assert models.still_unet.dtype == models.clip_unet.dtype == torch.float16
    assert models.still_vae.dtype == models.clip_vae.dtype == torch.bfloat16
    assert {weight.dtype for weight in models.vision.parameters()} == {torch.float16, torch.float32}
    assert models.position_table == (5, 32)


@pytest.mark.parametrize(
    ("how", "told"),
    [("missing", "is missing"), ("truncated", "bytes and had"), ("pickled", "expected a safetensors file")],
)
def test_the_loader_refuses_a_damaged_file_with_its_name(published, from_single_files, tmp_path, how, told):
    from node.pipeline.models import load_models

    profile, directory = published.profile(), tmp_path / "models" / "real"
    shutil.copytree(published.profile().directory(from_single_files), directory, copy_function=shutil.copy2)
    weights = directory / "clip" / "image_encoder" / "model.safetensors"
    state = weights.stat()
    if how == "missing":
        weights.unlink()
    elif how == "truncated":
        weights.write_bytes(weights.read_bytes()[:-1])
    else:
        # As large and as old as the right one: only its content tells.
        weights.write_bytes(pickle.dumps(b"x" * state.st_size)[: state.st_size])
        os.utime(weights, ns=(state.st_atime_ns, state.st_mtime_ns))
    with pytest.raises(Fatal, match=told) as refusal:
        load_models(profile, directory)
    assert "clip/image_encoder/model.safetensors" in str(refusal.value)


def test_a_hub_gives_the_same_bytes_as_the_single_files(
    published, from_single_files, hub, tmp_path, report, in_process
):
    profile = published.profile()
    assert pull(profile, tmp_path, Places(hub.url, TOKEN), report, configs=published.configs)
    assert completeness(profile, tmp_path) == []
    assert recorded_hashes(profile.directory(tmp_path)) == recorded_hashes(
        profile.directory(from_single_files)
    )
    assert hub.foreign_tokens == []
    # The downloads were ours and are gone; what nobody publishes is kept in mind.
    assert not list(tmp_path.rglob("*.part"))
    assert not (tmp_path / "models" / ".downloads" / "still-source").exists()
    recorded = json.loads((tmp_path / "models" / "first-use.json").read_text())
    assert [key.partition("/")[2].partition("/")[2] for key in recorded] == [UNET, "vae/config.json"]
    assert any("recorded on first use" in note for note in report.notes)
    record = json.loads((profile.directory(tmp_path) / "weights.json").read_text())
    assert record["sources"]["clip"]["files"][UNET]["hash"] == "recorded on first use"
    assert record["sources"]["still"]["files"][UNET]["hash"] == "pinned"


def test_a_second_profile_shares_what_the_first_one_has(
    published, from_single_files, tmp_path, report, in_process
):
    data_dir = tmp_path / "data"
    shutil.copytree(from_single_files, data_dir, copy_function=shutil.copy2)
    twin = published.profile("twin")
    places = Places(single_files={"clip": published.single_files / "svd_xt.safetensors"})
    assert pull(twin, data_dir, places, report, configs=published.configs)
    still = "still/unet/model.safetensors"
    assert (twin.directory(data_dir) / still).samefile(data_dir / "models" / "real" / still)
    assert not any("sd_xl" in what for what in report.begun)
    assert completeness(twin, data_dir) == []


def test_a_shared_file_that_went_bad_unnoticed_is_not_taken_for_good(
    published, from_single_files, tmp_path, report, in_process
):
    data_dir = tmp_path / "data"
    shutil.copytree(from_single_files, data_dir, copy_function=shutil.copy2)
    bad = data_dir / "models" / "real" / "still" / "vae" / "model.safetensors"
    state, content = bad.stat(), bad.read_bytes()
    bad.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(bad, ns=(state.st_atime_ns, state.st_mtime_ns))
    places = Places(single_files={"clip": published.single_files / "svd_xt.safetensors"})
    with pytest.raises(WrongFile, match=r"still/vae/model\.safetensors of another profile"):
        pull(published.profile("twin"), data_dir, places, report, configs=published.configs)
    assert not (data_dir / "models" / "twin").exists()


def test_a_complete_profile_is_left_alone(published, from_single_files, report):
    unreachable = Places("http://127.0.0.1:9")
    assert not pull(published.profile(), from_single_files, unreachable, report, configs=published.configs)
    assert report.begun == []


def test_an_interrupted_download_goes_on_where_it_was(published, hub, tmp_path, report, until_conversion):
    size = (published.folders["lab/still"] / UNET).stat().st_size
    hub.cut_after[UNET] = 10 * CHUNK
    places = Places(hub.url, TOKEN)
    with pytest.raises(Unreachable, match="pull again to go on"):
        pull(published.profile(), tmp_path, places, report, configs=published.configs)
    encoder = "text_encoder/model.fp16.safetensors"
    before = hub.bytes_of(encoder)
    assert hub.bytes_of(UNET) == 10 * CHUNK
    hub.broken.clear()
    with pytest.raises(until_conversion):
        pull(published.profile(), tmp_path, places, report, configs=published.configs)
    # Both repositories have a UNet of this name: every byte of both was sent once.
    assert hub.bytes_of(UNET) == size + (published.folders["lab/clip"] / UNET).stat().st_size
    assert hub.bytes_of(encoder) == before > 0
    kept = tmp_path / "models" / ".downloads" / "still-source" / UNET
    assert kept.read_bytes() == (published.folders["lab/still"] / UNET).read_bytes()


def test_a_hub_that_cannot_go_on_in_the_middle_is_asked_from_the_start(
    published, hub, tmp_path, report, until_conversion
):
    path = "text_encoder_2/model.fp16.safetensors"
    hub.cut_after[path] = CHUNK
    places = Places(hub.url, TOKEN)
    with pytest.raises(Unreachable):
        pull(published.profile(), tmp_path, places, report, configs=published.configs)
    hub.broken.clear()
    hub.ignores_ranges = True
    with pytest.raises(until_conversion):
        pull(published.profile(), tmp_path, places, report, configs=published.configs)
    assert hub.bytes_of(path) == CHUNK + (published.folders["lab/still"] / path).stat().st_size


def test_wrong_bytes_are_refused_removed_and_fetched_again(
    published, hub, tmp_path, report, until_conversion
):
    path = "text_encoder/model.fp16.safetensors"
    right = (published.folders["lab/still"] / path).read_bytes()
    hub.changed[path] = right[:-1] + bytes([right[-1] ^ 1])
    places = Places(hub.url, TOKEN)
    with pytest.raises(WrongFile) as refusal:
        pull(published.profile(), tmp_path, places, report, configs=published.configs)
    for part in (path, hashlib.sha256(hub.changed[path]).hexdigest(), hashlib.sha256(right).hexdigest()):
        assert part in str(refusal.value)
    assert not list(tmp_path.rglob("model.fp16.safetensors*"))
    hub.changed.clear()
    with pytest.raises(until_conversion):
        pull(published.profile(), tmp_path, places, report, configs=published.configs)


def test_wrong_bytes_of_a_file_without_a_published_hash_are_refused_too(published, hub, tmp_path):
    path = "vae/config.json"
    source = published.profile().clip
    file = next(file for file in source.files if file.path == path)
    client = Hub(hub.url, TOKEN)
    offered = client.look_up(source, file)
    content = (published.folders["lab/clip"] / path).read_bytes()
    assert offered.git_blob == hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
    hub.changed[path] = content.replace(b"4", b"5", 1)
    with pytest.raises(WrongFile, match="git blob"):
        client.fetch(source, file, offered, tmp_path / path, lambda _count: None)
    assert not list(tmp_path.rglob("config.json*"))


def test_a_hub_that_sends_more_than_the_file_has_is_refused(published, hub, tmp_path, report):
    path = "tokenizer/merges.txt"
    hub.changed[path] = (published.folders["lab/still"] / path).read_bytes() + b"x" * 1000
    with pytest.raises(WrongFile, match=r"merges\.txt .* bytes, expected"):
        pull(published.profile(), tmp_path, Places(hub.url, TOKEN), report, configs=published.configs)


@pytest.mark.parametrize(
    ("token", "told"), [(None, "no token was given"), (Token("hf_other", "the test"), "was refused")]
)
def test_a_gated_repository_says_how_to_get_in_and_shows_no_token(
    published, hub, tmp_path, report, token, told
):
    with pytest.raises(Fatal) as refusal:
        pull(published.profile(), tmp_path, Places(hub.url, token), report, configs=published.configs)
    text = str(refusal.value)
    assert told in text
    assert "https://huggingface.co/lab/clip" in text
    assert "--token-file" in text
    assert "hf_other" not in text


def test_a_revision_that_the_hub_lacks_is_named(published, hub, tmp_path, report):
    hub.revisions = dict.fromkeys(hub.revisions, "3" * 40)
    with pytest.raises(Fatal, match="no such file at revision 1111"):
        pull(published.profile(), tmp_path, Places(hub.url, TOKEN), report, configs=published.configs)


def test_no_answer_is_unreachable(published, tmp_path, report):
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        pull(published.profile(), tmp_path, Places("http://127.0.0.1:9"), report, configs=published.configs)


def test_a_single_file_without_a_vocabulary_or_a_hub_says_what_it_lacks(published, tmp_path, report):
    checkpoints = tmp_path / "checkpoints"
    shutil.copytree(published.single_files, checkpoints)
    places = Places("http://127.0.0.1:9", directory=checkpoints)
    with pytest.raises(Unreachable, match=r"tokenizer/vocab\.json and tokenizer/merges\.txt"):
        pull(published.profile(), tmp_path / "data", places, report, configs=published.configs)


def test_files_of_the_operator_are_read_and_left_as_they_are(published, tmp_path, report, in_process):
    mine = tmp_path / "hub-cache"
    for repository, folder in published.folders.items():
        name = f"models--{repository.replace('/', '--')}"
        shutil.copytree(folder, mine / name / "snapshots" / REVISIONS[repository])
    before = {path: path.stat().st_mtime_ns for path in mine.rglob("*")}
    places = Places("http://127.0.0.1:9", directory=mine)
    assert pull(published.profile(), tmp_path / "data", places, report, configs=published.configs)
    assert {path: path.stat().st_mtime_ns for path in mine.rglob("*")} == before
    # Nobody had told the hashes of these, nothing was there to compare with: said, and checked from now on.
    assert any("nothing was there to compare it with" in note for note in report.notes)
    config = next((mine / "models--lab--clip").rglob("vae/config.json"))
    config.write_text(config.read_text() + " ")
    shutil.rmtree(tmp_path / "data" / "models" / "real")
    with pytest.raises(
        WrongFile, match=r"config\.json is another file: .*recorded on first use .*remove its line there"
    ):
        pull(published.profile(), tmp_path / "data", places, report, configs=published.configs)


@pytest.mark.parametrize("fault", ["truncated", "changed", "pickled"])
def test_a_bad_single_file_is_refused_with_its_name_and_what_was_expected(published, tmp_path, report, fault):
    path = tmp_path / "svd_xt.safetensors"
    right = (published.single_files / "svd_xt.safetensors").read_bytes()
    content = {
        "truncated": right[:-10],
        "changed": right[:-1] + bytes([right[-1] ^ 1]),
        "pickled": pickle.dumps({"weights": b"x" * 1000}),
    }[fault]
    path.write_bytes(content)
    told = {
        "truncated": f"is truncated: its header describes {len(right)} bytes, it has {len(right) - 10}",
        "changed": f"expected lab/clip/svd_xt.safetensors with {hashlib.sha256(right).hexdigest()}",
        "pickled": "is a pickled checkpoint",
    }[fault]
    places = Places(directory=published.folders["lab/still"], single_files={"clip": path})
    with pytest.raises(WrongFile if fault == "changed" else Misconfigured) as refusal:
        pull(published.profile(), tmp_path / "data", places, report, configs=published.configs)
    assert str(path) in str(refusal.value)
    assert "expected lab/clip/svd_xt.safetensors" in str(refusal.value)
    assert told in str(refusal.value)
    assert path.read_bytes() == content


@pytest.mark.parametrize("fault", ["missing", "directory", "empty", "pickled", "another size"])
def test_a_mistyped_single_file_is_refused_before_all_else(published, hub, tmp_path, report, fault):
    path = tmp_path / "mistyped.safetensors"
    if fault == "directory":
        path.mkdir()
    elif fault == "another size":
        shutil.copyfile(published.single_files / "sd_xl_base_1.0.safetensors", path)
    elif fault != "missing":
        path.write_bytes(b"" if fault == "empty" else pickle.dumps({"weights": b"x" * 1000}))
    told = {
        "missing": "No such file",
        "directory": "not a regular file",
        "empty": "only 0 bytes",
        "pickled": "pickled",
        "another size": "another file",
    }[fault]
    still = published.single_files / "sd_xl_base_1.0.safetensors"
    places = Places(hub.url, TOKEN, single_files={"still": still, "clip": path})
    with pytest.raises(Misconfigured, match=told) as refusal:
        pull(published.profile(), tmp_path / "data", places, report, configs=published.configs)
    assert str(path) in str(refusal.value)
    assert "expected lab/clip/svd_xt.safetensors" in str(refusal.value)
    assert hub.requests == []
    assert report.begun == []


def test_a_wrong_file_of_an_unknown_hash_does_not_keep_the_right_one_out(
    published, tmp_path, report, in_process
):
    from safetensors.torch import load_file, save_file

    profile = published.profile()
    unpinned = dataclasses.replace(profile.clip.single_file, sha256="", size_bytes=0)
    profile = dataclasses.replace(profile, clip=dataclasses.replace(profile.clip, single_file=unpinned))
    right, wrong = published.single_files / "svd_xt.safetensors", tmp_path / "wrong.safetensors"
    tensors = load_file(right)
    tensors.pop(next(name for name in tensors if name.startswith("model.diffusion_model.")))
    save_file(tensors, wrong)
    models = tmp_path / "data" / "models"
    places = Places(directory=published.folders["lab/still"], single_files={"clip": wrong})
    with pytest.raises(Fatal, match=r"wrong\.safetensors"):
        pull(profile, tmp_path / "data", places, report, configs=published.configs)
    assert not (models / "first-use.json").exists()
    places = dataclasses.replace(places, single_files={"clip": right})
    assert pull(profile, tmp_path / "data", places, report, configs=published.configs)
    recorded = json.loads((models / "first-use.json").read_text())
    assert hashlib.sha256(right.read_bytes()).hexdigest() in recorded.values()


def test_a_conversion_that_fails_names_the_operators_file_and_leaves_nothing(
    published, tmp_path, report, in_process
):
    from safetensors.torch import load_file, save_file

    mine = tmp_path / "mine"
    shutil.copytree(published.root / "layout" / "lab", mine)
    bad = mine / "clip" / UNET
    tensors = load_file(bad)
    tensors.pop(min(tensors))
    save_file(tensors, bad)
    with pytest.raises(Fatal, match="lacks") as refusal:
        pull(
            published.profile(), tmp_path / "data", Places(directory=mine), report, configs=published.configs
        )
    assert str(bad) in str(refusal.value)
    models = tmp_path / "data" / "models"
    assert not (models / "real").exists()
    assert not [path for path in models.iterdir() if path.name.startswith(".real-")]


def test_the_checkpoint_of_another_model_is_recognised_where_no_hash_is_published(
    published, tmp_path, report, monkeypatch
):
    profile = published.profile()
    unpinned = dataclasses.replace(profile.clip.single_file, sha256="", size_bytes=0)
    profile = dataclasses.replace(profile, clip=dataclasses.replace(profile.clip, single_file=unpinned))
    monkeypatch.setattr(
        "node.pipeline.weights.obtaining.load_profiles", lambda: load_profiles(published.table)
    )
    mistaken = published.single_files / "sd_xl_base_1.0.safetensors"
    places = Places(directory=published.folders["lab/still"], single_files={"clip": mistaken})
    with pytest.raises(WrongFile, match=r"is lab/still/sd_xl_base_1\.0\.safetensors: expected lab/clip"):
        pull(profile, tmp_path / "data", places, report, configs=published.configs)
    assert not (tmp_path / "data" / "models" / "first-use.json").exists()


def test_two_pulls_of_one_profile_do_not_run_at_once(published, tmp_path, report):
    (tmp_path / "models").mkdir()
    with (
        locked(tmp_path / "models" / ".real.lock", "busy"),
        pytest.raises(Locked, match="another pull of real"),
    ):
        pull(published.profile(), tmp_path, Places("http://127.0.0.1:9"), report, configs=published.configs)


def test_what_a_killed_pull_left_is_removed_by_the_next(published, tmp_path, report, until_conversion):
    models = tmp_path / "data" / "models"
    (models / ".real-killed" / "still").mkdir(parents=True)
    (models / "real" / "still").mkdir(parents=True)
    with pytest.raises(until_conversion):
        pull(
            published.profile(),
            tmp_path / "data",
            Places(directory=published.root / "layout"),
            report,
            configs=published.configs,
        )
    assert [path.name for path in models.glob(".real-*")] == []
    assert completeness(published.profile(), tmp_path / "data")


def test_too_little_disk_is_said_before_anything_is_fetched(published, hub, tmp_path, report, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=1000))
    with pytest.raises(Fatal, match=r"0\.0 GB free"):
        pull(published.profile(), tmp_path, Places(hub.url, TOKEN), report, configs=published.configs)
    assert hub.served == {}


def test_a_directory_without_the_weights_says_what_was_sought(published, tmp_path, report):
    (tmp_path / "empty").mkdir()
    with pytest.raises(Misconfigured, match=r"neither sd_xl_base_1\.0\.safetensors nor lab/still"):
        pull(
            published.profile(),
            tmp_path,
            Places(directory=tmp_path / "empty"),
            report,
            configs=published.configs,
        )


def test_torch_is_never_imported_by_whoever_pulls():
    import subprocess
    import sys

    code = (
        "import sys, node.pipeline.weights.pull, node.cli.models, node.app.checkup, node.app.serving;"
        "import huggingface_hub.file_download;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'diffusers', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0

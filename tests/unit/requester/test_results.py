"""What a delivered directory must hold, and how people are told where it is."""

import json

import pytest

from node.job.spec import parse_inputs
from node.requester.results import (
    BadDelivery,
    check_delivery,
    closing_hints,
    failure_text,
    result_folder,
    set_aside,
)
from node.types import Cid, DealId
from tests.fakes.provider import write_result

SPEC = parse_inputs("sdv-pipeline:v1.1-lilypad2", ["Batching=2", "Prompt=x"])


@pytest.fixture
def delivered(tmp_path):
    return write_result(tmp_path / "result", SPEC)


def edit_manifest(directory, change) -> None:
    manifest = json.loads((directory / "manifest.json").read_text())
    change(manifest)
    (directory / "manifest.json").write_text(json.dumps(manifest))


def refused(directory, reason) -> None:
    with pytest.raises(BadDelivery, match=reason):
        check_delivery(directory, SPEC)


def test_a_complete_delivery_is_good(delivered):
    check_delivery(delivered, SPEC)


@pytest.mark.parametrize(
    "name", ["exitCode", "stdout", "stderr", "manifest.json", "outputs/output_00002_.mp4"]
)
def test_a_missing_file_is_named(delivered, name):
    (delivered / name).unlink()
    refused(delivered, name.rpartition("/")[2])


@pytest.mark.parametrize("name", ["stdout", "manifest.json", "outputs/still_00001_.png"])
def test_a_link_is_no_file(delivered, name, tmp_path):
    (delivered / name).rename(tmp_path / "elsewhere")
    (delivered / name).symlink_to(tmp_path / "elsewhere")
    refused(delivered, "not a plain file")


@pytest.mark.parametrize("text", ["1", "", "0\n0", "0" * 40])
def test_an_exit_code_other_than_zero_is_refused(delivered, text):
    (delivered / "exitCode").write_text(text)
    refused(delivered, "exit ?[cC]ode")


@pytest.mark.parametrize("data", [b"{", b"[]", b"\xff", b"[" * 100_000, b" " * (1024 * 1024 + 1)])
def test_a_manifest_that_is_none_is_refused(delivered, data):
    (delivered / "manifest.json").write_bytes(data)
    refused(delivered, "manifest.json")


def test_the_manifest_must_be_of_this_job(delivered):
    edit_manifest(delivered, lambda manifest: manifest["inputs"].update(Seed=43))
    refused(delivered, "inputs are not those of the job")
    edit_manifest(delivered, lambda manifest: manifest.update(module="sdv-pipeline:v1.0-lilypad2"))
    refused(delivered, "is of module")


def test_an_output_that_the_job_promises_must_be_listed(delivered):
    edit_manifest(delivered, lambda manifest: manifest["outputs"].pop())
    refused(delivered, "outputs/output_00002_.mp4 is promised by the job")


def test_changed_bytes_are_found(delivered):
    path = delivered / "outputs" / "still_00001_.png"
    path.write_bytes(path.read_bytes()[::-1])
    refused(delivered, "not the file that the manifest describes")
    path.write_bytes(b"short")
    refused(delivered, "has 5 bytes")


@pytest.mark.parametrize(
    "path", ["outputs/../stdout", "/etc/passwd", "outputs//x", "", "outputs/./x", "a\0b"]
)
def test_a_path_out_of_the_folder_is_refused(delivered, path):
    entry = {"path": path, "media_type": "image/png", "bytes": 0, "sha256": "0" * 64}
    edit_manifest(delivered, lambda manifest: manifest["outputs"].append(entry))
    refused(delivered, "outside outputs/")


@pytest.mark.parametrize("outputs", [None, {}, [5], [{}], [{"path": "x", "bytes": "1", "sha256": "y"}]])
def test_an_output_list_of_another_shape_is_refused(delivered, outputs):
    edit_manifest(delivered, lambda manifest: manifest.update(outputs=outputs))
    refused(delivered, "outputs|an output")


def test_the_reason_of_a_failure_is_the_end_of_stderr_made_safe(delivered):
    (delivered / "stderr").write_bytes(b"x" * 10_000 + b"\n\x1b]0;title\x07CUDA out of memory\xff\n")
    text = failure_text(delivered)
    assert len(text) <= 400
    assert text.isprintable()
    (delivered / "stderr").write_text("CUDA\tout of\u202e memory")
    assert failure_text(delivered) == "CUDA out of memory"
    (delivered / "stderr").unlink()
    assert failure_text(delivered) == ""


def test_the_closing_hints_can_be_pasted(tmp_path):
    directory = tmp_path / "my data"
    assert closing_hints(directory, Cid("bafy"), "https://ipfs.io/") == [
        "Job completed, try:",
        f"    open '{directory}'",
        f"    cat '{directory}/stdout'",
        f"    cat '{directory}/stderr'",
        "    https://ipfs.io/ipfs/bafy",
    ]


def test_what_is_in_the_way_of_a_download_is_kept(tmp_path):
    folder = result_folder(tmp_path, DealId("j1-x"))
    set_aside(folder)
    for number in (1, 2):
        folder.mkdir(parents=True)
        (folder / "mine").write_text(str(number))
        set_aside(folder)
        assert (folder.with_name(f"j1-x.old-{number}") / "mine").read_text() == str(number)
    assert not folder.exists()

"""A file of weights that is not what it claims to be is refused with its name and what was expected."""

import io
import json
import os
import pickle
import zipfile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file

from node.errors import Fatal
from node.pipeline.checkpoints.safe import MAX_HEADER_BYTES, BadCheckpoint, open_safetensors

WEIGHTS = {"a.weight": torch.arange(12.0).reshape(3, 4), "a.bias": torch.arange(4, dtype=torch.bfloat16)}


def write(path, content):
    path.write_bytes(content)
    return path


def packed(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def row(shape=(1,), offsets=(0, 4), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def refused(path, message):
    with pytest.raises(BadCheckpoint, match=message) as caught:
        open_safetensors(path)
    assert str(path) in str(caught.value)
    assert isinstance(caught.value, Fatal)


def test_names_shapes_and_types_come_from_the_header_and_tensors_one_by_one(tmp_path):
    save_file(WEIGHTS, tmp_path / "w.safetensors", metadata={"format": "pt"})
    with open_safetensors(tmp_path / "w.safetensors") as file:
        assert {name: (entry.shape, entry.dtype) for name, entry in file.entries.items()} == {
            "a.weight": ((3, 4), "F32"),
            "a.bias": ((4,), "BF16"),
        }
        assert file.entries["a.weight"].size_bytes == 48
        for name, weight in WEIGHTS.items():
            assert torch.equal(file.read(name), weight)
        assert torch.equal(file.read("a.weight", part=1, parts=3), WEIGHTS["a.weight"][1:2])
        with pytest.raises(BadCheckpoint, match="cannot be split into 2"):
            file.read("a.weight", part=0, parts=2)


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool],
)
def test_every_type_is_read_as_safetensors_itself_reads_it(tmp_path, dtype):
    tensor = torch.tensor([[0, 1, 1], [1, 0, 1]]).to(dtype)
    save_file({"t": tensor, "empty": torch.empty(0, 3, dtype=dtype)}, tmp_path / "t.safetensors")
    with (
        open_safetensors(tmp_path / "t.safetensors") as ours,
        safe_open(tmp_path / "t.safetensors", "pt") as theirs,
    ):
        assert torch.equal(ours.read("t"), theirs.get_tensor("t"))
        assert ours.read("t").dtype == dtype
        assert ours.read("empty").shape == (0, 3)


class Exploit:
    def __reduce__(self):
        return os.mkdir, ("/tmp/never",)


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "model.safetensors"])
def test_a_pickle_is_refused_by_its_content_whatever_its_name(tmp_path, name):
    path = tmp_path / name
    torch.save(WEIGHTS, path)
    refused(path, "is a pickled checkpoint, which can run code .* expected a safetensors file")
    torch.save(WEIGHTS, path, _use_new_zipfile_serialization=False)
    refused(path, "is a pickled checkpoint")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        refused(write(path, pickle.dumps(Exploit(), protocol=protocol)), "is a pickled checkpoint")


def test_a_zip_archive_is_refused(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("weights.safetensors", save(WEIGHTS))
    refused(write(tmp_path / "model.safetensors", buffer.getvalue()), "pickled checkpoint")


def test_a_header_of_128_bytes_is_no_pickle(tmp_path):
    header = json.dumps({"t": row()}).encode()
    path = write(tmp_path / "w.safetensors", packed(header + b" " * (128 - len(header)), b"\0" * 4))
    with open_safetensors(path) as file:
        assert file.read("t").item() == 0.0


@pytest.mark.parametrize("kept", [0, 3, 8, 20, -1, -30])
def test_a_truncated_file_says_what_it_has_and_what_it_needs(tmp_path, kept):
    whole = save(WEIGHTS)
    refused(write(tmp_path / "w.safetensors", whole[:kept]), "truncated|has only|no header follows")


def test_a_truncated_file_names_both_sizes(tmp_path):
    whole = save(WEIGHTS)
    message = f"truncated: its header describes {len(whole)} bytes, it has {len(whole) - 5}"
    refused(write(tmp_path / "w.safetensors", whole[:-5]), message)


def test_a_file_that_grows_shorter_while_it_is_read_is_an_error_and_no_crash(tmp_path):
    path = write(tmp_path / "w.safetensors", save(WEIGHTS))
    with open_safetensors(path) as file:
        last = max(file.entries, key=lambda name: file.entries[name].end)
        os.truncate(path, path.stat().st_size - 8)
        with pytest.raises(BadCheckpoint, match=f"became shorter while it was read: {last} needs"):
            file.read(last)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html>Access to this model is restricted</html>", "no header follows"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "no header follows"),
        ((MAX_HEADER_BYTES + 1).to_bytes(8, "little") + b"{}", f"claims .* allowed: {MAX_HEADER_BYTES}"),
        ((2**63).to_bytes(8, "little") + b"{}", "claims 9223372036854775808 bytes"),
        (packed(b"{" + b'"a":{' * 100), "not JSON"),
        (packed(b'{"a":' + b"[" * 100_000), "not JSON"),
        (packed(b"{\xff\xfe}"), "not JSON"),
        (packed(b'{"a":1,"a":2}'), "twice"),
        (packed({}), "holds no tensor"),
        (packed({"__metadata__": {"format": "pt"}}), "holds no tensor"),
        (packed({"a": [1]}), "'a' must have dtype, shape and data_offsets"),
        (packed({"a": {**row(), "more": 1}}, b"\0" * 4), "'a' must have dtype, shape and data_offsets"),
        (packed({"a": row(dtype="F8_E4M3", offsets=(0, 1))}, b"\0"), "dtype 'F8_E4M3'; allowed: F64, F32"),
        (packed({"a": row(dtype=["F32"])}, b"\0" * 4), "has dtype"),
        (packed({"a": row(shape=(-1,))}, b"\0" * 4), "no valid shape"),
        (packed({"a": row(shape=(True,))}, b"\0" * 4), "no valid shape"),
        (packed({"a": row(shape=(1.0,))}, b"\0" * 4), "no valid shape"),
        (packed({"a": row(shape=(1,) * 9)}, b"\0" * 4), "no valid shape"),
        (packed({"a": row(shape=(2**60,))}, b"\0" * 4), "no valid shape"),
        (packed({"a": row(offsets=(0, 4, 8))}, b"\0" * 8), "no valid data_offsets"),
        (packed({"a": row(offsets=(-4, 0))}, b"\0" * 4), "no valid data_offsets"),
        (packed({"a": row(offsets=(4, 0))}, b"\0" * 4), "needs 4 bytes; its data_offsets give -4"),
        (
            packed({"a": row(shape=(2,))}, b"\0" * 4),
            r"'a', F32 \[2\], needs 8 bytes; its data_offsets give 4",
        ),
        (packed({"a": row(offsets=(4, 8))}, b"\0" * 8), "'a' leaves a gap before it"),
        (packed({"a": row(), "b": row()}, b"\0" * 4), "'b' overlaps another"),
        (packed({"a": row()}, b"\0" * 5), "1 bytes more than its header describes"),
    ],
)
def test_a_wrong_header_is_refused_for_what_is_wrong(tmp_path, content, message):
    refused(write(tmp_path / "w.safetensors", content), message)


def test_an_error_quotes_only_the_beginning_of_a_long_name(tmp_path):
    path = write(tmp_path / "w.safetensors", packed({"x" * 1_000_000: row(shape=(2,))}, b"\0" * 4))
    with pytest.raises(BadCheckpoint) as caught:
        open_safetensors(path)
    assert len(str(caught.value)) < 500


def test_what_is_no_file_is_refused_at_once(tmp_path):
    refused(
        tmp_path / "absent.safetensors", "expected a safetensors file, but it cannot be opened: No such file"
    )
    refused(tmp_path, "not a regular file|Is a directory")
    os.mkfifo(tmp_path / "pipe.safetensors")
    refused(tmp_path / "pipe.safetensors", "not a regular file")


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, 2**20), value=st.integers(0, 255))
def test_one_changed_byte_is_refused_or_reads_as_safetensors_reads_it(tmp_path_factory, place, value):
    content = bytearray(save(WEIGHTS))
    content[place % len(content)] = value
    path = write(tmp_path_factory.mktemp("w") / "w.safetensors", bytes(content))
    try:
        file = open_safetensors(path)
    except BadCheckpoint:
        return
    with file:
        ours = {name: file.read(name) for name in file.entries}
    try:
        with safe_open(path, "pt") as other:
            theirs = {name: other.get_tensor(name) for name in other.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        # It also checks the types inside the metadata, which nothing here reads.
        assert "metadata" in str(error).lower()  # noqa: PT017
        return
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert tensor.dtype == theirs[name].dtype
        assert torch.equal(tensor.view(torch.uint8), theirs[name].view(torch.uint8))

"""Equal tensors become equal bytes, in a form that every reader of safetensors takes."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from node.pipeline.checkpoints.safe import open_safetensors
from node.pipeline.weights.canonical import write_tensors

TENSORS = {
    "wide": torch.arange(12, dtype=torch.float32).reshape(3, 4),
    "half": torch.linspace(-1, 1, 5).half(),
    "brain": torch.linspace(-1, 1, 7).to(torch.bfloat16),
    "one": torch.tensor(2.5),
    "none": torch.empty(0, 3),
    "ä": torch.ones(2, dtype=torch.float16),
}


def write(path, tensors, order=None):
    write_tensors(
        path,
        {name: tuple(tensor.shape) for name, tensor in tensors.items()},
        lambda name: str(tensors[name].dtype).removeprefix("torch."),
        [(name, tensors[name]) for name in order or tensors],
    )
    return path


def test_what_is_written_is_read_back_by_the_library_and_by_us(tmp_path):
    path = write(tmp_path / "x.safetensors", TENSORS)
    found = load_file(path)
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())
    with open_safetensors(path) as file:
        assert all(torch.equal(file.read(name), tensor) for name, tensor in TENSORS.items())
        # Each tensor begins at a multiple of its width, for readers that map the file.
        assert all(entry.begin % TENSORS[name].element_size() == 0 for name, entry in file.entries.items())


def test_the_order_in_which_tensors_come_does_not_matter(tmp_path):
    one = write(tmp_path / "one", TENSORS).read_bytes()
    other = write(tmp_path / "other", dict(reversed(TENSORS.items()))).read_bytes()
    assert one == other


def test_nothing_but_tensors_is_in_the_file(tmp_path):
    with safe_open(write(tmp_path / "x", TENSORS), framework="pt") as file:
        assert file.metadata() is None


def test_a_view_is_written_as_the_numbers_it_shows(tmp_path):
    base = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    path = write(tmp_path / "x", {"view": base.T})
    assert torch.equal(load_file(path)["view"], base.T)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], "1 tensors are missing, the first is a"),
        ([("a", torch.zeros(2)), ("a", torch.zeros(2))], "a is not one of"),
        ([("b", torch.zeros(2))], "b is not one of"),
        ([("a", torch.zeros(3))], r"float32 \(2,\) was expected"),
        ([("a", torch.zeros(2).half())], r"a is torch.float16"),
    ],
)
def test_anything_but_every_tensor_once_is_refused(tmp_path, given, told):
    with pytest.raises(ValueError, match=told):
        write_tensors(tmp_path / "x", {"a": (2,)}, lambda _name: "float32", given)

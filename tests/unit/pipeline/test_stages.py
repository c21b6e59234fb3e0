"""Stages survive, and are not believed when they are torn, foreign or changed."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from node.pipeline.stages import StageStore


class Computation:
    """Counts how often it runs."""

    def __init__(self, value):
        self.value = value
        self.runs = 0

    def __call__(self):
        self.runs += 1
        return self.value

    def write(self, folder):
        self.runs += 1
        (folder / "a").mkdir()
        (folder / "a" / "frame_1.png").write_bytes(b"picture")
        return ["a/frame_1.png"]


@pytest.fixture
def compute():
    return Computation(torch.arange(6.0).reshape(2, 3).T)


def test_a_finished_tensor_is_read_and_not_computed_again(tmp_path, compute):
    first = StageStore(tmp_path, "key")
    second = StageStore(tmp_path, "key")
    assert torch.equal(first.tensor("x", compute), second.tensor("x", compute))
    assert compute.runs == 1
    assert first.hashes == second.hashes
    assert len(first.hashes["x"]) == 64


def test_a_stage_of_another_job_or_class_is_computed_again(tmp_path, compute):
    StageStore(tmp_path, "key").tensor("x", compute)
    StageStore(tmp_path, "other").tensor("x", compute)
    assert compute.runs == 2


@pytest.mark.parametrize("name", ["x.safetensors", "x.json"])
@pytest.mark.parametrize("damage", ["torn", "{}", "[]", ""])
def test_a_damaged_stage_is_computed_again(tmp_path, compute, name, damage):
    StageStore(tmp_path, "key").tensor("x", compute)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:30] if damage == "torn" else damage.encode())
    assert torch.equal(StageStore(tmp_path, "key").tensor("x", compute), compute.value)
    assert compute.runs == 2


def test_files_are_kept_until_one_of_them_changes(tmp_path, compute):
    written = StageStore(tmp_path, "key").files("f", compute.write)
    assert StageStore(tmp_path, "key").files("f", compute.write) == written
    assert compute.runs == 1
    (tmp_path / "files" / "f" / "a" / "frame_1.png").write_bytes(b"another")
    assert StageStore(tmp_path, "key").files("f", compute.write) == written
    assert compute.runs == 2


def test_a_kept_tensor_is_found_by_whoever_asks_and_hashed_by_its_numbers_alone(tmp_path):
    frames = torch.arange(24, dtype=torch.uint8).reshape(2, 2, 2, 3)
    store = StageStore(tmp_path, "key")
    assert store.find("frames") is None
    assert store.hashes == {}
    store.keep("frames", frames)
    assert store.hashes == {"frames": hashlib.sha256(bytes(range(24))).hexdigest()}
    again = StageStore(tmp_path, "key")
    assert torch.equal(again.find("frames"), frames)
    assert again.hashes == store.hashes
    assert StageStore(tmp_path, "other").find("frames") is None


def test_stages_may_be_kept_from_several_threads_at_once(tmp_path):
    store = StageStore(tmp_path, "key")

    def keep(number):
        store.keep(f"frames_{number}", torch.full((4,), float(number)))
        return store.files(f"files_{number}", Computation(None).write)

    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(keep, range(8)))) == 8
    for number in range(8):
        assert torch.equal(
            StageStore(tmp_path, "key").find(f"frames_{number}"), torch.full((4,), float(number))
        )


def test_numbers_that_are_only_compared_are_noted_once_and_hashed_in_order(tmp_path):
    parts = Computation((torch.arange(3.0), torch.arange(2.0)))
    first = StageStore(tmp_path, "key")
    first.digest("conditioning", parts)
    numbers = torch.cat([torch.arange(3.0), torch.arange(2.0)]).numpy()
    assert first.hashes == {"conditioning": hashlib.sha256(numbers.tobytes()).hexdigest()}
    again = StageStore(tmp_path, "key")
    again.digest("conditioning", parts)
    assert (again.hashes, parts.runs) == (first.hashes, 1)
    StageStore(tmp_path, "other").digest("conditioning", parts)
    assert parts.runs == 2


@pytest.mark.parametrize("damage", ["", "[]", '{"key": "key", "sha256": {"numbers": 5}}'])
def test_a_damaged_note_is_made_again(tmp_path, damage):
    parts = Computation((torch.arange(3.0),))
    StageStore(tmp_path, "key").digest("conditioning", parts)
    (tmp_path / "conditioning.json").write_text(damage)
    StageStore(tmp_path, "key").digest("conditioning", parts)
    assert parts.runs == 2

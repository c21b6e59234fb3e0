"""Toy weights: made once, made again when they or their recipe change, and by one process at a time."""

import json
import multiprocessing
from pathlib import Path

import pytest

from node.pipeline import toy
from node.pipeline.determinism import read_hashes

pytestmark = [pytest.mark.integration, pytest.mark.slow]

WEIGHTS = "still/unet/model.safetensors"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models") / "tiny"
    toy.ensure(directory)
    return directory


def made_at(directory):
    return (directory / WEIGHTS).stat().st_mtime_ns


def only_the_weights_are_left(directory):
    return [path.name for path in directory.parent.iterdir() if path.is_dir()] == [directory.name]


def test_whole_weights_are_left_alone(made):
    before = made_at(made)
    toy.ensure(made)
    assert made_at(made) == before


def test_damaged_weights_are_made_again_and_come_out_alike(made):
    content = (made / WEIGHTS).read_bytes()
    (made / WEIGHTS).write_bytes(content[:-1] + b"x")
    toy.ensure(made)
    assert (made / WEIGHTS).read_bytes() == content
    assert only_the_weights_are_left(made)


def test_weights_of_an_older_recipe_are_made_again_and_their_hashes_do_not_tell_of_it(made):
    hashes, before = read_hashes(made), made_at(made)
    origin = json.loads((made / "origin.json").read_text())
    (made / "origin.json").write_text(json.dumps(origin | {"recipe": "an older one"}))
    leftover = made.parent / ".tiny-of-a-crash"
    leftover.mkdir()
    toy.ensure(made)
    assert made_at(made) != before
    assert json.loads((made / "origin.json").read_text()) == origin
    assert read_hashes(made) == hashes
    assert only_the_weights_are_left(made)


def test_the_recipe_follows_the_code_and_its_tables(monkeypatch, tmp_path):
    recipe = toy.recipe()
    edited = tmp_path / "toy_configs.py"
    edited.write_bytes(Path(toy.toy_configs.__file__).read_bytes().replace(b"_WIDTH = 32", b"_WIDTH = 64"))
    monkeypatch.setattr(toy.toy_configs, "__file__", str(edited))
    assert toy.recipe() != recipe


def test_two_processes_at_once_make_one_set_of_weights(tmp_path):
    directory = tmp_path / "models" / "tiny"
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(toy.ensure, [directory] * 2)
    made = made_at(directory)
    toy.ensure(directory)
    assert made_at(directory) == made
    assert only_the_weights_are_left(directory)

"""One set of toy weights and one loaded pipeline for all tests of this folder."""

import pytest

from node.job.spec import parse_inputs
from node.pipeline.determinism import weights_hashes
from node.pipeline.profiles import load_profile
from node.pipeline.renderer import Renderer
from node.publisher.unixfs import cid_of
from tests.repeats.small import small_renderer


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """Where the toy weights are made."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def renderer(data_dir):
    """The tiny profile in this process."""
    return Renderer.load(load_profile("tiny"), data_dir)


@pytest.fixture(scope="session")
def small(renderer, data_dir):
    """The same models for short clips of few pixels."""
    return small_renderer(renderer, weights_hashes(load_profile("tiny").directory(data_dir)))


@pytest.fixture(scope="session")
def short_job():
    """Read a job of few steps; named inputs override."""

    def read(**inputs):
        few = {"Prompt": "a cow", "Steps": "5", "VideoSteps": "5"}
        return parse_inputs("sdv-pipeline:v1.1-lilypad2", few | inputs)

    return read


@pytest.fixture(scope="session")
def reference(renderer, short_job, tmp_path_factory):
    """The result directory and CID of the plain short job."""
    finished = renderer.render(short_job(), tmp_path_factory.mktemp("reference"), lambda _progress: None)
    return finished.directory, cid_of(finished.directory)


@pytest.fixture(scope="session")
def small_reference(small, short_job, tmp_path_factory):
    """The result directory and CID of the plain short job with little to compute."""
    finished = small.render(short_job(), tmp_path_factory.mktemp("small"), lambda _progress: None)
    return finished.directory, cid_of(finished.directory)

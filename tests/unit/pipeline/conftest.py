"""The toy networks, made once for all tests of this folder, and torch on one thread."""

import dataclasses

import pytest


@pytest.fixture(scope="session")
def tiny_profile():
    """The tiny profile at small sizes: latents of 8 x 8 for the still, of 8 x 12 for a clip of 3 frames."""
    from node.pipeline.profiles import load_profile

    return dataclasses.replace(load_profile("tiny"), still_size=64, clip_width=96, clip_height=64, frames=3)


@pytest.fixture(scope="session")
def tiny_directory(tmp_path_factory):
    """The tiny profile's weights on disk."""
    from node.pipeline import toy

    directory = tmp_path_factory.mktemp("models") / "tiny"
    toy.ensure(directory)
    return directory


@pytest.fixture(scope="session")
def tiny_models(tiny_profile, tiny_directory):
    """Every network of the tiny profile, as a worker loads it."""
    from node.pipeline.models import load_models

    return load_models(tiny_profile, tiny_directory)


@pytest.fixture(scope="module")
def one_thread():
    """Tensors this small only wait for each other on several threads."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)

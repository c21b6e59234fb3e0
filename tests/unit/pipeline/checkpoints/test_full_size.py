"""The real networks' names, from originals built at full size without memory, in files full of holes."""

import json
import math

import pytest
import torch

from node.pipeline.checkpoints.architectures import CONFIGS, SIZES
from node.pipeline.checkpoints.single_file import open_single_file
from tests.unit.pipeline.checkpoints.sgm.published import sdxl, svd

PUBLISHED_SVD_BYTES = 9_559_625_980


def hollow(path, networks):
    """Write the header of a float32 file as safetensors does, and make the file as long as it must be."""
    header, place = {}, 0
    for name, shape in sorted(networks.items()):
        size = 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + place)
    return path


def shapes_of(make):
    with torch.device("meta"):
        networks = make(CONFIGS)
    return {
        prefix + name: tuple(tensor.shape)
        for prefix, network in networks.items()
        for name, tensor in network.state_dict().items()
    }


@pytest.mark.parametrize(("make", "kind", "places"), [(sdxl, "sdxl", 4), (svd, "svd", 3)])
def test_every_name_of_the_full_size_file_belongs_to_one_tensor_of_the_classes(tmp_path, make, kind, places):
    path = hollow(tmp_path / f"{kind}.safetensors", shapes_of(make))
    with open_single_file(path) as single:
        assert single.kind == kind
        assert len(single.paths) == places
        for network in single.paths:
            component = single.component(network)
            assert sum(math.prod(shape) for shape in component.shapes.values()) == SIZES[network]
            stored = [(origin.name, origin.change) for origin in component.origins.values() if origin.file]
            assert len(set(stored)) == len(stored)
        if kind == "svd":
            # One tensor more or less in the originals would show in the length of the published file.
            assert path.stat().st_size == PUBLISHED_SVD_BYTES

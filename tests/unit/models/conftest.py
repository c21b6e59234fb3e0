"""A small profile on the disk, without networks: files of known bytes and their record."""

import hashlib

import pytest

from node.pipeline.profiles import load_profiles
from node.pipeline.weights.layout import expected_files
from node.pipeline.weights.records import describe, write_record

TABLE = """
[small]
made_here = false
still = "one"
clip = "two"
device = "cpu"
precision = "float16"
vae_precision = "bfloat16"
kernels = "eager"
swapped_memory_gb = 0.0
memory_gb = 0.0
serves = ["sdv-1.0"]
threads = 1
still_size = 64
clip_width = 96
clip_height = 64
frames = 2
"""
SOURCE = """
[sources.{name}]
repository = "lab/{name}"
revision = "{revision}"
gated = false
licence = "none"
single_file = {{ name = "{name}.safetensors", bytes = 0, sha256 = "" }}
[sources.{name}.files]
"unet/config.json" = {{ part = "unet", bytes = 0, sha256 = "" }}
"unet/model.safetensors" = {{ part = "unet", bytes = 0, sha256 = "{sha256}" }}
"""
PINNED = hashlib.sha256(b"pinned").hexdigest()


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "models.toml"
    sources = [("one", "1"), ("two", "2")]
    text = "".join(SOURCE.format(name=name, revision=40 * digit, sha256=PINNED) for name, digit in sources)
    path.write_text(TABLE + text, encoding="utf-8")
    return path


@pytest.fixture
def profile(table):
    return load_profiles(table)["small"]


@pytest.fixture
def data_dir(tmp_path, profile):
    """A data directory in which the profile is complete."""
    directory = profile.directory(tmp_path / "data")
    for path in expected_files(profile):
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(b"\x08\0\0\0\0\0\0\0{}      " + path.encode())
    sources = {
        group: {
            "source": source.name,
            "revision": source.revision,
            "files": {"unet/model.safetensors": {"sha256": PINNED, "bytes": 6}},
        }
        for group, source in profile.sources.items()
    }
    files = {path: describe(directory / path) for path in expected_files(profile)}
    write_record(directory, profile, sources, files)
    return tmp_path / "data"

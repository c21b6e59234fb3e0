"""The ``tiny`` profile's weights: the real classes at toy size, filled from one fixed seed on first use.

Owns the toy configurations, the toy vocabulary and the writing; ``models`` loads the result like any other
profile. Every parameter is drawn by name from a generator of our own, so that the weights do not depend on
the order in which constructors run.
"""

import hashlib
import json
import math
import os
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from node.locking import locked
from node.pipeline import toy_configs, toy_pictures
from node.pipeline.checkpoints.networks import build
from node.pipeline.results import sync_directory
from node.pipeline.toy_configs import CONFIGS, vocabulary_files
from node.pipeline.toy_pictures import arrange

_ORIGIN = "origin.json"
_INGREDIENTS = ("torch", "safetensors", "diffusers", "transformers")


def recipe() -> str:
    """Return a digest of everything the weights are made from: this code, its tables and its libraries."""
    digest = hashlib.sha256()
    for source in (__file__, toy_configs.__file__, toy_pictures.__file__):
        digest.update(hashlib.sha256(Path(source).read_bytes()).digest())
    for library in _INGREDIENTS:
        digest.update(f"{library} {version(library)}\n".encode())
    return digest.hexdigest()


def ensure(directory: Path) -> None:
    """Make the weights in ``directory`` unless they are there, whole and made by the recipe of this version.

    Safe when several processes call it at once, and a crash leaves no half-made directory.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    with locked(directory.parent / f".{directory.name}.lock"):
        if _whole(directory):
            return
        for leftover in directory.parent.glob(f".{directory.name}-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        workshop = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
        try:
            _make(workshop / "fresh")
            if directory.exists():
                directory.rename(workshop / "replaced")
            (workshop / "fresh").rename(directory)
            sync_directory(directory.parent)
        finally:
            shutil.rmtree(workshop, ignore_errors=True)


def _whole(directory: Path) -> bool:
    try:
        origin = json.loads((directory / _ORIGIN).read_text(encoding="utf-8"))
        files = origin["files"]
        return bool(
            origin["recipe"] == recipe()
            and all(_sha256(directory / name) == digest for name, digest in files.items())
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _make(directory: Path) -> None:
    for path, config in CONFIGS.items():
        network = build(path, config)
        _draw(network, path)
        folder = directory / path
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True), encoding="utf-8")
        weights = {name: value.detach().contiguous() for name, value in network.state_dict().items()}
        save_file(weights, folder / "model.safetensors")
    for path, text in vocabulary_files().items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text, encoding="utf-8")
    files = {
        str(path.relative_to(directory)): _sha256(path)
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
    origin = {"made_by": "sdv-node toy weights", "recipe": recipe(), "files": files}
    (directory / _ORIGIN).write_text(json.dumps(origin, indent=1), encoding="utf-8")
    for made in directory.rglob("*"):
        if made.is_file():
            with made.open("rb") as written:
                os.fsync(written.fileno())


def _draw(network: nn.Module, path: str) -> None:
    for name, parameter in network.named_parameters():
        seed = int.from_bytes(hashlib.sha256(f"{path}/{name}".encode()).digest()[:4], "big")
        noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed))
        parameter.data.copy_(_value(name, noise))
    arrange(path, {name: parameter.data for name, parameter in network.named_parameters()})


def _value(name: str, noise: torch.Tensor) -> torch.Tensor:
    if noise.ndim >= 2:
        return noise / math.sqrt(noise[0].numel())
    if name.endswith("mix_factor"):
        return torch.zeros_like(noise)
    if "norm" in name and name.endswith("weight"):
        return torch.ones_like(noise)
    return 0.1 * noise


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

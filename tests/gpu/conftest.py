"""Where the GPU's tests compute: reduced networks of the real classes on a card, toy ones on the CPU.

The bodies that need no card run on the CPU as well, at the smallest size, so that they are known to work
where there is none. Weights are random, made on the device; nothing is downloaded.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

CUDA = pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.slow])


def need_cuda():
    """Skip the test unless torch sees a card."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")


@dataclass(frozen=True)
class Place:
    """A device, the networks to use there, and what a process of the benchmark is told to run the same."""

    device: str
    document: dict[str, Any]
    scale: Any

    @property
    def cuda(self):
        return self.device == "cuda"

    def request(self, **changes):
        from scripts.benchmarks.pipeline.child import read_request

        return replace(read_request(self.document | changes), scale=self.scale)

    def job(self, **changes):
        from scripts.benchmarks.pipeline.jobs import OwnJob

        return OwnJob(self.request(**changes))


@pytest.fixture(scope="session")
def process_environment():
    """The environment of a worker: what is read when the card is first used must be there before that."""
    from node.pipeline.environment import ENVIRONMENT

    with pytest.MonkeyPatch.context() as patch:
        for name in [
            name for name in os.environ if name.startswith(("TORCH", "PYTORCH_", "CUBLAS", "CUDNN"))
        ]:
            patch.delenv(name)
        for name, text in ENVIRONMENT.items():
            patch.setenv(name, text)
        yield


def make_place(device, cache: Path):
    import torch

    from scripts.benchmarks.pipeline.networks import SMALL, TINY
    from scripts.benchmarks.pipeline.switches import configure

    dtype = "bfloat16" if device == "cuda" else "float32"
    scale = (
        SMALL if device == "cuda" else replace(TINY, still_size=64, clip_width=64, clip_height=64, frames=3)
    )
    document = {
        "leg": "repeat",
        "device": device,
        "scale": scale.name,
        "dtype": dtype,
        "contenders": ["ours"],
        "rewrites": None,
        "steps": 4,
        "rounds": 1,
        "job_steps": 5,
        "compile_on_cpu": False,
        "cache": str(cache),
    }
    configure(scale, torch.device(device), getattr(torch, dtype), "eager")
    return Place(device, document, scale)


@pytest.fixture(scope="session", params=["cpu", CUDA])
def place(request, process_environment, tmp_path_factory):
    """A CPU and, where there is one, a card."""
    if request.param == "cuda":
        need_cuda()
    return make_place(request.param, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def card(process_environment, tmp_path_factory):
    """A card, for what a CPU cannot show."""
    need_cuda()
    return make_place("cuda", tmp_path_factory.mktemp("cache"))


@pytest.fixture
def inference():
    """The mode that jobs run in, and the card's memory given back afterwards."""
    import torch

    from scripts.benchmarks.pipeline.measuring import release

    with torch.inference_mode():
        yield
    release(torch.device("cuda" if torch.cuda.is_available() else "cpu"))

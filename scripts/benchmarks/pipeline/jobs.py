"""Whole jobs: still, its decode, clip, its decode, frames on the CPU. Files are another leg's matter.

Ours is the pipeline's own code from the spec to the frames; diffusers gets embeddings instead of a prompt, so
its text encoders, which take a millisecond of a GPU, are not in its time.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from node.job.modules import NEWEST
from node.job.spec import JobSpec, parse_inputs
from node.pipeline import clip, still
from node.pipeline.models import Models, load_models
from node.pipeline.profiles import Profile
from node.pipeline.residency import SetName
from scripts.benchmarks.pipeline import files, stock
from scripts.benchmarks.pipeline.child import Request
from scripts.benchmarks.pipeline.measuring import Clock, digest, peaks, release
from scripts.benchmarks.pipeline.networks import build
from scripts.benchmarks.pipeline.own import make_models
from scripts.benchmarks.pipeline.processes import run_leg
from scripts.benchmarks.pipeline.switches import profile

Tensor = torch.Tensor
_CHUNK = 8
# The pipeline takes no fewer steps; one job of so many steps warms every kernel up.
LEAST_STEPS = 5


def run(request: Request, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Run each contender in a process of its own: warm after a first job, or cold from files."""
    if request.part is not None:
        return _cold(request) if request.leg == "cold" else _warm(request)
    found: dict[str, Any] = {"steps": request.job_steps, "contenders": {}}
    with tempfile.TemporaryDirectory(dir=_room(request)) as folder:
        for name in ("eager", "compiled", "ours"):
            if not request.wants(name):
                continue
            document = request.document | {"part": name, "folder": folder}
            if request.leg == "cold":
                files.write(request, name, Path(folder) / name)
                release(request.device)
            found["contenders"][name] = run_leg(document, request.cache)
            keep(found)
    return found


def _room(request: Request) -> Path:
    request.cache.mkdir(parents=True, exist_ok=True)
    return request.cache


def _warm(request: Request) -> dict[str, Any]:
    job: Any = OwnJob(request) if request.part == "ours" else StockJob(request)
    first = Clock(request.device).seconds(lambda: job.run(LEAST_STEPS))
    stages: dict[str, float] = {}
    frames: list[Tensor] = []
    warm = Clock(request.device).seconds(lambda: frames.append(job.run(request.job_steps, stages)))
    return peaks(request.device) | {
        "first_s": round(first, 2),
        "warm_s": round(warm, 3),
        "stages": {name: round(seconds, 3) for name, seconds in stages.items()},
        "frames": digest(frames[0]),
    }


def _cold(request: Request) -> dict[str, Any]:
    folder = Path(request.document["folder"]) / str(request.part)
    clock = Clock(request.device)
    made: list[Any] = []
    if request.part == "ours":
        loading = clock.seconds(lambda: made.append(OwnJob(request, folder)))
    else:
        loading = clock.seconds(lambda: made.append(StockJob(request, folder)))
    computing = clock.seconds(lambda: made[0].run(request.job_steps))
    return peaks(request.device) | {"load_s": round(loading, 2), "job_s": round(computing, 2)}


class OwnJob:
    """Our pipeline with random weights, made here or read from files of a profile's layout.

    ``enter`` is told which set of models the next stages need.
    """

    def __init__(self, request: Request, folder: Path | None = None) -> None:
        self._clock = Clock(request.device)
        self.profile = profile(request.scale, request.device, request.dtype, request.kernels)
        self.enter: Callable[[SetName], None] = _nothing_to_bring
        self.models: Models = (
            make_models(request.scale, self.profile) if folder is None else load_models(self.profile, folder)
        )

    def run(self, steps: int, stages: dict[str, float] | None = None, *, seed: int = 42) -> Tensor:
        """Return the frames [F, H, W, 3] uint8 on the CPU; put the seconds of each stage into ``stages``."""
        parts = self._compute(steps, {} if stages is None else stages, seed)
        return parts["frames"]

    def traced(self, steps: int) -> dict[str, str]:
        """Return the hashes of what every evaluation of both UNets was shown and of each stage's result."""
        seen: dict[str, list[str]] = {}
        for name, runner in (("still", self.models.still_unet), ("clip", self.models.clip_unet)):
            seen[name] = runner.seen = []
        trace = {name: digest(tensor) for name, tensor in self._compute(steps, {}, 42).items()}
        for name, hashes in seen.items():
            trace |= {f"{name}, evaluation {number}": one for number, one in enumerate(hashes, 1)}
        for runner in (self.models.still_unet, self.models.clip_unet):
            runner.seen = None
        return trace

    def _compute(self, steps: int, stages: dict[str, float], seed: int) -> dict[str, Tensor]:
        spec = _spec(steps, seed)
        parts: dict[str, Tensor] = {}
        models, shown = self.models, self.profile
        self.enter("still")

        def sampled_still() -> Tensor:
            return still.sample_latents(models, shown, spec, still.conditioning(models, spec), _silent)

        def sampled_clip() -> Tensor:
            conditioned = clip.conditioning(models, shown, spec, parts["still decode"], 0)
            return clip.sample_latents(models, shown, spec, conditioned, _silent)

        def stage(name: str, compute: Callable[..., Tensor], *arguments: object) -> None:
            stages[name] = self._clock.seconds(lambda: parts.update({name: compute(*arguments)}))

        stage("still", sampled_still)
        stage("still decode", still.decode, models, parts["still"])
        self.enter("clip")
        stage("clip", sampled_clip)
        stage("clip decode", clip.decode, models, parts["clip"])
        stage("frames", Tensor.cpu, parts["clip decode"])
        return parts


class StockJob:
    """diffusers' two pipelines one after the other, as a script of a user would run them."""

    def __init__(self, request: Request, folder: Path | None = None) -> None:
        self._clock, self._scale = Clock(request.device), request.scale
        if folder is None:
            parts = {
                path: build(request.scale, path, request.device, request.dtype)
                for path in ("still/unet", "still/vae", "clip/unet", "clip/vae", "clip/image_encoder")
            }
            self._still = stock.still_pipeline(parts["still/unet"], parts["still/vae"])
            self._clip = stock.clip_pipeline(
                parts["clip/unet"], parts["clip/vae"], parts["clip/image_encoder"]
            )
        else:
            self._still, self._clip = files.read_stock(folder, request.device, request.dtype)
        self._prompt = stock.embeddings(request.scale, self._still.unet)
        if request.part == "compiled":
            for pipe in (self._still, self._clip):
                pipe.unet = torch.compile(pipe.unet, dynamic=False)

    def run(self, steps: int, stages: dict[str, float] | None = None) -> Tensor:
        """Return the frames [1, F, 3, H, W] on the CPU; put the seconds of each pipeline into ``stages``."""
        found: dict[str, Any] = {}
        stages = {} if stages is None else stages
        stages["still"] = self._clock.seconds(
            lambda: found.update(
                still=stock.run_still(self._still, self._scale, self._prompt, steps, decode=True)
            )
        )
        stages["clip"] = self._clock.seconds(
            lambda: found.update(
                frames=stock.run_clip(self._clip, self._scale, found["still"], steps, chunk=_CHUNK)
            )
        )
        frames: Tensor = found["frames"].cpu()
        return frames


def _spec(steps: int, seed: int) -> JobSpec:
    inputs = {"Prompt": "a red fox in snow at dawn", "Steps": steps, "VideoSteps": steps}
    seeds = {"Seed": seed, "VideoSeed": seed}
    return parse_inputs(NEWEST.canonical, {name: str(value) for name, value in (inputs | seeds).items()})


@torch.inference_mode(mode=False)
def _load(profile: Profile, folder: Path) -> Models:
    return load_models(profile, folder)


def _nothing_to_bring(_models: SetName) -> None:
    pass


def _silent(_done: int, _steps: int) -> None:
    pass

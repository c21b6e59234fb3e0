"""What a loop costs per step when its network answers at once: everything that is not the network.

The networks are stubs. Latents have their real size, so that the arithmetic on them counts, and toy size,
where the steps of the program do.
"""

import statistics
from collections.abc import Callable
from typing import Any

import torch

from scripts.benchmarks.pipeline import own, stock
from scripts.benchmarks.pipeline.child import Request
from scripts.benchmarks.pipeline.measuring import Clock, in_turns, summary
from scripts.benchmarks.pipeline.networks import FULL, TINY, Scale, build, normals

_STEPS = 30
_ROUNDS = 5


def run(request: Request, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Return each loop's time per step, both loops in turns, and their ratio."""
    device = request.device
    found: dict[str, Any] = {"steps": _STEPS, "rounds": _ROUNDS, "loops": {}}
    vae = build(TINY, "clip/vae", device, torch.float32)
    eyes = build(TINY, "clip/image_encoder", device, torch.float32)
    pairs = {
        f"{name}, {scale.name} size": pair
        for scale in (FULL, TINY)
        for name, pair in (
            ("SVD, euler", _clip(scale, device, vae, eyes)),
            ("SDXL, euler", _still(scale, device, vae, ancestral=False)),
            ("SDXL, euler_ancestral", _still(scale, device, vae, ancestral=True)),
        )
    }
    for name, (theirs, ours) in pairs.items():
        clock = Clock(device)
        turns = {
            "diffusers": lambda run=theirs, clock=clock: _times(clock, run),
            "ours": lambda run=ours, clock=clock: _times(clock, run),
        }
        for warm_up in turns.values():
            warm_up()
        times = in_turns(turns, _ROUNDS)
        medians = {who: statistics.median(values) for who, values in times.items()}
        found["loops"][name] = {who: summary(values) for who, values in times.items()} | {
            "ratio": round(medians["ours"] / medians["diffusers"], 3)
        }
        keep(found)
    return found


def _times(clock: Clock, loop: Callable[[Callable[[], None]], Any]) -> list[float]:
    marks: list[Any] = []
    loop(lambda: marks.append(clock.mark()))
    return clock.gaps_ms(marks)


def _clip(
    scale: Scale, device: torch.device, vae: Any, eyes: Any
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    frames, channels, height, width = scale.clip_latents
    stub = stock.StubUnet(
        normals(2, frames, channels, height, width, seed=3).to(device),
        channels=8,
        text_width=TINY.configs["clip/unet"]["cross_attention_dim"],
        time_width=scale.configs["clip/unet"]["projection_class_embeddings_input_dim"],
    )
    pipe = stock.clip_pipeline(stub, vae, eyes)
    still = stock.picture(scale.clip_width, scale.clip_height)
    vision, still_latent = own.clip_conditioning(scale, device)

    def theirs(end: Callable[[], None]) -> None:
        stock.run_clip(pipe, scale, still, _STEPS, stock.at_step_end(end))

    def ours(end: Callable[[], None]) -> None:
        own.run_clip(stub, scale, vision, still_latent, _STEPS, lambda *_: end(), sampler="euler")

    return theirs, ours


def _still(
    scale: Scale, device: torch.device, vae: Any, *, ancestral: bool
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    _, channels, height, width = scale.still_latents
    config = scale.configs["still/unet"]
    stub = stock.StubUnet(
        normals(2, channels, height, width, seed=4).to(device),
        channels=4,
        text_width=config["cross_attention_dim"],
        time_width=config["projection_class_embeddings_input_dim"],
    )
    pipe = stock.still_pipeline(stub, vae, ancestral=ancestral)
    prompt = stock.embeddings(scale, stub)
    sampler = "euler_ancestral" if ancestral else "euler"

    def theirs(end: Callable[[], None]) -> None:
        stock.run_still(pipe, scale, prompt, _STEPS, stock.at_step_end(end))

    def ours(end: Callable[[], None]) -> None:
        own.run_still(stub, scale, prompt, _STEPS, lambda *_: end(), sampler=sampler)

    return theirs, ours

"""The step of a UNet's loop: diffusers eager, diffusers compiled, ours; on one set of weights, in turns.

A step is what lies between the ends of two steps of a whole loop: the guided network, the guidance and the
sampler's arithmetic. The first one of each run also pays for the conditioning and is left out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from scripts.benchmarks.pipeline import own, stock
from scripts.benchmarks.pipeline.child import Request
from scripts.benchmarks.pipeline.measuring import (
    Clock,
    difference,
    digest,
    in_turns,
    median_ms,
    release,
    summary,
)
from scripts.benchmarks.pipeline.networks import build, clip_inputs, fingerprint, flops, still_inputs

Tensor = torch.Tensor
Run = Callable[[int, Callable[[], None]], Tensor]
"""``run(steps, at_step_end)`` returns the latents."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way of computing the same steps, and one call of its network alone."""

    run: Run
    call: Callable[[], Tensor]


def run(request: Request, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Return the figures of one model's step."""
    still = request.leg == "still"
    clock = Clock(request.device)
    unet = build(request.scale, "still/unet" if still else "clip/unet", request.device, request.dtype)
    arguments, keywords = (still_inputs if still else clip_inputs)(request.scale, unet)
    work = flops(unet, *arguments, **keywords)
    found: dict[str, Any] = {
        "tflop": work / 1e12,
        "weights": fingerprint(unet),
        "size": [request.scale.still_size] * 2 if still else [request.scale.clip_width, request.scale.clip_height],
        "contenders": {},
    }  # fmt: skip
    makers = (still_contenders if still else clip_contenders)(request, unet)
    contenders: dict[str, Contender] = {}
    for name, make in makers.items():
        figures = found["contenders"][name] = {}
        try:
            made: list[Contender] = []
            figures["prepared_s"] = round(clock.seconds(lambda make=make, made=made: made.append(make())), 2)
            warm_up = made[0]
            figures["first_run_s"] = round(clock.seconds(lambda one=warm_up: one.run(2, _nothing)), 2)
            contenders[name] = warm_up
        except Exception as error:  # noqa: BLE001 - the others can still be measured
            figures["error"] = f"{type(error).__name__}: {str(error)[:300]}"
        keep(found)
    release(request.device)
    turns = {name: lambda one=one: _step_times(clock, one, request.steps) for name, one in contenders.items()}
    for name, times in in_turns(turns, request.rounds).items():
        found["contenders"][name] |= summary(times)
    keep(found)
    reference = None
    for name, contender in contenders.items():
        figures = found["contenders"][name]
        figures["network_ms"] = round(median_ms(clock, contender.call, repeats=6), 4)
        figures["network_tflops"] = round(work / figures["network_ms"] / 1e9, 2)
        output = contender.call().clone()
        figures["finite"] = bool(output.isfinite().all())
        figures["latents"] = digest(contender.run(2, _nothing))
        reference = output if reference is None else reference
        figures["against_first"] = difference(reference, output)
    return found


def _nothing() -> None:
    pass


def _step_times(clock: Clock, contender: Contender, steps: int) -> list[float]:
    marks: list[Any] = []
    contender.run(steps, lambda: marks.append(clock.mark()))
    return clock.gaps_ms(marks)


def still_contenders(request: Request, unet: Any) -> dict[str, Callable[[], Contender]]:
    """Return how to make each contender of SDXL's step from the stock network or from equal weights."""
    scale, prompt = request.scale, stock.embeddings(request.scale, unet)
    arguments, keywords = still_inputs(scale, unet)
    vae = build(scale, "still/vae", request.device, request.dtype)

    def diffusers(*, compiled: bool) -> Contender:
        pipe = stock.still_pipeline(unet, vae)
        if compiled:
            pipe.unet = torch.compile(unet, dynamic=False)
        return Contender(
            lambda steps, end: stock.run_still(pipe, scale, prompt, steps, stock.at_step_end(end)),
            lambda: pipe.unet(*arguments, **keywords)[0],
        )

    def ours() -> Contender:
        network = own.still_network(scale, request.device, request.dtype, request.kernels)
        return Contender(
            lambda steps, end: own.run_still(network, scale, prompt, steps, lambda *_: end()),
            own.still_call(network, arguments, keywords),
        )

    return _chosen(request, diffusers, ours)


def clip_contenders(request: Request, unet: Any) -> dict[str, Callable[[], Contender]]:
    """Return how to make each contender of SVD's step from the stock network or from equal weights."""
    scale = request.scale
    arguments, keywords = clip_inputs(scale, unet)
    vae = build(scale, "clip/vae", request.device, request.dtype)
    eyes = build(scale, "clip/image_encoder", request.device, request.dtype)
    still = stock.picture(scale.clip_width, scale.clip_height)
    vision, latent = own.clip_conditioning(scale, request.device)

    def diffusers(*, compiled: bool) -> Contender:
        pipe = stock.clip_pipeline(unet, vae, eyes)
        if compiled:
            pipe.unet = torch.compile(unet, dynamic=False)
        return Contender(
            lambda steps, end: stock.run_clip(pipe, scale, still, steps, stock.at_step_end(end)),
            lambda: pipe.unet(*arguments, **keywords)[0],
        )

    def ours() -> Contender:
        network = own.clip_network(scale, request.device, request.dtype, request.kernels)
        return Contender(
            lambda steps, end: own.run_clip(network, scale, vision, latent, steps, lambda *_: end()),
            own.clip_call(network, arguments, scale.frames),
        )

    return _chosen(request, diffusers, ours)


def _chosen(
    request: Request, diffusers: Callable[..., Contender], ours: Callable[[], Contender]
) -> dict[str, Callable[[], Contender]]:
    every: dict[str, Callable[[], Contender]] = {
        "eager": lambda: diffusers(compiled=False),
        "compiled": lambda: diffusers(compiled=True),
        "ours": ours,
    }
    return {name: make for name, make in every.items() if request.wants(name)}

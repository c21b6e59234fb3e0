"""Decoding 25 frames: diffusers in one call, diffusers in chunks of 8 (another picture), ours."""

from collections.abc import Callable
from typing import Any

import torch

from node.pipeline.acceleration.decoder import decode_clip
from node.pipeline.acceleration.vae_attention import prepare_vae
from scripts.benchmarks.pipeline.child import Request
from scripts.benchmarks.pipeline.measuring import Clock, difference, digest, in_turns, peaks, release, summary
from scripts.benchmarks.pipeline.networks import build, normals
from scripts.benchmarks.pipeline.switches import vae_dtype

Tensor = torch.Tensor
_CHUNK = 8


def run(request: Request, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Return time, peak memory and agreement of each way to decode a clip, and the still's decode."""
    device, clock = request.device, Clock(request.device)
    vae, own_vae = (build(request.scale, "clip/vae", device, vae_dtype(request.dtype)) for _ in range(2))
    prepare_vae(own_vae)
    latents = normals(*request.scale.clip_latents, seed=5).to(device, vae_dtype(request.dtype))
    found: dict[str, Any] = {"size": [request.scale.clip_width, request.scale.clip_height], "contenders": {}}
    frames: dict[str, Tensor] = {}
    ways = _ways(vae, own_vae, latents)
    for name, decode in ways.items():
        figures = found["contenders"][name] = {}
        try:
            frames[name] = _examine(decode, clock, device, figures)
        except torch.OutOfMemoryError as error:
            figures["error"] = f"out of memory: {str(error)[:200]}"
        keep(found)
    measured = {name: decode for name, decode in ways.items() if name in frames}
    turns = {
        name: lambda decode=decode: [clock.time_ms(decode) for _ in range(2 if request.cuda else 1)]
        for name, decode in measured.items()
    }
    for name, times in in_turns(turns, request.rounds).items():
        found["contenders"][name] |= summary(times)
    for name, output in frames.items():
        if "one call" in frames:
            found["contenders"][name]["against_one_call"] = difference(frames["one call"], output)
    keep(found)
    del vae, own_vae, ways, turns
    release(device)
    found["still"] = _still(request, clock)
    return found


def _examine(
    decode: Callable[[], Tensor], clock: Clock, device: torch.device, figures: dict[str, Any]
) -> Tensor:
    """Return the frames of a first call on the CPU; note its time, and memory and bytes of a second one."""
    outputs: list[Tensor] = []
    figures["first_call_s"] = round(clock.seconds(lambda: outputs.append(decode())), 3)
    figures |= {"finite": bool(outputs[0].isfinite().all()), "frames": digest(outputs[0])}
    frames = outputs.pop().float().cpu()
    release(device)
    before = torch.cuda.memory_allocated() if device.type == "cuda" else 0
    again = decode()
    figures |= peaks(device)
    if device.type == "cuda":
        # The decoder's own need, without whatever else this process has on the card.
        figures["own_peak_gb"] = round((torch.cuda.max_memory_allocated() - before) / 1e9, 3)
    figures["again"] = digest(again) == figures["frames"]
    return frames


def _ways(vae: Any, own_vae: Any, latents: Tensor) -> dict[str, Callable[[], Tensor]]:
    def in_chunks(size: int) -> Tensor:
        parts = [vae.decode(part, num_frames=len(part), return_dict=False)[0] for part in latents.split(size)]
        return torch.cat(parts)

    return {
        "one call": lambda: in_chunks(len(latents)),
        f"chunks of {_CHUNK}": lambda: in_chunks(_CHUNK),
        "ours": lambda: decode_clip(own_vae, latents),
    }


def _still(request: Request, clock: Clock) -> dict[str, Any]:
    vae = build(request.scale, "still/vae", request.device, vae_dtype(request.dtype))
    latents = normals(*request.scale.still_latents, seed=6).to(request.device, vae_dtype(request.dtype))
    prepare_vae(vae)
    decode = lambda: vae.decode(latents, return_dict=False)[0]  # noqa: E731
    decode()
    release(request.device)
    output = decode()
    return (
        peaks(request.device)
        | {"finite": bool(output.isfinite().all())}
        | summary([clock.time_ms(decode) for _ in range(6)])
    )

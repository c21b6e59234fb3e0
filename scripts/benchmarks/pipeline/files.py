"""Random weights as files, for jobs that load their models: in diffusers' layout and in a profile's."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from node.pipeline.toy_configs import vocabulary_files
from node.pipeline.weights.layout import ENCODERS, stored_dtype
from scripts.benchmarks.pipeline import stock
from scripts.benchmarks.pipeline.child import Request
from scripts.benchmarks.pipeline.networks import build
from scripts.benchmarks.pipeline.switches import vae_dtype


def write(request: Request, contender: str, folder: Path) -> None:
    """Write the weights that a contender loads."""
    if contender == "ours":
        _write_profile(request, folder)
    elif not (folder.parent / "stock").exists():
        _write_stock(request, folder.parent / "stock")


def _write_stock(request: Request, folder: Path) -> None:
    still, video = (
        [build(request.scale, path, request.device, request.dtype) for path in paths]
        for paths in (("still/unet", "still/vae"), ("clip/unet", "clip/vae", "clip/image_encoder"))
    )
    stock.still_pipeline(*still).save_pretrained(folder / "still")
    stock.clip_pipeline(*video).save_pretrained(folder / "clip")


def read_stock(folder: Path, device: torch.device, dtype: torch.dtype) -> tuple[Any, Any]:
    """Return both pipelines as their users load them."""
    from diffusers import StableDiffusionXLPipeline, StableVideoDiffusionPipeline

    kinds = (("still", StableDiffusionXLPipeline), ("clip", StableVideoDiffusionPipeline))
    pipes = []
    for name, kind in kinds:
        pipe = kind.from_pretrained(folder.parent / "stock" / name, torch_dtype=dtype).to(device)
        pipe.set_progress_bar_config(disable=True)
        pipes.append(pipe)
    return pipes[0], pipes[1]


def _write_profile(request: Request, folder: Path) -> None:
    kinds = {
        "precision": str(request.dtype).removeprefix("torch."),
        "vae_precision": str(vae_dtype(request.dtype)).removeprefix("torch."),
    }
    write_vocabulary(folder)
    for path in request.scale.configs:
        dtype = torch.float32 if path in ENCODERS else request.dtype
        network = build(request.scale, path, request.device, dtype)
        weights = {
            name: tensor.to(getattr(torch, stored_dtype(path, name, **kinds))).cpu().contiguous()
            for name, tensor in network.state_dict().items()
        }
        del network
        (folder / path).mkdir(parents=True)
        (folder / path / "config.json").write_text(json.dumps(request.scale.configs[path]))
        save_file(weights, folder / path / "model.safetensors")


def write_vocabulary(folder: Path) -> None:
    """Write the toy vocabulary, which is enough to tokenise with, where a profile has its own."""
    for path, text in vocabulary_files().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")

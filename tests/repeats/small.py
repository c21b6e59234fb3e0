"""The tiny profile with less to compute: short clips of few pixels, from the same models."""

from dataclasses import replace

from node.pipeline.profiles import load_profile
from node.pipeline.renderer import Renderer

SMALL = {"still_size": 64, "clip_width": 64, "clip_height": 64, "frames": 5}


def small_renderer(renderer: Renderer, weights: dict[str, str]) -> Renderer:
    """Return a renderer of small clips with the models of a loaded one."""
    return Renderer(replace(load_profile("tiny"), **SMALL), renderer.models, weights)

"""The command line of the benchmark, and the list of its legs. Imports no torch."""

import argparse
from pathlib import Path
from typing import NamedTuple

OUT = Path(__file__).resolve().parents[3] / "docs" / "benchmarks"


class Leg(NamedTuple):
    """A part that runs on its own, in which module it is, and what it says while it runs."""

    module: str
    says: str


LEGS = {
    "ceilings": Leg("ceilings", "what the device reaches: matrix products, copies, and our own shapes"),
    "still": Leg("steps", "SDXL's step at one image, contenders in turns"),
    "clip": Leg("steps", "SVD's step at 25 frames, contenders in turns"),
    "decode": Leg("decoding", "VAE decode of 25 frames, ours against one call and chunks of 8"),
    "ablations": Leg("ablations", "each rewrite of the networks alone, before and after"),
    "jobs": Leg("jobs", "whole warm jobs, one process per contender"),
    "cold": Leg("jobs", "a whole job in a process that starts, loads its models and ends"),
    "repeat": Leg("repeatability", "the same bytes from several processes"),
    "profile": Leg("profiling", "which kernels a step of SVD spends its time in"),
    "overhead": Leg("overhead", "what the loops cost per step, with networks that answer at once"),
    "encode": Leg("encoding", "25 frames to files, ours against Pillow's settings"),
    "render": Leg("rendering", "a tiny job with the whole renderer, in a fresh process and warm"),
}
"""Every leg by name; ``clip`` and the others run on a GPU at full size and on a CPU at toy size."""
CUDA_LEGS = ("ceilings", "clip", "still", "decode", "jobs", "repeat", "ablations", "cold", "profile")
CPU_LEGS = ("overhead", "still", "clip", "decode", "encode", "repeat", "render")
CONTENDERS = ("eager", "compiled", "ours")

_EPILOG = """
It needs torch, diffusers, transformers, safetensors, numpy and pillow, and pydantic for the profiles. On a
machine with those, the project itself need not be installed: run it from the repository's root as
  PYTHONPATH=. python3 -m scripts.benchmarks.pipeline [options]
diffusers may lie anywhere on PYTHONPATH. Without PyAV and torchsde the GPU legs run all the same; the legs
encode and render need PyAV.

On a GPU, in commands that are meant to end within ten minutes each and half an hour together, with the compilers'
caches kept between them (a leg that does not fit into --budget-s is named, and can be run alone):
  scripts/bench pipeline --cache /tmp/c --out /tmp/1 --legs ceilings,clip,decode
  scripts/bench pipeline --cache /tmp/c --out /tmp/2 --legs still,jobs,cold --contenders eager,ours
  scripts/bench pipeline --cache /tmp/c --out /tmp/3 --legs repeat
  scripts/bench pipeline --cache /tmp/c --out /tmp/4 --legs ablations,profile
  scripts/bench pipeline --report-only --merge docs/benchmarks/pipeline.json /tmp/[1-4]/pipeline.json
"""


def _names(allowed: tuple[str, ...]) -> object:
    def read(text: str) -> list[str]:
        names = [name for name in text.split(",") if name]
        for name in names:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(allowed)}")
        return names

    return read


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 2 <= int(text) <= 200):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 2 to 200")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """Return the parser."""
    legs = "\n".join(f"  {name:10} {leg.says}" for name, leg in LEGS.items())
    made = argparse.ArgumentParser(
        prog="scripts/bench pipeline",
        description="Measures the pipeline against diffusers' own pipelines on the same random weights.\n\n"
        f"legs:\n{legs}",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("--legs", type=_names(tuple(LEGS)), help="which legs, in this order; default: all the device has")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: cuda if torch sees one")
    add("--scale", choices=("full", "small", "tiny"), help="size of the networks; default: full on a GPU")
    add("--tiny", dest="scale", action="store_const", const="tiny", help="the same as --scale tiny")
    add("--dtype", choices=("bfloat16", "float16", "float32"), default="bfloat16", help="on a GPU")
    add("--contenders", type=_names(CONTENDERS), default=list(CONTENDERS), help="default: all three")
    add("--rewrites", type=lambda text: text.split(","), help="which ablations; default: all")
    add("--steps", type=_count, default=4, help="steps of one timed run; the first one is not counted")
    add("--rounds", type=_count, default=3, help="how often the contenders take turns")
    add("--job-steps", type=_count, default=50, help="steps of still and clip in whole jobs on a GPU")
    add("--compile-on-cpu", action="store_true", help="let compiled contenders run without a GPU too")
    add("--budget-s", type=float, default=580.0, help="stop starting legs after this time, and end the last")
    add("--cache", type=Path, help="keep the compilers' caches here; default: a fresh folder, removed after")
    add("--merge", type=Path, nargs="+", default=[], help="earlier pipeline.json files to take figures from")
    add("--report-only", action="store_true", help="run nothing, write the report of the merged figures")
    add("--out", type=Path, default=OUT, help="where pipeline.json and pipeline.md go")
    return made

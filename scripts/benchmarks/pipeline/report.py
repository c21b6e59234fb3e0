"""The report: figures as tables, each with a sentence on how it was got. Imports no torch.

A figure that no leg has measured is left out or named as missing; nothing is ever computed from an estimate.
"""

from typing import Any

from scripts.benchmarks.pipeline.goals import goals
from scripts.benchmarks.pipeline.options import LEGS
from scripts.benchmarks.pipeline.tables import Figures, get, number, ratio, section, table, times

_ON_A_CPU = (
    "# Measured on a CPU\n\nThese figures need no GPU, and say nothing about one. Networks are the `tiny` "
    "profile's, in float32 on one thread, unless a line says otherwise."
)
_INTRODUCTION = (
    "Made by `scripts/bench pipeline`. Every network has its real architecture and random weights, the same "
    "for all contenders and in every process. *eager* and *compiled* are diffusers' own "
    "`StableDiffusionXLPipeline` and `StableVideoDiffusionPipeline`, as they are and with `torch.compile` in "
    "its default mode; *ours* is this project's pipeline. All of them run under the same deterministic "
    "switches. What `pipeline.json` holds beside this page is everything that was measured."
)


def report(figures: Figures) -> str:
    """Return the whole report in Markdown."""
    cuda, cpu = figures.get("cuda", {}), figures.get("cpu", {})
    parts = [
        "# The pipeline against diffusers' own pipelines",
        _INTRODUCTION,
        goals(cuda),
        *(_cuda(cuda) if cuda else [_without_gpu()]),
        *(_cpu(cpu) if cpu else []),
        _provenance(figures),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _without_gpu() -> str:
    return (
        "## What was not measured\n\n"
        "No GPU was at hand, so none of these has a figure, and none is guessed: seconds per step at full size, "
        "whole jobs at full size, peak memory, shares of the matmul and bandwidth ceilings, the gain of "
        "`torch.compile`, CUDA graphs, channels-last memory and the attention backends, and bytes repeated on a "
        "GPU. On a machine with one, `scripts/bench pipeline --help` has the commands that fill this page, each meant "
        "to end within ten minutes; `tests/gpu` checks the same things as tests."
    )


def _steps_section(title: str, leg: Figures, ceiling: float | None) -> str:
    rows = []
    for name, one in leg.get("contenders", {}).items():
        share = ratio(one.get("network_tflops"), ceiling)
        rows.append(
            (
                name,
                one.get("error") or f"{number(one.get('ms'))} ± {number(one.get('spread_ms'))} ({one.get('samples')})",
                times(ratio(get(leg, "contenders", "eager", "ms"), one.get("ms"))),
                number(one.get("network_ms")),
                "" if share is None else f"{share:.2f}",
                number(one.get("first_run_s")),
                number(get(one, "against_first", "relative"), 6),
            )
        )  # fmt: skip
    width, height = leg.get("size", (0, 0))
    return section(
        title,
        leg,
        f"Two guided passes at {width}x{height}. A step is the time from one step's end to the next one's in a "
        f"whole loop, guidance and sampler included: median ± interquartile range (samples), contenders in turns. "
        f"*Network* is the UNet's call alone; *share* is the stock model's {number(leg.get('tflop'), 3)} TFLOP over "
        f"that time and over this run's matmul rate, so that work left out counts as gain. *First run* is two "
        f"steps from nothing, compiling included. *Differs* is the norm of the difference to the first "
        f"contender's output, relative.",
        table(("contender", "step, ms", "gain", "network, ms", "share", "first run, s", "differs"), rows),
    )


def _decode_section(leg: Figures) -> str:
    rows = [
        (
            name,
            one.get("error") or f"{number(one.get('ms'))} ± {number(one.get('spread_ms'))}",
            number(one.get("own_peak_gb")),
            number(get(one, "against_one_call", "largest"), 6),
            {True: "yes", False: "NO", None: ""}[one.get("again")],
        )
        for name, one in leg.get("contenders", {}).items()
    ]
    width, height = leg.get("size", (0, 0))
    return section(
        "Decoding the clip",
        leg,
        f"25 frames of {width}x{height} from latents, in the temporal VAE. *One call* is the picture that is "
        "promised; *chunks of 8* is what diffusers users do to save memory, and it is another picture: the "
        "largest difference to the one call says how far each way is from it (frames are in about -1 to 1). "
        "*Peak* is the decoder's own memory above its weights and latents, 10^9 bytes.",
        table(("way", "ms", "peak, GB", "largest difference", "same bytes again"), rows),
    )


def _repeat_section(leg: Figures) -> str:
    rows = [
        (name, one.get("error") or one.get("short", ""), number(one.get("process_s")))
        for name, one in leg.get("processes", {}).items()
    ]
    return section(
        "Repeated bytes",
        leg,
        f"The same job ({leg.get('steps')} steps each) in several processes. The hash is over the SHA-256 of what "
        f"every evaluation of both UNets was shown, of the stills, the latents and the frames: "
        f"{leg.get('hashes')} hashes, **{'all equal' if leg.get('equal') else 'NOT equal'}**{_ballast(leg)}.",
        table(("process", "hash of all hashes", "seconds"), rows),
    )


def _ballast(leg: Figures) -> str:
    left = leg.get("left_gb")
    return "" if left is None else f"; the one with ballast was left {left:.0f} GB of the card"


def _cuda(cuda: Figures) -> list[str]:
    ceiling = get(cuda, "ceilings", "matmul_tflops")
    parts = []
    if leg := cuda.get("ceilings"):
        shapes = [
            (name, rate)
            for group in ("products_tflops", "convolutions_tflops", "attentions_tflops")
            for name, rate in leg.get(group, {}).items()
        ]
        parts.append(
            section(
                "Ceilings of this run",
                leg,
                f"A product of two random 8192x8192 matrices runs at {number(leg.get('matmul_tflops'), 0)} TFLOP/s, "
                f"a copy of 2 GiB moves {number(leg.get('copy_tb_per_s'))} TB/s, counting what is read and written. "
                f"The rates of our own shapes, TFLOP/s, tell where a step can still go.",
                table(("shape", "TFLOP/s"), [(name, _rates(rate)) for name, rate in shapes])
                if shapes
                else "",
            )
        )
    for name, title in (("clip", "SVD's step"), ("still", "SDXL's step")):
        if leg := cuda.get(name):
            parts.append(_steps_section(title, leg, ceiling))
    if leg := cuda.get("decode"):
        parts.append(_decode_section(leg))
    if leg := cuda.get("jobs"):
        parts.append(_jobs_section(leg, cuda.get("cold", {})))
    if leg := cuda.get("ablations"):
        parts.append(_ablations_section(leg))
    if leg := cuda.get("repeat"):
        parts.append(_repeat_section(leg))
    if leg := cuda.get("profile"):
        parts.append(_profile_section(leg))
    return parts


def _rates(rate: Any) -> str:
    if isinstance(rate, dict):
        return ", ".join(f"{name} {number(value, 0)}" for name, value in rate.items())
    return number(rate, 0)


def _jobs_section(leg: Figures, cold: Figures) -> str:
    rows = []
    for name, one in leg.get("contenders", {}).items():
        rows.append(
            (
                name,
                one.get("error") or number(one.get("warm_s")),
                *(number(get(one, "stages", stage)) for stage in ("still", "still decode", "clip", "clip decode")),
                number(one.get("reserved_gb")),
                number(get(cold, "contenders", name, "process_s")),
            )
        )  # fmt: skip
    return section(
        "Whole jobs",
        leg,
        f"{leg.get('steps')} steps of the still and as many of the clip, decoded, frames on the CPU, files not "
        f"counted. *Warm* is a second job of a process that has its models loaded and its kernels compiled; "
        f"seconds of the wall clock. *Reserved* is the most device memory the process's allocator held, the private "
        f"memory of CUDA graphs included. *Cold* is the whole life of a process that starts, imports, loads its "
        f"models from files that the page cache already holds, and makes one job.",
        table(
            ("contender", "warm, s", "still", "its decode", "clip", "its decode", "reserved, GB", "cold, s"),
            rows,
        ),
    )


def _ablations_section(leg: Figures) -> str:
    rows = [
        (
            name,
            one.get("error") or number(get(one, "before", "ms")),
            number(get(one, "after", "ms")),
            times(ratio(get(one, "before", "ms"), get(one, "after", "ms"))),
            number(get(one, "difference", "relative"), 6),
        )
        for name, one in leg.get("rewrites", {}).items()
    ]
    return section(
        "Each technique alone",
        leg,
        "A network's call before and after one technique and nothing else, in turns on the same weights and "
        "inputs, milliseconds. *Differs* is the relative norm of the difference of the outputs: rounding of the "
        "number type used, as no technique changes the mathematics.",
        table(("technique", "before", "after", "gain", "differs"), rows),
    )


def _profile_section(leg: Figures) -> str:
    tables = []
    for name in ("eager", "ours"):
        if one := leg.get(name):
            head = f"{name}: {number(one['ms'])} ms in {one['calls']} kernels; attention by {', '.join(one['attention']) or 'none'}"
            rows = [
                (f"`{row['name'][:90]}`".replace("|", "/"), number(row["ms"]), str(row["calls"]))
                for row in one["kernels"][:15]
            ]
            tables.append(head + "\n\n" + table(("kernel", "ms", "calls"), rows))
    return section(
        "Kernels of one SVD call", leg, "Summed over one call of the network, largest first.", *tables
    )


def _cpu(cpu: Figures) -> list[str]:
    parts = [
        _ON_A_CPU,
    ]
    if leg := cpu.get("overhead"):
        rows = [
            (name, _loop(one["diffusers"]), _loop(one["ours"]), f"{one['ratio']:.2f}")
            for name, one in leg.get("loops", {}).items()
        ]
        parts.append(
            section(
                "What a loop costs per step",
                leg,
                "The networks are stubs that answer at once: what is left is the loop's own. Latents are 25 x 4 x 72 x 128 "
                f"and 1 x 4 x 128 x 128 at full size, 25 x 4 x 10 x 16 and 1 x 4 x 32 x 32 at tiny size. Median ± interquartile range of {leg.get('rounds')} "
                f"runs of {leg.get('steps')} steps each, in turns. Ours looks after NaN in every step, diffusers does "
                "not. At most 1.0 is wanted.",
                table(("loop", "diffusers, ms a step", "ours, ms a step", "ours / diffusers"), rows),
            )
        )
    for name, title in (("still", "SDXL's step, tiny"), ("clip", "SVD's step, tiny")):
        if leg := cpu.get(name):
            parts.append(_steps_section(title, leg, None))
    if leg := cpu.get("decode"):
        parts.append(_decode_section(leg))
    if leg := cpu.get("encode"):
        parts.append(_encode_section(leg))
    if leg := cpu.get("render"):
        parts.append(
            section(
                "A whole tiny job",
                leg,
                f"{number(leg.get('warm_s'))} s warm (median of {leg.get('warm_jobs')}) against "
                f"{number(leg.get('cold_s'))} s for a process that starts, imports, loads its models and makes the "
                f"same job (median of {leg.get('cold_jobs')}): **{times(leg.get('cold_over_warm'))}**. "
                f"{leg.get('steps')} steps, files included. The cold processes' frames are "
                f"{'the same bytes' if leg.get('same_frames') else 'NOT the same bytes'} as the warm one's.",
            )
        )
    if leg := cpu.get("ablations"):
        parts.append(_ablations_section(leg))
    if leg := cpu.get("repeat"):
        parts.append(_repeat_section(leg))
    return parts


def _loop(one: Figures) -> str:
    return f"{one['ms']:.3f} ± {one['spread_ms']:.3f}"


def _encode_section(leg: Figures) -> str:
    files = leg.get("files", {})
    rows = [(name, number(one["ms"] / 1e3), number(one["bytes"] / 1e6)) for name, one in files.items()]
    ratios = {
        "APNG": ratio(get(files, "apng, Pillow, level 1", "ms"), get(files, "apng, ours", "ms")),
        "WebP": ratio(get(files, "webp, Pillow, quality 85, method 4", "ms"), get(files, "webp, ours", "ms")),
    }
    gains = ", ".join(f"{name} {times(value)}" for name, value in ratios.items() if value)
    quality = leg.get("webp_psnr_db", {})
    return section(
        "Files",
        leg,
        "25 frames of 1024x576 of a moving picture with grain, one encoder at a time on one thread except in the "
        f"last line. Against Pillow at equal settings: {gains}. All APNGs show the same pixels: "
        f"{'yes' if leg.get('apng_pixels_equal') else 'NO'}. WebP's distance to the frames: Pillow "
        f"{quality.get('Pillow')} dB, ours {quality.get('ours')} dB.",
        table(("file", "s", "MB"), rows),
    )


def _provenance(figures: Figures) -> str:
    rows = []
    for device, legs in figures.items():
        for name, leg in legs.items():
            on = leg.get("machine", {})
            what = (
                on.get("gpu")
                or f"{on.get('cores')} cores {on.get('processor')}, {on.get('threads')} thread(s)"
            )
            rows.append(
                (
                    f"{name} ({device})",
                    what,
                    f"torch {on.get('torch')}, diffusers {on.get('diffusers')}",
                    leg.get("scale", ""),
                    leg.get("date", ""),
                    number(leg.get("process_s"), 0),
                )
            )
    legs = "\n".join(f"- `{name}`: {leg.says}" for name, leg in LEGS.items())
    return (
        "# Where each leg ran\n\n"
        + table(("leg", "device", "libraries", "networks", "date", "took, s"), rows)
        + f"\n\n{legs}"
    )

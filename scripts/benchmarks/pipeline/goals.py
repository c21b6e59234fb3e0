"""What has to be reached on the card that the goals are for, beside what was measured. Imports no torch."""

from collections.abc import Callable

from scripts.benchmarks.pipeline.tables import Figures, get, ratio, table, times

_MISSING = "needs a GPU"
_JOB_STEPS = 50


def _verdict(value: float, must: float | None, aim: float | None, *, larger: bool) -> str:
    def reached(bound: float | None) -> bool:
        return bound is not None and (value >= bound if larger else value <= bound)

    return "aim reached" if reached(aim) else "must reached" if reached(must) else "missed"


def goals(cuda: Figures) -> str:
    """Return the table of what has to be reached on an H200 in bfloat16; networks of full size alone count."""
    cuda = {leg: figures for leg, figures in cuda.items() if figures.get("scale") == "full"}
    if get(cuda, "jobs", "steps") != _JOB_STEPS:
        cuda.pop("jobs", None)
    if get(cuda, "cold", "steps") != _JOB_STEPS:
        cuda.pop("cold", None)
    clip, still, decode = (get(cuda, leg, "contenders") or {} for leg in ("clip", "still", "decode"))
    ours = get(clip, "ours", "ms")
    rate, ceiling = get(clip, "ours", "network_tflops"), get(cuda, "ceilings", "matmul_tflops")
    warm = get(cuda, "jobs", "contenders", "ours", "warm_s")
    rows: list[tuple[str, float | None, Callable[[float], str], float | None, float | None, bool]] = [
        ("SVD step against diffusers eager", ratio(get(clip, "eager", "ms"), ours), times, 1.35, 1.8, True),
        ("SVD step against diffusers compiled", ratio(get(clip, "compiled", "ms"), ours), times, 1.05, 1.25, True),
        ("SVD UNet's share of this run's matmul rate", ratio(rate, ceiling), lambda v: f"{v:.2f}", 0.55, 0.67, True),
        ("SDXL step at one image against eager", ratio(get(still, "eager", "ms"), get(still, "ours", "ms")), times, 2.0, 3.0, True),
        ("SVD VAE decode of 25 frames, exact: seconds", ratio(get(decode, "ours", "ms"), 1e3), lambda v: f"{v:.2f} s", 0.8, 0.4, False),
        ("SVD VAE decode of 25 frames, exact: memory", get(decode, "ours", "own_peak_gb"), lambda v: f"{v:.1f} GB", 16.0, 10.0, False),
        ("warm 50 + 50 job against diffusers eager, warm", ratio(get(cuda, "jobs", "contenders", "eager", "warm_s"), warm), times, 1.35, None, True),
        ("warm 50 + 50 job against a cold one that loads its models", ratio(get(cuda, "cold", "contenders", "eager", "process_s"), warm), times, None, 4.0, True),
        ("memory of a warm 50 + 50 job", get(cuda, "jobs", "contenders", "ours", "reserved_gb"), lambda v: f"{v:.1f} GB", 24.0, 20.0, False),
    ]  # fmt: skip
    device = get(cuda, "clip", "machine", "gpu") or get(cuda, "ceilings", "machine", "gpu")
    lines = [
        "## Goals" + (f", measured on {device}" if device else ""),
        "The goals are for one H200 in bfloat16 and the deterministic class.",
        table(
            ("measure", "must", "aim", "measured", ""),
            [
                (
                    name,
                    _bound(must, show, larger=larger),
                    _bound(aim, show, larger=larger),
                    _MISSING if value is None else show(value),
                    "" if value is None else _verdict(value, must, aim, larger=larger),
                )
                for name, value, show, must, aim, larger in rows
            ]
            + [_repeat_row(cuda)],
        ),
    ]
    return "\n\n".join(lines)


def _bound(value: float | None, show: Callable[[float], str], *, larger: bool) -> str:
    return "" if value is None else f"{'at least' if larger else 'at most'} {show(value)}"


def _repeat_row(cuda: Figures) -> tuple[str, ...]:
    equal = get(cuda, "repeat", "equal")
    shown = _MISSING if equal is None else "equal" if equal else "DIFFERENT"
    verdict = "" if equal is None else "aim reached" if equal else "missed"
    return (
        "same bytes: two processes, fresh caches, after ten jobs, with ballast",
        "equal",
        "equal",
        shown,
        verdict,
    )

"""``sdv-node bench``: how long jobs take on this machine, measured and kept for the node."""

import asyncio
from typing import Any

import click
from rich.console import Console
from rich.status import Status
from rich.table import Table

from node.cli.context import keep_output_clean, load_config, print_json, wide_console
from node.cli.render_display import duration
from node.job.progress import Progress

UNITS = {
    "still_start": "a job",
    "still_evaluation": "an evaluation of a megapixel",
    "still_decode": "a megapixel",
    "clip_start": "a clip",
    "clip_evaluation": "an evaluation of a megapixel of frames",
    "clip_decode": "a megapixel of frames",
    "encode": "a megapixel of frames",
    "encode_files": "a megapixel of frames",
    "finish": "a job",
}


@click.command()
@click.option(
    "--rounds",
    type=click.IntRange(1, 5),
    default=1,
    show_default=True,
    help="How often the set of jobs is rendered.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def bench(ctx: click.Context, rounds: int, as_json: bool) -> int:
    """Measure how long jobs take with the node's profile on this machine, and keep it.

    Renders a few small jobs without any market. The node then knows which jobs it can end in time, what a
    price by the second comes to, and when a job will be done; it goes on learning from real ones. Stop the
    node first.

    \b
    Examples:
      sdv-node bench
      sdv-node --set worker.profile=tiny bench --json
    """
    from node.app.benching import SET
    from node.app.benching import bench as measure

    config = load_config(ctx)
    keep_output_clean(config)
    console = Console(stderr=True)
    with Status("loading models", console=console) as status:
        shown = ""

        def on_job(number: int, jobs: int) -> None:
            nonlocal shown
            shown = f"job {number} of {jobs}" if number else "warming up"
            status.update(shown)

        def on_progress(progress: Progress) -> None:
            status.update(f"{shown}: {progress.stage} {progress.step}/{progress.steps}")

        found = asyncio.run(measure(config, jobs=SET * rounds, on_job=on_job, on_progress=on_progress))
    measured = found.times.status()
    document: dict[str, Any] = {
        **measured,
        "load_s": round(found.load_s, 3),
        "jobs": [_job(job) for job in (*found.learned_from, found.proof)],
        "usual": {"expected_s": round(found.usual.expected_s, 3), "upper_s": round(found.usual.upper_s, 3)},
    }
    if as_json:
        print_json(document)
        return 0
    console = wide_console()
    console.print(f"{measured['profile']} on {measured['gpu']}, loaded in {found.load_s:.1f} s", markup=False)
    parts = Table("part", "seconds", "for", box=None, pad_edge=False)
    for part, seconds in document["seconds_per_unit"].items():
        parts.add_row(part, f"{seconds:.4g}", UNITS[part])
    console.print(parts)
    jobs = Table("job", "expected s", "took s", box=None, pad_edge=False)
    for job in document["jobs"]:
        expected = f"{job['expected_s']:.2f}" if job["measured"] else ""
        jobs.add_row(" ".join(job["inputs"]), expected, f"{job['taken_s']:.2f}")
    console.print(jobs)
    usual = found.usual
    console.print(
        f"A job with default inputs: {duration(usual.expected_s)} expected, {duration(usual.upper_s)} at most"
    )
    return 0


def _job(job: Any) -> dict[str, Any]:
    return {
        "inputs": list(job.inputs),
        "expected_s": round(job.expected.expected_s, 3),
        "measured": job.expected.measured,
        "taken_s": round(job.taken_s, 3),
    }

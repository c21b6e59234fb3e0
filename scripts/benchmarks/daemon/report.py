"""docs/benchmarks/daemon.md out of its figures."""

from typing import Any

MAX_GAP_S = 0.2
MAX_RSS_MB = 150
MAX_IDLE = 0.01


def report(figures: dict[str, Any]) -> str:
    """Return the page. Parts that were never run are left out."""
    parts = [_HEAD, _workers(figures["workers"])]
    if "handing_over" in figures:
        parts.append(_handing_over(figures["handing_over"]))
    if "daemon" in figures:
        parts.append(_daemon(figures["daemon"]))
    return "\n".join(parts)


_HEAD = """# What the daemon and its workers cost beside the rendering

Made by `scripts/bench daemon`; with `--profile sdv-1.1 --data-dir DIR` a GPU's worker is measured the same way.
Ratios are of figures of one run, and comparable between machines; seconds are not, least of all from a machine
that was busy meanwhile (each part tells the load average it began with). Medians, unless said otherwise.
"""


def _workers(found: dict[str, dict[str, Any]]) -> str:
    names = list(found)
    rows = {
        f"idle between two queued jobs, median (target: at most {MAX_GAP_S * 1e3:.0f} ms)": [
            _milliseconds(one["gap_s"]) for one in found.values()
        ],
        "the longest of them": [_milliseconds(one["longest_gap_s"]) for one in found.values()],
        "of that, until the next job is begun": [_milliseconds(one["handover_s"]) for one in found.values()],
        "the device's time for such a job": [_milliseconds(one["device_s"]) for one in found.values()],
        "idle as a share of that": [f"{one['gap_s'] / one['device_s']:.1%}" for one in found.values()],
        "first start of a worker, process to ready": [
            f"{one['first_start_s']:.2f} s" for one in found.values()
        ],
        "starts after it": [f"{one['start_s']:.2f} s" for one in found.values()],
        "such a start in times of the yardstick": [
            f"{one['start_in_yardsticks']:.1f}" for one in found.values()
        ],
        "a job on a warm worker": [f"{one['warm_job_s']:.2f} s" for one in found.values()],
        "start and first job": [f"{one['cold_job_s']:.2f} s" for one in found.values()],
        "**start and first job in times of a warm job**": [
            f"**{one['cold_to_warm']:.1f}**" for one in found.values()
        ],
    }
    made = "\n".join(f"- `{name}`: {one['made']}" for name, one in found.items())
    table = "\n".join(f"| {what} | {' | '.join(values)} |" for what, values in rows.items())
    return f"""## One worker

| measure | {" | ".join(f"`{name}`" for name in names)} |
|---|{"---|" * len(names)}
{table}

{made}

The worker is a process of the node's own pool, as the daemon has it. "Idle" begins when the last step of a job on the
device is reported and ends when the first step of the next one begins: the report of that step's end less the shortest
of the steps after it. So it holds what the next job does before its first step, such as reading its prompt and drawing
its noise, after it is begun. The clips are encoded meanwhile, in a process of their own. A first start makes the weights of `tiny`,
and whatever compiled kernels are missing. The yardstick is a bare interpreter that imports torch (asyncio for the fake renderer), measured beside each start.
"""


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"


def _handing_over(found: dict[str, Any]) -> str:
    return f"""## Handing a job over

| measure | value |
|---|---|
| a job of the instant fake renderer, called directly | {found["renderer_ms"]} ms |
| the same through pool, socket and process | {found["pool_ms"]} ms |
| more, median of the {found["jobs"]} pairs | {found["more_ms"]} ms |

{found["made"]}; both in turns.
What a renderer costs alone here is the durability of its stages and its result (fsync); what the pool adds is the way
there and back, and that every byte of the result is compared with its manifest.
"""


def _daemon(found: dict[str, Any]) -> str:
    steps = found["steps"]
    lines = {
        "deal seen agreed to the first sign of rendering": "agreed_to_rendering",
        "rendering, encoding and the check of the result": "rendering",
        "rendered to stored, read back and journaled": "rendered_to_published",
        "that to `addResult` broadcast": "published_to_broadcast",
        "**deal seen agreed to `addResult` broadcast**": "agreed_to_broadcast",
    }
    table = "\n".join(
        f"| {what} | {steps[name]['p50_s']} / {steps[name]['p99_s']} s | |" for what, name in lines.items()
    )
    return f"""## The whole daemon

| measure | value | target |
|---|---|---|
{table}
| of that not spent computing, which takes {found["render_s"]} s here | {found["overhead_s"]} s | |
| processor time of the daemon for a job, what it uses idle taken off | {found["cpu_ms_per_job"]} ms | |
| idle processor time | {found["idle_cpu_share"]:.2%} of a core | under {MAX_IDLE:.0%} |
| resident memory, ready and idle | {found["rss_mb"]} MB | under {MAX_RSS_MB} MB |
| the same after {found["jobs"]} jobs | {found["rss_after_mb"]} MB | under {MAX_RSS_MB} MB |
| start of the daemon until its status tells of a ready worker | {found["start_s"]} s | |

{found["made"]}.
Times are p50 / p99 of {found["jobs"]} jobs, one in each block of 1 s, on Anvil on the same machine. They are those of
the journal's entries, each made durable before what follows it; the broadcast is the log line after the endpoint took
the transaction. The node looks for blocks once a second, which is not part of these times. All memory is the
daemon's process alone, without its worker.
"""

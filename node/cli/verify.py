"""``sdv-node verify``: is a result what its job promises, and does the job give the same bytes here?"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from node.app import verifying
from node.cli.api import get_json, node_url
from node.cli.context import keep_output_clean, load_config, print_json
from node.cli.render_display import RenderDisplay
from node.config import Config
from node.errors import NodeError, Unreachable
from node.ipfs_settings import Url
from node.job.progress import Progress
from node.verification.report import Executed, Report, Verdict

_SHOWN_DIFFERENCES = 12
_TOLD_SHARE = 0.25
_SENTENCES = {
    Verdict.INTACT: "every file is as the manifest says; --re-execute computes the job again and compares",
    Verdict.IDENTICAL: "computed again here, the job gives the same bytes",
    Verdict.DIFFERENT: "computed again here, in the same determinism class, the job gives other bytes",
    Verdict.OTHER_MODEL: "the result was made with other models than those of its profile here",
    Verdict.OTHER_CLASS: "the result is of another determinism class, whose bytes this machine cannot make",
    Verdict.DAMAGED: "this is not the result that it says it is",
    Verdict.FAILED: "the provider itself reports that the job failed",
}


@click.command()
@click.argument("target", metavar="DEAL_ID|CID|DIRECTORY")
@click.option("--re-execute", is_flag=True, help="Compute the job again on this machine, and compare.")
@click.option(
    "--gateway",
    "gateways",
    metavar="URL",
    multiple=True,
    help="An IPFS gateway to fetch from; several may be given.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def verify(
    ctx: click.Context, target: str, re_execute: bool, gateways: tuple[str, ...], as_json: bool
) -> int:
    """Verify a result: every hash, the inputs as understood, and, if asked, by computing it again.

    Of a deal also: whether the result is that of the job that was posted. A result of another determinism
    class (another kind of GPU, other library versions) has other bytes for good reasons; then its pictures
    are compared with those made here, and a machine of its own class has to decide.

    Ends with 0 if nothing is wrong, 1 if the result is wrong, 75 if only another machine can tell.

    \b
    Examples:
      sdv-node verify ./fox
      sdv-node verify ./fox --re-execute
      sdv-node verify j17-5YgmvRPc5K9n2GJhpa3yYx --re-execute --json
      sdv-node verify bafybei... --gateway https://ipfs.io
    """
    config = load_config(ctx)
    keep_output_clean(config)
    for url in gateways:
        try:
            TypeAdapter(Url).validate_python(url)
        except ValidationError as error:
            raise click.UsageError(f"--gateway {url!r:.80}: {error.errors()[0]['msg']}") from None
    sources = dict.fromkeys((*gateways, *config.requester.gateways, *_own_node(config)))
    display = _Display(Console(stderr=True, highlight=False))
    try:
        report = asyncio.run(
            verifying.verify(config, target, tuple(sources), re_execute=re_execute, display=display)
        )
    except NodeError as error:
        if not as_json:
            raise
        click.echo(f"sdv-node: {error}", err=True)
        print_json({"verdict": None, "error": str(error)})
        return error.exit_code
    if as_json:
        print_json(report.to_json())
    else:
        for line in lines(report):
            click.echo(line)
    return report.exit_code


def _own_node(config: Config) -> tuple[str, ...]:
    """Return the address of the node on this machine if one answers: it may have the result."""
    try:
        get_json(config, "/livez")
    except Unreachable:
        return ()
    return (node_url(config.http),)


def lines(report: Report) -> Iterator[str]:
    """Yield what people are told."""
    manifest = report.examined.manifest
    if report.deal_id is not None:
        yield f"deal     {report.deal_id}"
    yield f"CID      {report.cid or 'none'}"
    if manifest is not None:
        yield f"class    {_safe(manifest.determinism_class)}"
        yield f"profile  {_safe(manifest.profile)}"
    yield f"files    {report.directory}"
    yield f"verdict  {report.verdict.value}: {_SENTENCES[report.verdict]}"
    for problem in report.examined.problems:
        yield f"  {problem}"
    if report.executed is not None:
        yield from _executed_lines(report.executed)


def _executed_lines(executed: Executed) -> Iterator[str]:
    comparison = executed.comparison
    yield f"here     CID {executed.cid}, class {executed.determinism_class}"
    if comparison.weights_differing:
        weights = comparison.weights_differing[:_SHOWN_DIFFERENCES]
        yield f"  weights that differ: {', '.join(map(_safe, weights))}"
    for part, (result, execution) in comparison.class_differences.items():
        yield f"  {_safe(part)}: {_safe(result or 'none')} in the result, {_safe(execution or 'none')} here"
    if comparison.parts_at is not None:
        yield f"they part at {_safe(comparison.parts_at)}; different from there:"
        shown = comparison.differing[:_SHOWN_DIFFERENCES]
        yield f"  {', '.join(map(_safe, shown))}{_more(comparison.differing)}"
    for measure in executed.pictures:
        yield f"  {measure['path']}: {_measure(measure)}"


def _measure(measure: dict[str, Any]) -> str:
    if "problem" in measure:
        return f"not compared: {measure['problem']}"
    psnr = "every pixel the same" if measure["psnr_db"] is None else f"PSNR {measure['psnr_db']:.1f} dB"
    frames = f", {measure['frames']} frames" if measure["frames"] > 1 else ""
    return f"{psnr}, SSIM {measure['ssim']:.4f}{frames}"


def _more(differing: Sequence[str]) -> str:
    left = len(differing) - _SHOWN_DIFFERENCES
    return f" and {left} more" if left > 0 else ""


def _safe(text: str) -> str:
    return ascii(text)[1:-1][:120]


class _Display:
    """Tells what is done on standard error: bars while a job is rendered, a line now and then otherwise."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told = 0.0

    def say(self, text: str) -> None:
        """Print a line."""
        self._told = 0.0
        self._console.print(text, markup=False, soft_wrap=True)

    def received(self, received_bytes: int, total_bytes: int | None) -> None:
        """Print a line for each quarter of a download."""
        share = received_bytes / total_bytes if total_bytes else 0.0
        if share >= self._told + _TOLD_SHARE:
            self._told = share
            self._console.print(f"{share:.0%} of {(total_bytes or 0) / 1e6:.1f} MB", markup=False)

    @contextmanager
    def rendering(self, job_dir: Path, clips: int) -> Iterator[Callable[[Progress], None]]:
        """Show the bars of a rendering."""
        with RenderDisplay(self._console, job_dir, clips=clips) as display:
            yield display

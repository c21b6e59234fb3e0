"""``sdv-node render``: the pipeline alone, without a chain: inputs in, a result directory and its CID out."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from node.app.rendering import render_once, require_profile
from node.cli.context import keep_output_clean, load_config, print_json
from node.cli.inputs import InputsCommand, input_notes, inputs_option, say_problems
from node.cli.render_display import RenderDisplay
from node.cli.render_place import checked_place, job_directory, put_in_place
from node.config import Config
from node.errors import NodeError
from node.job.manifest import MANIFEST
from node.job.modules import NEWEST
from node.job.spec import InvalidInputs, JobSpec, parse_inputs
from node.publisher.unixfs import cid_of


@click.command(cls=InputsCommand)
@click.option("--profile", metavar="NAME", help="Which models; the setting worker.profile unless given.")
@inputs_option
@click.option("--module", default=NEWEST.canonical, show_default=True, help="Which version of the module.")
@click.option(
    "--out",
    metavar="DIR",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the result goes: a new or empty directory, or an earlier result, which is replaced.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def render(
    ctx: click.Context,
    profile: str | None,
    inputs: tuple[str, ...],
    module: str,
    out: Path,
    as_json: bool,
) -> int:
    """Render a job on this machine, without market or payment.

    The same inputs give the same CID on every machine of the same determinism class. A render that was
    broken off goes on from its finished stages when it is asked for again. The path of the still is told
    as soon as it is there; --out appears at the end, complete.

    \b
    Examples:
      sdv-node render --profile tiny -i Prompt="a red fox in snow" -i Seed=7 --out fox
      sdv-node render -i Prompt="a red fox" -i VideoSampler=dpmpp_2m -i Frames=png --out fox --json
    """
    try:
        spec = parse_inputs(module, inputs)
        for note in (*input_notes(ctx), *spec.notes):
            click.echo(f"Note: {note}", err=True)
        document = _render(load_config(ctx), profile, spec, out)
    except InvalidInputs as error:
        say_problems(error)
        if as_json:
            problems = [problem.to_json() for problem in error.problems]
            print_json({"error": "the job's inputs are invalid", "problems": problems})
        return error.exit_code
    except NodeError as error:
        if not as_json:
            raise
        click.echo(f"sdv-node: {error}", err=True)
        print_json({"error": str(error), "problems": []})
        return error.exit_code
    if as_json:
        print_json(document)
        return 0
    click.echo(f"CID    {document['cid']}\nclass  {document['class']}")
    for path in document["outputs"]:
        click.echo(path)
    return 0


def _render(config: Config, profile: str | None, spec: JobSpec, out: Path) -> dict[str, Any]:
    out = checked_place(out)
    profile = profile or config.worker.profile
    require_profile(config, profile)
    job = hashlib.sha256(json.dumps([profile, spec.to_json()], sort_keys=True).encode()).hexdigest()
    keep_output_clean(config)
    with job_directory(out, job) as job_dir:
        with RenderDisplay(Console(stderr=True), job_dir, clips=spec.batching) as display:
            asyncio.run(render_once(config, profile, spec, job_dir, display))
        put_in_place(job_dir, out)
    manifest = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    return {
        "cid": cid_of(out),
        "class": manifest["determinism_class"],
        "outputs": [str(out / output["path"]) for output in manifest["outputs"]],
        "manifest": manifest,
    }

"""``sdv-node run``: have a job done by somebody on the market.

Owns the command line's forms; what happens is the requester's business.
"""

import asyncio
from collections.abc import Sequence
from decimal import InvalidOperation
from typing import Any

import click
from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from node.cli.context import load_config, print_json, tokens
from node.cli.inputs import InputsCommand, input_notes, inputs_option, say_problems
from node.cli.run_display import RunDisplay
from node.config import Config, Seconds, Tokens
from node.errors import NodeError
from node.job.spec import InvalidInputs, JobSpec, parse_inputs
from node.requester.outcome import Outcome, RunState
from node.requester.results import closing_hints


@click.command(cls=InputsCommand)
@click.argument("module", required=False)
@inputs_option
@click.option("--max-price", metavar="TOKENS", help="The most to pay for the job, in whole payment tokens.")
@click.option("--wait", "wait_s", type=float, metavar="SECONDS", help="How long to wait for proposals.")
@click.option("--yes", is_flag=True, help="Do not ask before the job is posted.")
@click.option("--resume", "run_id", metavar="RUN", help="Go on with a run that was broken off.")
@click.option("--dispute", is_flag=True, help="With --resume: let a mediator rule on a result you refuse.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
@click.pass_context
def run(
    ctx: click.Context,
    module: str | None,
    inputs: tuple[str, ...],
    max_price: str | None,
    wait_s: float | None,
    yes: bool,
    run_id: str | None,
    dispute: bool,
    as_json: bool,
) -> int:
    """Post a job, take the cheapest provider, wait, verify the result, and pay.

    MODULE is sdv-pipeline:v1.1-lilypad2 or another version; without a version it is the newest.
    Nothing is sent when an input is invalid, and nothing is paid for files that do not verify.

    \b
    Examples:
      sdv-node run sdv-pipeline:v1.1-lilypad2 -i Prompt="a red fox in snow" -i Seed=7
      sdv-node run sdv-pipeline -i Prompt="a red fox" --max-price 2 --yes --json
      sdv-node run --resume 3f9c2b1a77e0
    """
    from node.observe.logging import configure_logging

    if (module is None) == (run_id is None):
        raise click.UsageError("name a MODULE, or a run with --resume")
    if (run_id is not None and inputs) or (dispute and run_id is None):
        raise click.UsageError("--resume takes no inputs, and --dispute needs --resume")
    console = Console(stderr=as_json)
    display = RunDisplay(console)
    try:
        config = _with_flags(load_config(ctx), max_price, wait_s)
        # Standard output belongs to the result; what every transaction does is shown as steps already.
        configure_logging("auto", "warning" if config.log.level == "info" else config.log.level)
        if module is not None:
            spec = parse_inputs(module, inputs)
            _introduce(console, config, spec, input_notes(ctx))
            if console.is_terminal and not (yes or as_json):
                click.confirm("Post this job?", default=True, abort=True)
        outcome = asyncio.run(_carry_out(display, config, module, inputs, run_id, dispute=dispute))
    except InvalidInputs as error:
        _show_problems(error, as_json=as_json)
        return error.exit_code
    except NodeError as error:
        if not as_json:
            raise
        print_json(_error_document(error, display.run_id or run_id))
        return error.exit_code
    if as_json:
        print_json(outcome.to_json())
    elif outcome.state is RunState.PAID and outcome.directory is not None:
        hints = closing_hints(outcome.directory, outcome.cid, config.http.public_gateway)
        click.echo("\n" + "\n".join(hints))
    return outcome.exit_code


async def _carry_out(
    display: RunDisplay,
    config: Config,
    module: str | None,
    inputs: Sequence[str],
    run_id: str | None,
    *,
    dispute: bool,
) -> Outcome:
    from node.app import requester

    with display:
        async with requester(config, on_step=display) as market:
            display.symbol = await market.symbol()
            if run_id is None:
                return await market.request(module or "", inputs)
            return await (market.dispute(run_id) if dispute else market.resume(run_id))


def _with_flags(config: Config, max_price: str | None, wait_s: float | None) -> Config:
    update: dict[str, Any] = {}
    try:
        if max_price is not None:
            update["max_price"] = TypeAdapter(Tokens).validate_python(max_price)
        if wait_s is not None:
            update["wait_for_proposals_s"] = TypeAdapter(Seconds).validate_python(wait_s)
    except (ValidationError, InvalidOperation) as error:
        raise click.UsageError(
            "--max-price is an amount from 0 to 1000000000 tokens, --wait a positive number of seconds"
        ) from error
    return config.model_copy(update={"requester": config.requester.model_copy(update=update)})


def _introduce(console: Console, config: Config, spec: JobSpec, notes: Sequence[str]) -> None:
    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    say(f"{spec.module}, at most {tokens(config.requester.max_price)} tokens")
    for name, value in spec.tunables().items():
        say(f"  {name:<15} {value}")
    for note in (*notes, *spec.notes):
        say(f"Note: {note}")


def _show_problems(error: InvalidInputs, *, as_json: bool) -> None:
    if as_json:
        problems = [problem.to_json() for problem in error.problems]
        print_json(_error_document(error, None) | {"state": "invalid", "problems": problems})
        return
    say_problems(error)


def _error_document(error: NodeError, run_id: str | None) -> dict[str, Any]:
    return {
        "state": "error",
        "run_id": run_id,
        "job_id": None,
        "deal_id": None,
        "cid": None,
        "dir": None,
        "paid_wei": "0",
        "reason": str(error),
        "next_step": "",
    }

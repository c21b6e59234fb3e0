"""``sdv-node run``: have a job done by somebody on the market.

Owns the command line's forms; what happens is the requester's business.
"""

import asyncio
from collections.abc import Sequence
from decimal import InvalidOperation
from typing import TYPE_CHECKING, Any

import click
from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from node.addresses import NoAddress, parse_address
from node.cli.context import load_config, print_json, tokens
from node.cli.inputs import InputsCommand, input_notes, inputs_option, say_problems
from node.cli.run_display import RunDisplay
from node.cli.unlocking import typed_key
from node.config import DEVELOPMENT_CHAINS, Config
from node.errors import NodeError
from node.job.spec import InvalidInputs, JobSpec, parse_inputs
from node.judging_settings import ALWAYS, check_rate
from node.requester.outcome import Outcome, RunState
from node.requester.results import closing_hints
from node.setting_types import Seconds, Tokens
from node.types import Address

if TYPE_CHECKING:
    from node.chain.signer import Key


@click.command(cls=InputsCommand)
@click.argument("module", required=False)
@inputs_option
@click.option("--max-price", metavar="TOKENS", help="The most to pay for the job, in whole payment tokens.")
@click.option("--wait", "wait_s", type=float, metavar="SECONDS", help="How long to wait for proposals.")
@click.option("--provider", metavar="ADDRESS", help="Hire this provider on its published offer, no other.")
@click.option(
    "--hire", is_flag=True, help="Hire the cheapest published offer, without waiting for proposals."
)
@click.option(
    "--check",
    metavar="always|never|RATE",
    help="How many results are checked beyond their hashes before they are paid for.",
)
@click.option(
    "--check-by",
    type=click.Choice(["execution", "mediator"]),
    help="Compute the job again here, or ask a mediator, whose fee you pay.",
)
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
    provider: str | None,
    hire: bool,
    check: str | None,
    check_by: str | None,
    yes: bool,
    run_id: str | None,
    dispute: bool,
    as_json: bool,
) -> int:
    """Post a job, take the cheapest provider, wait, verify the result, and pay.

    MODULE is sdv-pipeline:v1.1-lilypad2 or another version; without a version it is the newest.
    Nothing is sent when an input is invalid, and nothing is paid for files that do not verify.

    Providers propose to do the job, and publish offers on which they can be hired at once; the cheapest of
    both is taken within your limits. A hired provider that stays silent costs time, never money.

    \b
    Examples:
      sdv-node run sdv-pipeline:v1.1-lilypad2 -i Prompt="a red fox in snow" -i Seed=7
      sdv-node run sdv-pipeline -i Prompt="a red fox" --max-price 2 --yes --json
      sdv-node run sdv-pipeline -i Prompt="a red fox" --provider 0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65
      sdv-node run sdv-pipeline -i Prompt="a red fox" --check 0.1
      sdv-node run --resume 3f9c2b1a77e0
    """
    from node.observe.logging import configure_logging

    if (module is None) == (run_id is None):
        raise click.UsageError("name a MODULE, or a run with --resume")
    if run_id is not None and (provider is not None or hire or check or check_by):
        raise click.UsageError(
            "--resume goes on as the run was begun: leave --provider, --hire and --check out"
        )
    if (run_id is not None and inputs) or (dispute and run_id is None):
        raise click.UsageError("--resume takes no inputs, and --dispute needs --resume")
    console = Console(stderr=as_json)
    display = RunDisplay(console)
    try:
        flags = _flags(max_price, wait_s, check, check_by, hire=hire)
        config = load_config(ctx)
        if check is None and check_rate(config.requester.check):
            flags.pop("check", None)
        config = config.model_copy(update={"requester": config.requester.model_copy(update=flags)})
        if module is not None and not config.requester.max_price:
            raise click.UsageError(
                "the most you would pay is 0 tokens, for which nobody can be hired: "
                "give --max-price an amount above 0, or set requester.max_price"
            )
        hired = None if provider is None else _address(provider)
        # Standard output belongs to the result; what every transaction does is shown as steps already.
        configure_logging("auto", "warning" if config.log.level == "info" else config.log.level)
        if module is not None:
            spec = parse_inputs(module, inputs)
            _introduce(console, config, spec, input_notes(ctx))
            if console.is_terminal and not (yes or as_json):
                click.confirm("Post this job?", default=True, abort=True)
        key = typed_key(config)
        work = _carry_out(display, config, key, module, inputs, hired, run_id, dispute=dispute)
        outcome = asyncio.run(work)
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
    elif outcome.state is RunState.DISPUTED:
        click.echo(f"Next: {outcome.next_step}")
    elif outcome.state is RunState.PAID and outcome.directory is not None:
        # No public gateway finds what a market on one machine has.
        gateway = "" if config.chain.chain_id in DEVELOPMENT_CHAINS else config.http.public_gateway
        hints = closing_hints(outcome.directory, outcome.cid, gateway)
        click.echo("\n" + "\n".join(hints))
    return outcome.exit_code


async def _carry_out(
    display: RunDisplay,
    config: Config,
    key: "Key | None",
    module: str | None,
    inputs: Sequence[str],
    provider: Address | None,
    run_id: str | None,
    *,
    dispute: bool,
) -> Outcome:
    from node.app import requester

    with display:
        async with requester(config, on_step=display, key=key) as market:
            display.symbol = await market.symbol()
            if run_id is None:
                return await market.request(module or "", inputs, provider)
            return await (market.dispute(run_id) if dispute else market.resume(run_id))


def _address(text: str) -> Address:
    try:
        return parse_address(text)
    except NoAddress as problem:
        raise click.UsageError(f"--provider: {problem}") from None


def _flags(
    max_price: str | None, wait_s: float | None, check: str | None, check_by: str | None, *, hire: bool
) -> dict[str, Any]:
    """Return the settings that the flags stand for. Raises UsageError."""
    update: dict[str, Any] = {"matching": "hire"} if hire else {}
    try:
        if max_price is not None:
            update["max_price"] = TypeAdapter(Tokens).validate_python(max_price)
        if wait_s is not None:
            update["wait_for_proposals_s"] = TypeAdapter(Seconds).validate_python(wait_s)
    except (ValidationError, InvalidOperation) as error:
        raise click.UsageError(
            "--max-price is an amount from 0 to 1000000000 tokens, --wait a positive number of seconds"
        ) from error
    if check is not None:
        try:
            check_rate(check)
        except ValueError as error:
            raise click.UsageError(f"--check: {error}") from None
        update["check"] = check
    if check_by is not None:
        update["check_by"] = check_by
        # Who names a way to check wants a check.
        update.setdefault("check", ALWAYS)
    return update


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

"""How a job's inputs are given on a command line, and what is said when they are wrong."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from node.job.spec import InvalidInputs

_INPUT_FLAGS = ("-i", "--input")
_NOTES = "node.cli.inputs.notes"
_Command = TypeVar("_Command", bound=Callable[..., Any])


def join_inputs(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the arguments with ``-i Key Value`` written as ``-i Key=Value``, and a note for each."""
    joined: list[str] = []
    notes: list[str] = []
    words = list(arguments)
    while words:
        word = words.pop(0)
        joined.append(word)
        if word == "--":
            return joined + words, notes
        if word not in _INPUT_FLAGS or not words:
            continue
        key = words.pop(0)
        if "=" not in key and words and not words[0].startswith("-"):
            value = words.pop(0)
            notes.append(f"-i {key} {value} is read as -i {key}={value}")
            key = f"{key}={value}"
        joined.append(key)
    return joined, notes


class InputsCommand(click.Command):
    """Takes a key and its value as two words, as some published examples write them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Rewrite the arguments, then parse them as usual."""
        joined, ctx.meta[_NOTES] = join_inputs(args)
        return super().parse_args(ctx, joined)


def inputs_option(command: _Command) -> _Command:
    """Give an ``InputsCommand`` the option ``-i``, as the argument ``inputs``."""
    option = click.option(
        "-i",
        "--input",
        "inputs",
        metavar="KEY=VALUE",
        multiple=True,
        help="One input; split at the first '='.",
    )
    return option(command)


def input_notes(ctx: click.Context) -> list[str]:
    """Return how the inputs of this invocation were understood, where that is not obvious."""
    notes: list[str] = ctx.meta[_NOTES]
    return notes


def say_problems(error: InvalidInputs) -> None:
    """Print every problem to standard error."""
    for problem in error.problems:
        click.echo(f"sdv-node: {problem}", err=True)

"""``sdv-node completion``: the script that lets a shell complete commands, options and values at TAB."""

import os
import re
from collections.abc import Mapping
from typing import Any, ClassVar

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from node.cli.command_index import index_of
from node.cli.completed_values import completer, values_for

PROGRAM = "sdv-node"
VARIABLE = "_SDV_NODE_COMPLETE"
SHELLS = ("bash", "zsh", "fish")
_HELP = {"help_option_names": ["-h", "--help"]}
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")

# click's own script takes the words as bash cut them, and bash cuts at : and =, which modules and --set have.
_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' found item value
    COMPREPLY=()
    found=$(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=bash_complete "$1" 2>/dev/null)
    for item in $found; do
        value=${item#*,}
        case ${item%%%%,*} in
            dir) compopt -o dirnames 2>/dev/null ;;
            file) compopt -o default 2>/dev/null ;;
            *)
                COMPREPLY+=("$value")
                [[ $value == *= ]] && compopt -o nospace 2>/dev/null
                ;;
        esac
    done
    return 0
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class WholeWordBash(BashComplete):
    """Completes words that have the characters at which bash cuts them."""

    name: ClassVar[str] = "bash"
    source_template: ClassVar[str] = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the finished words after the program's name, and the one under the cursor."""
        # A character more keeps the last word apart, whether it is begun or not.
        *words, last = split_arg_string(os.environ.get("COMP_LINE", "") + "x")
        while words and _ASSIGNMENT.match(words[0]):
            words.pop(0)
        return words[1:], last[:-1]

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """Return what may stand there, without what bash takes for words before it."""
        begun = incomplete.partition("=")[2] if incomplete.startswith("-") else incomplete
        breaks = set(":=") & set(os.environ.get("COMP_WORDBREAKS", ":="))
        kept = max((begun.rfind(each) for each in breaks), default=-1) + 1
        found = super().get_completions(args, incomplete)
        return [
            CompletionItem(item.value.removeprefix(begun[:kept]), type=item.type, help=item.help)
            for item in found
        ]


add_completion_class(WholeWordBash)


class _Described(click.Group):
    """A group that is known from its description, in the order it was described."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands below it."""
        del ctx
        return list(self.commands)


def completing(root: click.Group) -> bool:
    """Answer a shell that asks by the environment; return whether one asked."""
    instruction = os.environ.get(VARIABLE)
    if not instruction:
        return False
    shell, _, what = instruction.partition("_")
    if shell in SHELLS and what == "complete":
        kind = get_completion_class(shell)
        assert kind is not None  # noqa: S101 - one for each of SHELLS
        commands = _rebuilt(index_of(root))
        click.echo(kind(commands, {}, PROGRAM, VARIABLE).complete().encode())
    return True


def _rebuilt(described: Mapping[str, Any]) -> click.Command:
    kept: dict[str, Any] = {
        "name": described["name"] or PROGRAM,
        "help": described["help"],
        "short_help": described["short"],
        "hidden": described["hidden"],
        "params": [_parameter(each) for each in described["parameters"]],
        "context_settings": {} if described["name"] else _HELP,
    }
    if "commands" not in described:
        return click.Command(**kept)
    return _Described(**kept, commands={name: _rebuilt(each) for name, each in described["commands"].items()})


def _parameter(described: Mapping[str, Any]) -> click.Parameter:
    kind: click.ParamType[Any] | None = None
    if described["choices"]:
        kind = click.Choice(described["choices"], case_sensitive=False)
    elif described["path"] or described["metavar"] in {"FILE", "[FILE]", "DIR"}:
        folder = described["path"] == "dir" or described["metavar"] == "DIR"
        kind = click.Path(file_okay=not folder)
    find = values_for(described)
    complete = completer(find) if find else None
    if not described.get("option"):
        return click.Argument(
            [described["name"]],
            nargs=described["nargs"],
            type=kind,
            required=False,
            shell_complete=complete,
        )
    if described["flag"]:
        return click.Option([*described["names"], described["name"]], is_flag=True, help=described["help"])
    return click.Option(
        [*described["names"], described["name"]],
        nargs=described["nargs"],
        multiple=described["multiple"],
        type=kind,
        help=described["help"],
        shell_complete=complete,
    )


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands, options and values at TAB.

    \b
    Example:
      sdv-node completion bash > ~/.local/share/bash-completion/completions/sdv-node
      sdv-node completion zsh > ~/.zfunc/_sdv-node        # with fpath+=~/.zfunc before compinit
      sdv-node completion fish > ~/.config/fish/completions/sdv-node.fish
    """
    root = ctx.find_root().command
    assert isinstance(root, click.Group)  # noqa: S101 - the command line's own group
    index_of(root)
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - one for each of SHELLS
    script = kind.source_template % kind(root, {}, PROGRAM, VARIABLE).source_vars()
    click.echo(script, nl=False)

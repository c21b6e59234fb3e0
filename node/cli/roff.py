"""Manual pages in roff's man macros, made from what the commands say of themselves.

Source: man(7). Pages hold no date, so that the same version always gives the same bytes.
"""

from collections.abc import Iterable, Iterator
from inspect import cleandoc

import click

PREFORMATTED = "\b"
"""How click marks a paragraph whose lines stay as they are."""

EXIT_STATUS = (
    ("0", "done"),
    ("1", "a problem was found"),
    ("2", "invalid input or settings"),
    ("3", "something could not be reached"),
    ("4", "refused by this node's own policy, or halted"),
    ("75", "try again later"),
    ("130", "interrupted"),
)
FILES = (
    ("/etc/sdv-node/config.toml, ~/.config/sdv-node/config.toml", "settings; the first that exists is read"),
    ("/etc/sdv-node/models.toml, ~/.config/sdv-node/models.toml", "model profiles of your own"),
    ("/var/lib/sdv-node, ~/.local/share/sdv-node", "the data directory, for root and for others"),
)
ENVIRONMENT = (
    (
        "SDV_NODE__SECTION__KEY",
        "one setting, such as SDV_NODE__PRICING__FLOOR=2; above the file, below --set",
    ),
    ("NO_COLOR", "if set, nothing is printed in colour"),
)


def page(context: click.Context, version: str) -> str:
    """Return the page of the context's command, as ``man`` reads it."""
    command = context.command
    words = context.command_path.split()
    name = "-".join(words)
    paragraphs = list(_paragraphs(command.help or ""))
    examples = [each for each in paragraphs if _is_example(each)]
    lines = [
        f'.TH "{_inline(name).upper()}" 1 "" "sdv\\-node {_inline(version)}" "sdv\\-node manual"',
        ".ad l",
        ".SH NAME",
        f"{_inline(name)} \\- {_inline(_named_for(command))}",
        ".SH SYNOPSIS",
        f".B {_inline(context.command_path)}",
        *(_inline(piece) for piece in command.collect_usage_pieces(context)),
        ".SH DESCRIPTION",
        *_described(each for each in paragraphs if not _is_example(each)),
    ]
    options = [record for each in command.get_params(context) if (record := each.get_help_record(context))]
    lines += _list("OPTIONS", options)
    if isinstance(command, click.Group):
        below = ((each, command.get_command(context, each)) for each in command.list_commands(context))
        lines += _list(
            "COMMANDS",
            [
                (f"{name}-{each}(1)", found.get_short_help_str(limit=200))
                for each, found in below
                if found is not None and not found.hidden
            ],
        )
    if examples:
        lines += [".SH EXAMPLES", *_described(map(_without_heading, examples))]
    lines += _list("EXIT STATUS", EXIT_STATUS)
    if len(words) == 1:
        lines += [*_list("FILES", FILES), *_list("ENVIRONMENT", ENVIRONMENT)]
    else:
        lines += [".SH SEE ALSO", f".BR {_inline('-'.join(words[:-1]))} (1)"]
    return "\n".join(lines) + "\n"


def file_name(context: click.Context) -> str:
    """Return the name of the file that ``man`` looks for."""
    return "-".join(context.command_path.split()) + ".1"


def _named_for(command: click.Command) -> str:
    return command.get_short_help_str(limit=200).rstrip(".")


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in cleandoc(text).split("\n\n"):
        if paragraph.strip():
            yield paragraph.strip("\n")


def _is_example(paragraph: str) -> bool:
    lines = paragraph.splitlines()
    return lines[0].strip() == PREFORMATTED and len(lines) > 2 and lines[1].startswith("Example")


def _without_heading(example: str) -> str:
    mark, _, rest = example.split("\n", 2)
    return f"{mark}\n{rest}"


def _described(paragraphs: Iterable[str]) -> Iterator[str]:
    for number, paragraph in enumerate(paragraphs):
        first, _, rest = paragraph.partition("\n")
        if number:
            yield ".PP"
        if first.strip() == PREFORMATTED:
            yield from (".nf", *(_line(line) for line in cleandoc("\n" + rest).splitlines()), ".fi")
        else:
            yield from (_line(line.strip()) for line in paragraph.splitlines())


def _list(title: str, rows: Iterable[tuple[str, str]]) -> list[str]:
    lines = [line for term, told in rows for line in (".TP", f".B {_inline(term)}", _line(told))]
    return [f".SH {title}", *lines] if lines else []


def _line(text: str) -> str:
    """Return a line of text that roff takes for text, whatever it begins with."""
    shown = _inline(text)
    return f"\\&{shown}" if shown.startswith((".", "'")) else shown


def _inline(text: str) -> str:
    """Return text with the characters escaped that roff reads as its own: quotes stay what was typed."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("^", "\\(ha").replace("~", "\\(ti")
    return escaped.replace("`", "\\(ga").replace('"', "\\(dq").replace("'", "\\(aq")

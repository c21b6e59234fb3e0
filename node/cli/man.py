"""``sdv-node man``: the manual, made from the commands themselves."""

from collections.abc import Iterator
from pathlib import Path

import click

from node import __version__
from node.cli.roff import file_name, page


@click.command()
@click.argument("command", nargs=-1, metavar="[COMMAND]...")
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write the page of every command there, as man looks for them: sdv-node.1, sdv-node-run.1 ...",
)
@click.pass_context
def man(ctx: click.Context, command: tuple[str, ...], folder: Path | None) -> None:
    """Print the manual page of sdv-node, or of one command.

    \b
    Example:
      sdv-node man | man -l -
      sdv-node man jobs export | man -l -
      sdv-node man --dir ~/.local/share/man/man1
    """
    root = _context(ctx.find_root().command, "sdv-node", None)
    if folder is None:
        click.echo(page(_found(root, command), __version__), nl=False)
        return
    if command:
        raise click.UsageError("--dir writes the pages of all commands: name a command, or a folder")
    folder.mkdir(parents=True, exist_ok=True)
    pages = list(_below(root))
    for each in pages:
        (folder / file_name(each)).write_text(page(each, __version__), encoding="utf-8")
    click.echo(f"{len(pages)} pages in {folder}")


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    return click.Context(command, info_name=name, parent=parent, **command.context_settings)


def _found(context: click.Context, words: tuple[str, ...]) -> click.Context:
    for word in words:
        group = context.command
        command = group.get_command(context, word) if isinstance(group, click.Group) else None
        if command is None:
            raise click.UsageError(f"{context.command_path} has no command {word!r:.40}: see --help")
        context = _context(command, word, context)
    return context


def _below(context: click.Context) -> Iterator[click.Context]:
    yield context
    group = context.command
    if not isinstance(group, click.Group):
        return
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None and not command.hidden:
            yield from _below(_context(command, name, context))

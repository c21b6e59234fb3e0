"""The ``sdv-node`` command: finds the command group, turns errors into one sentence and an exit code."""

import difflib
import importlib
import os
import sys
from collections.abc import Sequence

import click

from node import __version__
from node.cli.context import Settings
from node.errors import NodeError

COMMANDS = {
    "start": "node.cli.start:start",
    "demo": "node.cli.demo:demo",
    "run": "node.cli.run:run",
    "render": "node.cli.render:render",
    "verify": "node.cli.verify:verify",
    "status": "node.cli.status:status",
    "dashboard": "node.cli.dashboard:dashboard",
    "top": "node.cli.top:top",
    "doctor": "node.cli.doctor:doctor",
    "jobs": "node.cli.jobs:jobs",
    "logs": "node.cli.logs:logs",
    "clean": "node.cli.clean:clean",
    "bench": "node.cli.bench:bench",
    "models": "node.cli.models:models",
    "drain": "node.cli.drain:drain",
    "resume": "node.cli.resume:resume",
    "reload": "node.cli.reload:reload",
    "wallet": "node.cli.wallet:wallet",
    "offer": "node.cli.offer:offer",
    "config": "node.cli.config:config",
    "worker": "node.cli.worker:worker",
    "devnet": "node.cli.devnet:devnet",
    "completion": "node.cli.completion:completion",
    "man": "node.cli.man:man",
}
EXIT_INTERRUPTED = 130


class LazyCommands(click.Group):
    """Imports a command's module when the command is asked for, so that ``--help`` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order a newcomer meets them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command, or None for an unknown name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that ``args`` begin with. Raises UsageError with the name that was meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as problem:
            begun = [name for name in COMMANDS if name.startswith(args[0])]
            near = begun or difflib.get_close_matches(args[0], COMMANDS, n=1)
            if not near:
                raise
            told = f"{problem.message.rstrip('.')}. Did you mean {near[0]!r}?"
            raise click.UsageError(told, ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from their description, without importing any of them."""
        from node.cli.command_index import index_of

        del ctx
        described = index_of(self)["commands"]
        room = formatter.width - 6 - max(map(len, described))
        rows = [
            (name, click.Command(None, help=each["short"]).get_short_help_str(room))
            for name, each in described.items()
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=LazyCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sdv-node")
@click.option("--config", "config_path", metavar="FILE", help="Settings file, instead of the usual places.")
@click.option("--data-dir", metavar="DIR", help="Where everything is kept, instead of node.data_dir.")
@click.option(
    "--set", "assignments", metavar="SECTION.KEY=VALUE", multiple=True, help="Override one setting."
)
@click.pass_context
def cli(
    ctx: click.Context, config_path: str | None, data_dir: str | None, assignments: tuple[str, ...]
) -> None:
    """Turn a GPU into income: render text-to-video jobs from an on-chain market.

    \b
    First steps:
      sdv-node demo                      a whole paid job on this machine, nothing to configure
      sdv-node doctor                    what is missing before the node can earn
      sdv-node start                     the node itself
      sdv-node run sdv-pipeline:v1.1-lilypad2 -i Prompt="a red fox in snow"
    """
    ctx.obj = Settings(config_path=config_path, data_dir=data_dir, assignments=assignments)


def find_error(problem: BaseException) -> NodeError | None:
    """Return the node's own error inside an exception group, the most telling one first."""
    if isinstance(problem, NodeError):
        return problem
    if isinstance(problem, BaseExceptionGroup):
        found = [error for inner in problem.exceptions if (error := find_error(inner)) is not None]
        return max(found, key=lambda error: error.exit_code != 75, default=None)
    return None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    if os.environ.get("_SDV_NODE_COMPLETE"):
        from node.cli.completion import completing

        if completing(cli):
            return
    try:
        code = cli.main(args=arguments, prog_name="sdv-node", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(EXIT_INTERRUPTED)
    except click.ClickException as problem:
        problem.show()
        sys.exit(problem.exit_code)
    except BaseException as problem:
        error = find_error(problem)
        if isinstance(problem, OSError) and problem.filename:
            click.echo(f"sdv-node: {problem.filename}: {problem.strerror}", err=True)
            sys.exit(1)
        if error is None:
            if isinstance(problem, KeyboardInterrupt):
                sys.exit(EXIT_INTERRUPTED)
            raise
        click.echo(f"sdv-node: {error}", err=True)
        sys.exit(error.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()

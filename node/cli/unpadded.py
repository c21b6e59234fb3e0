"""Tables for programs and files: the same lines as on a terminal, without the spaces that fill them up."""

from typing import Any

import click
from rich.console import Console


class UnpaddedConsole(Console):
    """Prints to standard output without spaces at the end of a line."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as ``Console.print`` does; a table's lines end where their text does."""
        with self.capture() as printed:
            super().print(*objects, **options)
        click.echo("\n".join(line.rstrip(" ") for line in printed.get().split("\n")), nl=False)

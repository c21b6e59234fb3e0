"""The manual pages: one for each command, as roff reads them."""

import shutil
import subprocess

import click
import pytest

from node.cli.main import COMMANDS, main
from node.cli.roff import page

TRAPS = """Text with 'quotes', a \\ and a
    .line that begins with a dot.

    \b
    Example:
      sdv-node trap --it 'a b' ~/x
      .hidden
    """


def ended(arguments):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return end.value.code


def test_every_command_has_a_page_that_roff_reads_without_a_warning(tmp_path, capsys):
    assert ended(["man", "--dir", str(tmp_path)]) == 0
    names = {each.name for each in tmp_path.iterdir()}
    assert {"sdv-node.1", "sdv-node-jobs-export.1"} <= names
    assert {f"sdv-node-{command}.1" for command in COMMANDS} <= names
    assert f"{len(names)} pages" in capsys.readouterr().out
    groff = shutil.which("groff")
    if groff:
        pages = sorted(map(str, tmp_path.iterdir()))
        read = subprocess.run([groff, "-man", "-Tutf8", "-ww", "-z", *pages], capture_output=True, text=True)
        assert (read.returncode, read.stderr) == (0, "")


def test_the_page_of_one_command_has_its_options_examples_and_exit_codes(capsys):
    assert ended(["man", "jobs", "export"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith('.TH "SDV\\-NODE\\-JOBS\\-EXPORT" 1')
    for expected in (
        ".B \\-\\-since MOMENT",
        ".SH EXAMPLES",
        "sdv\\-node jobs export \\-\\-csv",
        ".SH EXIT STATUS",
    ):
        assert expected in printed
    assert ended(["man", "jobs", "nonsense"]) == 2


def test_what_roff_would_read_as_its_own_is_shown_as_it_was_typed():
    command = click.Command("trap", help=TRAPS)
    printed = page(click.Context(command, info_name="sdv-node"), "1")
    groff = shutil.which("groff")
    assert "\n\\&.line that begins" in printed
    assert "\n  \\&.hidden" not in printed
    if groff:
        read = subprocess.run(
            [groff, "-man", "-Tascii", "-ww"], input=printed, capture_output=True, text=True
        )
        shown = subprocess.run(["col", "-bx"], input=read.stdout, capture_output=True, text=True).stdout
        assert read.stderr == ""
        for typed in ("'quotes', a \\ and a", ".line that begins", "--it 'a b' ~/x", ".hidden"):
            assert typed in shown

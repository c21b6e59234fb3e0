"""Tables off a terminal, and groups of commands that show how they are used."""

import pytest
from click.testing import CliRunner
from rich.table import Table

from node.cli.context import wide_console
from node.cli.main import cli


def test_a_table_in_a_pipe_has_no_spaces_up_to_its_longest_line(capsys):
    table = Table(box=None, show_header=False)
    table.add_row("phase", "a sentence that is far longer than the other one")
    table.add_row("price", "1")
    wide_console().print(table)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["price", "1"]
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.parametrize("group", ["jobs", "wallet", "offer", "config", "models"])
def test_a_group_of_commands_has_an_example_in_its_help(group):
    printed = CliRunner().invoke(cli, [group, "--help"]).output
    assert f"sdv-node {group} " in printed.partition("Example:")[2].partition("Options:")[0]


def test_the_id_of_a_job_leads_to_its_deal(tmp_path):
    ended = CliRunner().invoke(cli, ["--data-dir", str(tmp_path), "verify", "j1"])
    assert "sdv-node jobs show j1" in str(ended.exception)


def test_a_profile_without_weights_here_is_not_said_to_be_verified(tmp_path):
    printed = CliRunner().invoke(cli, ["--data-dir", str(tmp_path), "models", "verify", "tiny"]).output
    assert "nothing was verified" in printed

"""What a shell completes: asked of a real bash, through the script that ``completion bash`` prints."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from node.cli import command_index
from node.cli.command_index import describe, index_of
from node.cli.main import COMMANDS, cli, main
from node.journal.database import Database

ASK = """
eval "$(sdv-node completion bash)"
while IFS= read -r line; do
    COMP_LINE=$line COMP_POINT=${#line}
    _sdv_node_completion sdv-node
    printf '%s\\n' "${COMPREPLY[*]}"
done
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a program ``sdv-node``, and a data directory with two jobs."""
    found = tmp_path_factory.mktemp("home")
    program = found / "bin" / "sdv-node"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom node.cli.main import main\nmain()\n")
    program.chmod(0o755)
    Database(found).close()
    with sqlite3.connect(found / "journal.sqlite") as journal:
        journal.executemany(
            "INSERT INTO jobs VALUES (?, ?, ?, 1, NULL, 0, 0, '{}')",
            [("j1", 1, "PAID"), ("j2", 2, "REFUSED")],
        )
    journal.close()
    return found


def completed(home: Path, *lines: str) -> list[set[str]]:
    """Return what bash offers at the end of each line."""
    bash = shutil.which("bash")
    assert bash
    environment = {
        "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
        "HOME": str(home),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    asked = subprocess.run(
        [bash, "--norc", "-c", ASK],
        input="".join(f"{line}\n" for line in lines),
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    answers = asked.stdout.splitlines()
    assert len(answers) == len(lines), asked.stderr
    return [set(answer.split()) for answer in answers]


def test_bash_completes_commands_options_choices_and_values(home):
    asked = {
        "sdv-node do": {"doctor"},
        "sdv-node jobs ": {"audit", "counterparties", "export", "list", "show"},
        "sdv-node jobs list --ph": {"--phase"},
        "sdv-node jobs list --phase UNP": {"unpaid"},
        f"sdv-node --data-dir {home} jobs show ": {"j1", "j2"},
        "sdv-node render --profile t": {"tiny"},
        "sdv-node models pull sdv-": {"sdv-1.0", "sdv-1.1"},
    }
    assert dict(zip(asked, completed(home, *asked), strict=True)) == asked


def test_words_with_a_colon_or_an_equals_sign_are_completed_behind_it(home):
    asked = {
        "sdv-node run sdv-pipeline:v1.1": {"v1.1-lilypad2", "v1.1-lilypad1"},
        "sdv-node --set pricing.flo": {"pricing.floor="},
        "sdv-node --set=pricing.flo": {"pricing.floor="},
        "sdv-node --set ipfs.enabled=t": {"true"},
        "LC_ALL=C sdv-node --set worker.profile=sdv-1.": {"sdv-1.0", "sdv-1.1"},
    }
    assert dict(zip(asked, completed(home, *asked), strict=True)) == asked


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_asks_the_program(shell, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(command_index, "describe", lambda *_: {})
    with pytest.raises(SystemExit) as ended:
        main(["completion", shell])
    assert ended.value.code == 0
    assert f"_SDV_NODE_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_the_description_is_kept_until_a_file_of_the_command_line_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = index_of(cli)
    assert list(made["commands"]) == list(COMMANDS)
    (kept,) = (tmp_path / "sdv-node").iterdir()
    assert json.loads(kept.read_text()) == made
    monkeypatch.setattr(command_index, "describe", lambda *_: pytest.fail("described anew"))
    assert index_of(cli) == made
    monkeypatch.setattr(command_index, "__version__", "another")
    monkeypatch.setattr(command_index, "describe", lambda *_: {"commands": {}})
    assert index_of(cli) == {"commands": {}}
    assert [each.name for each in (tmp_path / "sdv-node").iterdir()] != [kept.name]


def test_a_cache_that_cannot_be_written_or_read_costs_only_time(tmp_path, monkeypatch):
    (tmp_path / "sdv-node").write_text("a file in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(command_index, "describe", lambda *_: {"commands": {}})
    assert index_of(cli) == {"commands": {}}
    assert describe(cli.get_command(None, "status"), "status")["short"].startswith("Show what")  # type: ignore[arg-type]

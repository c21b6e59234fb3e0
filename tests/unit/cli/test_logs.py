"""sdv-node logs: the node's record, one job's lines in it, the service's journal, and what comes next."""

import json
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from node.cli.main import cli
from node.observe.log_records import FILE, FOLDER
from node.observe.service_journal import journal_record


def record(number: int, level: str = "info", **told) -> dict:
    return {
        "timestamp": f"2026-11-28T10:00:{number:02}.000000Z",
        "level": level,
        "event": f"line_{number}",
        "logger": "node",
    } | told


RECORDS = [
    record(0),
    record(1, "warning", job_id="j17", problem="the endpoint is slow"),
    record(2, job_id="j18"),
    record(3, "error", job_id="j17", prompt="a\x1b[2Jb"),
]


@pytest.fixture
def data_dir(tmp_path):
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / FILE).write_text("".join(json.dumps(entry) + "\n" for entry in RECORDS))
    return tmp_path


def call(data_dir: Path, *arguments: str):
    return CliRunner().invoke(cli, ["--data-dir", str(data_dir), "logs", *arguments])


def events(data_dir: Path, *arguments: str) -> list[str]:
    result = call(data_dir, "--json", *arguments)
    assert result.exit_code == 0, result.output
    return [json.loads(line)["event"] for line in result.output.splitlines()]


def test_the_record_is_shown_by_job_level_age_and_number(data_dir):
    assert events(data_dir) == ["line_0", "line_1", "line_2", "line_3"]
    assert events(data_dir, "--job", "j17") == ["line_1", "line_3"]
    assert events(data_dir, "--level", "error") == ["line_3"]
    assert events(data_dir, "--since", "2026-11-28T10:00:02") == ["line_2", "line_3"]
    assert events(data_dir, "--lines", "1") == ["line_3"]


def test_a_search_that_finds_nothing_says_so_and_prints_no_line(data_dir):
    result = call(data_dir, "--json", "--job", "j99", "--level", "error")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "no lines: nothing that was logged is about j99, of level error or above\n"


def test_people_get_one_line_each_and_no_escape_sequence_of_a_requester(data_dir):
    result = call(data_dir)
    assert len(result.output.splitlines()) == len(RECORDS)
    assert "2026-11-28T10:00:01.000000Z [warning" in result.output
    assert "job_id=j17" in result.output
    assert "\x1b" not in result.output


def test_without_any_record_it_says_where_it_looked(tmp_path):
    result = call(tmp_path)
    assert result.exit_code != 0
    assert str(tmp_path / FOLDER) in str(result.exception)


def test_following_shows_what_was_there_and_what_comes(data_dir, monkeypatch, capsys):
    looked = threading.Event()

    def look(_seconds: float) -> None:
        if looked.is_set():
            raise KeyboardInterrupt
        looked.set()
        with (data_dir / FOLDER / FILE).open("a") as file:
            file.write(json.dumps(record(4, job_id="j17")) + "\n" + json.dumps(record(5)) + "\n")

    monkeypatch.setattr(time, "sleep", look)
    result = CliRunner().invoke(
        cli, ["--data-dir", str(data_dir), "logs", "-f", "--json", "--job", "j17"], standalone_mode=False
    )
    assert [json.loads(line)["event"] for line in result.stdout.splitlines()] == [
        "line_1",
        "line_3",
        "line_4",
    ]


@pytest.fixture
def journalctl(tmp_path, monkeypatch):
    """Stands in for journalctl: tells how it was called, and prints ``entries``."""
    entries = tmp_path / "entries"
    called = tmp_path / "called"
    program = tmp_path / "bin" / "journalctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" > {called}\ncat {entries}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return entries, called


def entry(message: object, priority: int = 6) -> str:
    return json.dumps(
        {"MESSAGE": message, "PRIORITY": str(priority), "__REALTIME_TIMESTAMP": "1795860000000000"}
        | {"SYSLOG_IDENTIFIER": "systemd"}
    )


def test_the_journal_gives_the_nodes_lines_and_those_about_the_service(data_dir, journalctl):
    entries, called = journalctl
    told = [entry("Stopped sdv-node.", 5), *(entry(json.dumps(line)) for line in reversed(RECORDS))]
    entries.write_text("\n".join(told))
    lines = ["--from", "journal", "--since", "2026-11-28"]
    assert events(data_dir, *lines) == ["line_0", "line_1", "line_2", "line_3", "Stopped sdv-node."]
    assert called.read_text().split() == [
        "--unit=sdv-node",
        "--output=json",
        "--no-pager",
        "--quiet",
        "--reverse",
        "--since=@1795824000",
    ]
    assert events(data_dir, "--from", "journal", "--job", "j17", "-n", "1") == ["line_3"]


def test_a_journal_that_cannot_be_read_is_told_with_what_journalctl_says(data_dir, journalctl):
    program = data_dir / "bin" / "journalctl"
    program.write_text("#!/bin/sh\necho 'No journal files were opened' >&2\nexit 1\n")
    result = call(data_dir, "--from", "journal")
    assert "No journal files were opened" in str(result.exception)


def test_an_entry_of_the_journal_that_is_no_text_is_decoded_or_left_out():
    assert journal_record(entry(list(b"caf\xe9")).encode())["event"] == "caf�"
    assert journal_record(entry(None).encode()) is None
    assert journal_record(entry([1, "x"]).encode()) is None
    assert journal_record(b'{"MESSAGE": "no time"}') is None
    assert journal_record(b"[]") is None
    assert journal_record(entry("said", 3).encode()) == {
        "timestamp": "2026-11-28T10:00:00.000000Z",
        "level": "error",
        "event": "said",
        "logger": "systemd",
    }

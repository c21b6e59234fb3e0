"""The node's record of its log: bounded, without secrets, read from the newest line, followed over files."""

import json
import logging
import os
import stat
from pathlib import Path

import pytest
import structlog

from node.observe import log_records
from node.observe.log_records import FILE, FOLDER, Following, Wanted, last_records, recorded
from node.observe.logging import REDACTED, configure_logging


@pytest.fixture
def data_dir(tmp_path, restored_logging):
    with (tmp_path / "stderr").open("w") as stream:
        configure_logging("json", "debug", stream)
        with recorded(tmp_path):
            yield tmp_path


def say(number: int, job_id: str | None = None, level: str = "info") -> None:
    getattr(structlog.get_logger(), level)(f"line_{number}", **({"job_id": job_id} if job_id else {}))


def events(records: list[dict]) -> list[str]:
    return [record["event"] for record in records]


def files(data_dir: Path) -> list[Path]:
    return sorted((data_dir / FOLDER).iterdir())


def test_what_is_logged_is_recorded_and_read_back_oldest_first(data_dir):
    for number in range(5):
        say(number)
    logging.getLogger("aiohttp").warning("a line of another library")
    assert events(last_records(data_dir, Wanted(), 3)) == ["line_3", "line_4", "a line of another library"]


def test_the_record_is_no_business_of_other_users(data_dir):
    before = os.umask(0o022)
    try:
        say(1)
    finally:
        os.umask(before)
    assert stat.S_IMODE((data_dir / FOLDER / FILE).stat().st_mode) == 0o640


def test_a_secret_is_not_recorded(data_dir):
    structlog.get_logger().info("settings_read", password="hunter2")
    assert last_records(data_dir, Wanted(), 1)[0]["password"] == REDACTED
    assert "hunter2" not in files(data_dir)[0].read_text()


def test_the_lines_of_one_job_are_found_among_those_of_others(data_dir):
    for number in range(30):
        say(number, f"j{number % 3}")
    structlog.get_logger().warning("logs_were_missing", jobs=["j1", "j7"])
    structlog.get_logger().info("tx_mined", intent="j1:submit")
    structlog.get_logger().info("offer_seen", prompt="j1")
    found = last_records(data_dir, Wanted(job_id="j1"), 100)
    assert events(found) == [
        *(f"line_{number}" for number in range(1, 30, 3)),
        "logs_were_missing",
        "tx_mined",
    ]
    assert events(last_records(data_dir, Wanted(job_id="j1"), 2)) == ["logs_were_missing", "tx_mined"]


def test_a_level_is_the_least_that_is_shown(data_dir):
    for number, level in enumerate(("debug", "info", "warning", "error")):
        say(number, level=level)
    assert events(last_records(data_dir, Wanted(level="warning"), 9)) == ["line_2", "line_3"]
    with pytest.raises(ValueError, match="allowed are debug, info"):
        Wanted(level="loud")


def test_reading_ends_where_the_lines_are_older_than_asked_for(data_dir):
    lines = [
        {"timestamp": f"2026-11-2{day}T10:00:00.000000Z", "level": "info", "event": f"day_{day}"}
        for day in range(3, 8)
    ]
    (data_dir / FOLDER / FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    since = 1_795_600_800.0  # 2026-11-25T10:00:00Z
    assert events(last_records(data_dir, Wanted(since=since), 9)) == ["day_5", "day_6", "day_7"]


def test_the_record_is_bounded_and_is_one_sequence_across_its_files(data_dir, monkeypatch):
    monkeypatch.setattr("node.observe.log_records.FILE_BYTES", 2000)
    with recorded(data_dir):
        for number in range(400):
            say(number)
    kept = files(data_dir)
    assert len(kept) == log_records.OLDER_FILES + 1
    older = [file for file in kept if file.name != FILE]
    assert all(file.stat().st_size <= 2000 for file in older)
    (data_dir / FOLDER / FILE).unlink()
    found = [int(name[5:]) for name in events(last_records(data_dir, Wanted(), 1000))]
    assert found == list(range(found[0], found[-1] + 1))
    assert len(found) > 20


def test_followed_lines_come_once_and_in_order_also_over_a_change_of_files(data_dir):
    say(0)
    following = Following(data_dir, Wanted())
    assert following.news() == []
    say(1)
    say(2)
    assert events(following.news()) == ["line_1", "line_2"]
    handler = next(h for h in logging.getLogger().handlers if isinstance(h, log_records._RecordFile))
    say(3)
    handler.doRollover()
    say(4)
    assert events(following.news()) == ["line_3", "line_4"]
    assert following.news() == []
    following.close()


def test_following_begins_when_the_first_line_comes(tmp_path, restored_logging):
    following = Following(tmp_path, Wanted(job_id="j1"))
    assert following.news() == []
    configure_logging("json", "info")
    with recorded(tmp_path):
        say(1, "j1")
        say(2, "j2")
    assert events(following.news()) == ["line_1"]
    following.close()


def test_a_line_that_was_cut_off_is_passed_over(data_dir):
    say(0)
    with (data_dir / FOLDER / FILE).open("a") as file:
        file.write('{"event": "cut of')
    assert events(last_records(data_dir, Wanted(), 9)) == ["line_0"]


def test_a_line_longer_than_what_is_read_at_once_is_one_line(data_dir):
    say(0)
    structlog.get_logger().info("long", text="a" * 200_000)
    say(1)
    found = last_records(data_dir, Wanted(), 9)
    assert events(found) == ["line_0", "long", "line_1"]
    assert found[1]["text"] == "a" * 200_000


def test_a_disk_that_takes_no_line_loses_lines_and_nothing_else(data_dir, monkeypatch, capsys):
    say(0)
    handler = next(h for h in logging.getLogger().handlers if isinstance(h, log_records._RecordFile))
    full = Path("/dev/full").open("w")  # noqa: SIM115 (the handler closes it)
    handler.stream, before = full, handler.stream
    before.close()
    monkeypatch.setattr(handler, "shouldRollover", lambda record: False)
    say(1)
    say(2)
    assert full.closed
    assert events(last_records(data_dir, Wanted(), 9)) == ["line_0", "line_2"]
    assert capsys.readouterr().err == ""


def test_a_place_that_cannot_be_made_is_told_and_the_node_goes_on(tmp_path, restored_logging):
    (tmp_path / FOLDER).write_text("a file")
    with (tmp_path / "stderr").open("w") as stream:
        configure_logging("json", "info", stream)
        with recorded(tmp_path):
            say(0)
    assert "log_not_recorded" in (tmp_path / "stderr").read_text()
    assert "line_0" in (tmp_path / "stderr").read_text()

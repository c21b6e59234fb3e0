"""What a command prints for a program is its answer alone: log lines go to standard error."""

import json

import pytest
import structlog

from node.cli.main import main


@pytest.mark.parametrize(("level", "told"), [("info", False), ("debug", True)])
def test_a_log_line_of_a_check_never_stands_in_the_output_of_doctor(
    monkeypatch, tmp_path, capsys, level, told
):
    async def check(_config, _key, **_):
        structlog.get_logger().info("prices_follow_run_times")
        return []

    monkeypatch.setattr("node.app.checkup.check_everything", check)
    with pytest.raises(SystemExit) as ended:
        main(["--data-dir", str(tmp_path), "--set", f"log.level={level}", "doctor", "--json"])
    printed = capsys.readouterr()
    assert ended.value.code == 0
    assert json.loads(printed.out) == []
    assert ("prices_follow_run_times" in printed.err) is told

"""Log lines: readable for machines or for people, never with a secret, never moving a terminal's cursor."""

import io
import json
import logging
import os

import pytest
import structlog

from node.errors import Misconfigured
from node.observe.logging import REDACTED, configure_logging

PRIVATE_KEY = "0x" + "4f" * 32


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restore(restored_logging):
    pass


def lines(out: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_without_a_terminal_each_line_is_one_json_object():
    out = io.StringIO()
    configure_logging("auto", "info", out)
    structlog.get_logger("node").info("job_paid", job_id="j17", paid_wei=2 * 10**18)
    (line,) = lines(out)
    assert line["event"] == "job_paid"
    assert line["level"] == "info"
    assert line["job_id"] == "j17"
    assert line["paid_wei"] == 2 * 10**18
    assert line["timestamp"].endswith("Z")


def test_a_terminal_gets_colour_and_no_json(monkeypatch):
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal()
    configure_logging("auto", "info", out)
    structlog.get_logger().info("job_paid", job_id="j17")
    assert "\x1b[" in out.getvalue()
    assert "job_paid" in out.getvalue()
    assert "{" not in out.getvalue()


def test_no_color_is_respected(monkeypatch):
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    out = Terminal()
    configure_logging("auto", "info", out)
    structlog.get_logger().info("job_paid")
    assert "\x1b" not in out.getvalue()


def test_under_systemd_it_is_json_even_if_the_stream_looks_like_a_terminal(monkeypatch):
    monkeypatch.setenv("JOURNAL_STREAM", "8:1234")
    out = Terminal()
    configure_logging("auto", "info", out)
    structlog.get_logger().info("job_paid")
    assert lines(out)[0]["event"] == "job_paid"


def test_a_line_into_the_journal_begins_with_its_priority(monkeypatch, tmp_path):
    with (tmp_path / "journal").open("w") as journal, (tmp_path / "other").open("w") as other:
        found = os.fstat(journal.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        for out in (journal, other):
            configure_logging("auto", "debug", out)
            for level in ("debug", "info", "warning", "error", "critical"):
                getattr(structlog.get_logger(), level)("said")
            logging.getLogger("aiohttp").warning("said")
    written = (tmp_path / "journal").read_text().splitlines()
    assert [line[:3] for line in written] == ["<7>", "<6>", "<4>", "<3>", "<2>", "<4>"]
    assert all(json.loads(line[3:])["event"] == "said" for line in written)
    assert all(json.loads(line) for line in (tmp_path / "other").read_text().splitlines())


def test_a_line_about_a_transaction_names_the_job_that_it_is_for():
    out = io.StringIO()
    configure_logging("json", "info", out)
    for intent in ("j17:submit", "h3:claim.1", "approve", "jx:submit"):
        structlog.get_logger().info("tx_mined", intent=intent)
    assert [line.get("job_id") for line in lines(out)] == ["j17", "h3", None, None]


@pytest.mark.parametrize(
    "secret",
    [
        {"password": "hunter2"},
        {"keystore_password": "hunter2"},
        {"passphrase": "hunter2"},
        {"mnemonic": "test test test"},
        {"private_key": PRIVATE_KEY},
        {"privateKey": PRIVATE_KEY},
        {"Authorization": "Bearer hunter2"},
        {"api_key": "hunter2"},
        {"access_token": "hunter2"},
        {"token": "hunter2"},
        {"wallet_key": PRIVATE_KEY},
        {"signer": f"LocalSigner({PRIVATE_KEY})"},
        {"key": bytes.fromhex(PRIVATE_KEY[2:])},
        {"settings": {"wallet": {"password": "hunter2"}, "list": [{"secret": "hunter2"}]}},
        {"rpc_url": "https://alice:hunter2@rpc.example.org/v1"},
    ],
)
@pytest.mark.parametrize("mode", ["json", "console"])
def test_no_secret_reaches_a_line(mode, secret):
    out = io.StringIO()
    configure_logging(mode, "info", out)
    structlog.get_logger().info("settings_read", **secret)
    text = out.getvalue()
    assert REDACTED in text
    assert "hunter2" not in text
    assert "4f4f4f4f" not in text
    assert "test test" not in text


def test_what_is_no_secret_is_kept():
    out = io.StringIO()
    configure_logging("json", "info", out)
    public = {
        "tx_hash": "0x" + "ab" * 32,
        "token": "0x" + "7a" * 20,
        "token_wei": 5,
        "password_file": "/run/credentials/p",
        "cid": "bafy",
        "gpu": None,
    }
    structlog.get_logger().info("deal_agreed", **public)
    line = lines(out)[0]
    assert {name: line[name] for name in public} == public


def test_a_secret_in_a_line_of_another_library_is_redacted_too():
    out = io.StringIO()
    configure_logging("json", "info", out)
    logging.getLogger("aiohttp").warning("retrying", extra={"authorization": "hunter2"})
    line = lines(out)[0]
    assert line["event"] == "retrying"
    assert line["logger"] == "aiohttp"
    assert line["authorization"] == REDACTED


def test_text_from_the_chain_cannot_write_escape_sequences_to_a_terminal():
    out = io.StringIO()
    configure_logging("console", "info", out)
    structlog.get_logger().info("offer_refused", prompt="a\x1b[2Jb\x9bc\rd")
    structlog.get_logger().error("failed", exc_info=ValueError("a\x1b[2Jb"))
    assert "ValueError: a\\x1b[2Jb" in out.getvalue()
    assert not set(out.getvalue()) & {"\x1b", "\x9b", "\r"}


def test_a_line_break_in_a_value_does_not_make_a_second_json_line():
    out = io.StringIO()
    configure_logging("json", "info", out)
    structlog.get_logger().info("offer_refused", prompt='x\n{"event": "job_paid"}')
    assert [line["event"] for line in lines(out)] == ["offer_refused"]


def test_what_is_bound_to_the_context_is_on_each_line():
    out = io.StringIO()
    configure_logging("json", "info", out)
    with structlog.contextvars.bound_contextvars(job_id="j17"):
        structlog.get_logger().info("inside")
    structlog.get_logger().info("outside")
    inside, outside = lines(out)
    assert inside["job_id"] == "j17"
    assert "job_id" not in outside


def test_a_failure_is_logged_with_its_traceback():
    out = io.StringIO()
    configure_logging("json", "info", out)
    try:
        int("broken")
    except ValueError:
        structlog.get_logger().exception("engine_failed")
    assert "ValueError: invalid literal" in lines(out)[0]["exception"]


def test_lines_below_the_level_are_not_written():
    out = io.StringIO()
    configure_logging("json", "warning", out)
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert [line["event"] for line in lines(out)] == ["loud"]


@pytest.mark.parametrize(("mode", "level"), [("auto", "loud"), ("xml", "info")])
def test_an_unknown_mode_or_level_is_refused_with_what_is_allowed(mode, level):
    with pytest.raises(Misconfigured, match="allowed are"):
        configure_logging(mode, level)

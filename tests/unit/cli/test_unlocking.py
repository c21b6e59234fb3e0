"""A password typed on a terminal: asked for only where no setting names it, a few times, and never shown."""

import traceback

import click
import pytest

from node.chain.devnet import PROVIDER, dev_key, dev_signer
from node.chain.keystore import DEVNET_SCRYPT_COST, WrongPassword, create_keystore
from node.cli import unlocking
from node.cli.main import main
from node.cli.unlocking import ATTEMPTS, typed_key
from node.config import load
from node.errors import NodeError

PASSWORD = "correct horse"


@pytest.fixture
def terminal(monkeypatch, tmp_path):
    """A terminal at which somebody types; ``asked`` is how often."""

    class Terminal:
        asked = 0
        answers = ()

    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setattr("sys.stdin", type("Tty", (), {"isatty": staticmethod(lambda: True)}))

    def prompt(text, *, hide_input, err):
        assert hide_input
        Terminal.asked += 1
        return Terminal.answers[Terminal.asked - 1]

    monkeypatch.setattr(unlocking.click, "prompt", prompt)
    create_keystore(
        tmp_path / "keystore.json", PASSWORD, key=dev_key(PROVIDER), scrypt_cost=DEVNET_SCRYPT_COST
    )
    return Terminal


def settings(tmp_path, **wallet):
    return load(environment={}, overrides={"node": {"data_dir": str(tmp_path)}, "wallet": wallet})


def test_the_right_password_opens_the_wallet(terminal, tmp_path):
    terminal.answers = ("wrong", PASSWORD)
    assert typed_key(settings(tmp_path)).address == dev_signer(PROVIDER).address
    assert terminal.asked == 2


def test_ten_wrong_passwords_end_after_three_and_none_is_shown(terminal, tmp_path, capsys):
    terminal.answers = tuple(f"wrong-{number}-secret" for number in range(10))
    with pytest.raises(WrongPassword, match="what was typed does not open") as ended:
        typed_key(settings(tmp_path))
    assert terminal.asked == ATTEMPTS
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "secret" not in captured.err + "".join(traceback.format_exception(ended.value))


@pytest.mark.parametrize(
    "wallet",
    [
        {"password_file": "/some/file"},
        {"remote_signer": "http://localhost:9000", "address": "0x" + "11" * 20},
    ],
)
def test_nobody_is_asked_where_a_setting_says_it(terminal, tmp_path, wallet):
    assert typed_key(settings(tmp_path, **wallet)) is None
    assert terminal.asked == 0


def test_nobody_is_asked_where_nobody_could_answer(terminal, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", type("Pipe", (), {"isatty": staticmethod(lambda: False)}))
    assert typed_key(settings(tmp_path)) is None
    assert terminal.asked == 0


def test_an_interrupt_at_the_prompt_ends_the_command(terminal, tmp_path, monkeypatch):
    def interrupted(text, **_):
        raise click.Abort

    monkeypatch.setattr(unlocking.click, "prompt", interrupted)
    with pytest.raises(click.Abort):
        typed_key(settings(tmp_path))


@pytest.mark.parametrize("words", [("offer", "publish"), ("offer", "withdraw"), ("doctor",)])
def test_commands_that_open_the_wallet_take_a_typed_password_and_keep_memory_private(
    terminal, tmp_path, monkeypatch, words
):
    """The wallet is opened before the command's own work begins."""
    private, opened = [], []

    async def work(_config, *arguments, **_):
        assert private
        opened.append(arguments[-1].address)
        raise NodeError("that will do")

    monkeypatch.setattr("node.app.core_files.keep_memory_private", lambda: private.append(True))
    monkeypatch.setattr("node.app.offer_commands.carry_out", work)
    monkeypatch.setattr("node.app.checkup.check_everything", work)
    terminal.answers = (PASSWORD,)
    with pytest.raises(SystemExit) as ended:
        main(["--data-dir", str(tmp_path), *words])
    assert ended.value.code == 1
    assert opened == [dev_signer(PROVIDER).address]

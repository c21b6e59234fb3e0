"""``config init``: from flags, and by answers on a terminal."""

import json
import stat

import pytest
from click.testing import CliRunner

from node.app import endpoint_trial
from node.cli import config_questions
from node.cli.main import cli, main
from node.config import load
from node.foreign_settings import FOREIGN_VARIABLES

MEDIATOR = "0x" + "11" * 20


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch, tmp_path):
    for name in FOREIGN_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    async def tried(urls, chain_id):
        return [f"{len(urls)} endpoints tried for chain {chain_id}"]

    monkeypatch.setattr(endpoint_trial, "endpoint_warnings", tried)


def unattended(capsys, tmp_path, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(
            [
                *("--config", str(tmp_path / "etc" / "config.toml"), "--data-dir", str(tmp_path / "data")),
                *("config", "init", *arguments),
            ]
        )
    printed = capsys.readouterr()
    return ended.value.code, printed.out, printed.err


def test_flags_make_a_whole_setup_with_the_comments_of_the_defaults(capsys, tmp_path):
    code, out, _ = unattended(
        capsys, tmp_path, "--defaults", "--network", "devnet", "--wallet", "new", "--price", "2", "--json"
    )
    assert code == 0
    file = tmp_path / "etc" / "config.toml"
    assert json.loads(out)["wallet"]["address"].startswith("0x")
    text = file.read_text()
    assert "# A name from networks.toml." in text
    assert "# At their defaults: rpc_urls " in text
    config = load(file, environment={})
    assert config.node.directory == tmp_path / "data"
    assert (config.chain.chain_id, config.pricing.floor, config.pricing.per_job) == (
        31337,
        2 * 10**18,
        2 * 10**18,
    )
    assert config.password_path is not None
    assert stat.S_IMODE(config.password_path.stat().st_mode) == 0o600
    assert config.keystore_path.exists()


def test_the_data_directory_of_the_environment_is_written_too(tmp_path, monkeypatch):
    monkeypatch.setenv("SDV_NODE__NODE__DATA_DIR", str(tmp_path / "mine"))
    file = tmp_path / "config.toml"
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(file), "config", "init", "--defaults", "--network", "devnet"])
    assert ended.value.code == 0
    assert load(file, environment={}).node.directory == tmp_path / "mine"


def test_the_end_tells_what_is_missing_and_each_command_as_it_is_typed(capsys, tmp_path):
    code, out, err = unattended(capsys, tmp_path, "--defaults", "--price", "0")
    assert code == 0
    begin = f"sdv-node --config {tmp_path / 'etc' / 'config.toml'}"
    for rest in (
        "wallet new",
        "config set market.mediators ADDRESS,ADDRESS",
        "config set pricing.per_job TOKENS",
        "doctor ",
        "start ",
    ):
        assert f"  {begin} {rest}" in out
    assert "no --network was given, so it is devnet" in err
    assert "warning: 1 endpoints tried for chain 31337" in err


def test_nothing_is_said_to_be_missing_when_nothing_is(capsys, tmp_path):
    flags = ("--defaults", "--network", "devnet", "--mediator", MEDIATOR, "--json")
    signer = ("--remote-signer", "http://127.0.0.1:9000", "--account", MEDIATOR)
    _, out, _ = unattended(capsys, tmp_path, *flags, *signer)
    assert json.loads(out)["missing"] == []


def test_a_market_of_ones_own_without_an_endpoint_is_refused(capsys, tmp_path):
    code, _, err = unattended(capsys, tmp_path, "--defaults", "--network", "own", "--wallet", "new")
    assert code == 2
    assert "--rpc-url" in err
    assert not (tmp_path / "etc").exists()
    assert not (tmp_path / "data").exists()


def test_all_wrong_flags_are_named_at_once(capsys, tmp_path):
    flags = ("--defaults", "--price", "much", "--mediator", "0x12", "--public-url", "x")
    code, _, err = unattended(capsys, tmp_path, *flags)
    assert code == 2
    for key in ("pricing.per_job", "market.mediators", "http.public_url"):
        assert key in err


def test_a_file_that_names_its_market_keeps_it_where_nobody_is_asked(capsys, tmp_path):
    file = tmp_path / "etc" / "config.toml"
    file.parent.mkdir()
    file.write_text('[chain]\nnetwork = "arbitrum-sepolia"\n')
    assert unattended(capsys, tmp_path, "--defaults", "--yes", "--wallet", "later")[0] == 0
    assert load(file, environment={}).chain.chain_id == 421614


def test_a_wrong_flag_writes_nothing(capsys, tmp_path):
    code, _, err = unattended(capsys, tmp_path, "--defaults", "--network", "mainnet", "--wallet", "new")
    assert code == 2
    assert "mainnet" in err
    assert not (tmp_path / "etc").exists()
    assert not (tmp_path / "data").exists()


def test_a_file_that_exists_is_changed_only_when_that_is_said_and_keeps_the_rest(capsys, tmp_path):
    file = tmp_path / "etc" / "config.toml"
    file.parent.mkdir()
    before = '# mine\n[pricing]\nfloor = "1"  # low\nper_step = "0.1"\n'
    file.write_text(before)
    flags = ("--defaults", "--network", "devnet", "--price", "3", "--wallet", "later")
    code, _, err = unattended(capsys, tmp_path, *flags)
    assert code == 2
    assert "--yes" in err
    assert file.read_text() == before
    assert unattended(capsys, tmp_path, *flags, "--yes")[0] == 0
    text = file.read_text()
    assert text.startswith('# mine\n[pricing]\nfloor = "3"  # low\nper_step = "0.1"\nper_job = "3"\n')


def test_where_nobody_can_be_asked_flags_are_asked_for(capsys, tmp_path):
    code, _, err = unattended(capsys, tmp_path)
    assert code == 2
    assert "--defaults" in err


def test_an_endpoint_of_a_market_of_ones_own_is_asked_for_until_it_is_given(tmp_path, monkeypatch):
    monkeypatch.setattr(config_questions, "can_be_asked", lambda **_: True)
    file = tmp_path / "config.toml"
    ended = CliRunner().invoke(cli, ["--config", str(file), "config", "init"], input="own\n\n")
    assert "this one is needed" in ended.output
    assert ended.exit_code != 0
    assert not file.exists()


def test_each_answer_on_a_terminal_is_checked_at_once_and_asked_again(tmp_path, monkeypatch):
    monkeypatch.setattr(config_questions, "can_be_asked", lambda **_: True)
    monkeypatch.setenv("WEB3_PRIVATE_KEY", "5" * 64)
    monkeypatch.setenv("WEB3_RPC_URL", "wss://old.example/secret")
    file = tmp_path / "config.toml"
    answers = (
        *("own", "ftp://x", "https://a.example,wss://b.example", "421614", "0x12", MEDIATOR),
        *("tiny", "much", "2", MEDIATOR, "https://node.example", "later", ""),
    )
    ended = CliRunner().invoke(
        cli,
        ["--config", str(file), "--data-dir", str(tmp_path), "config", "init"],
        input="\n".join(answers) + "\n",
        catch_exceptions=False,
    )
    assert ended.exit_code == 0, ended.output
    assert "an RPC endpoint is an address that begins with" in ended.output
    assert "2 endpoints tried for chain 421614" in ended.output
    assert "wss://old.example/secret" in ended.output
    assert "sdv-node wallet import" in ended.output
    assert "5" * 64 not in ended.output + file.read_text()
    config = load(file, environment={})
    assert config.chain.rpc_urls == ("https://a.example", "wss://b.example")
    assert (config.chain.chain_id, config.chain.controller) == (421614, MEDIATOR)
    assert config.market.mediators == (MEDIATOR,)
    assert not config.market.allow_toy_models
    assert config.http.public_url == "https://node.example"

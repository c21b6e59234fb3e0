"""``config check``, ``config show --origin`` and ``config set``."""

import json

import pytest

from node.cli.main import main
from node.foreign_settings import FOREIGN_VARIABLES

WRONG = """\
[chain]
network = "devnet"
confirmation = 2

[pricing]
floor = "-1"

[admision]
deny = ["0x12"]

[worker]
profile = "sdv-9"
"""
COMMENTED = """\
# my node
[pricing]   # what a job costs
floor = "1"   # never below
per_job   =   "1"

[market]
mediators = []
"""


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch, tmp_path):
    for name in FOREIGN_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(each) for each in arguments])
    printed = capsys.readouterr()
    return ended.value.code, printed.out, printed.err


def test_every_problem_is_named_at_once_with_its_line_variable_or_flag(capsys, tmp_path, monkeypatch):
    file = tmp_path / "config.toml"
    file.write_text(WRONG)
    monkeypatch.setenv("SDV_NODE__HTTP__PORT", "high")
    monkeypatch.setenv("SDV_NODE__NODE", "x")
    code, out, _ = run(capsys, "--config", file, "--set", "log.level=loud", "config", "check")
    assert code == 2
    told = [line for line in out.splitlines() if line.startswith("problem")]
    for key, whence in (
        ("chain.confirmation: there is no such setting, did you mean chain.confirmations?", f"{file}:3"),
        ("pricing.floor: an amount lies", f"{file}:6"),
        ("admision: there is no such setting, did you mean admission?", f"{file}:8"),
        ("http.port:", "SDV_NODE__HTTP__PORT"),
        ("log.level:", "--set log.level"),
        ("SDV_NODE__NODE is not of the form", "SDV_NODE__NODE"),
    ):
        assert any(key in line and whence in line for line in told), (key, out)
    assert f"{len(told)} problems: {file}" in out


def test_problems_come_in_the_order_of_the_file_in_our_words_and_without_secrets(capsys, tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(
        '[http]\nport = "abc"\n[worker]\nslots = 0\nbackend = "cloud"\n'
        '[chain]\nrpc_urls = ["ftp://user:secret@x"]\nconfirmations = 1.5\n'
    )
    _, out, _ = run(capsys, "--config", file, "config", "check")
    told = [line for line in out.splitlines() if line.startswith("problem")]
    assert [line.rpartition(":")[2] for line in told] == ["2)", "4)", "5)", "7)", "8)"]
    assert "http.port: must be a whole number, not 'abc'" in told[0]
    assert "worker.slots: must be at least 1, not 0" in told[1]
    assert "must be one of 'process' or 'ray', not 'cloud'" in told[2]
    assert "chain.confirmations: must be a whole number, not 1.5" in told[4]
    assert "secret" not in out


@pytest.mark.parametrize("command", ["start", "reload"])
def test_a_command_on_a_file_with_many_mistakes_tells_each_in_its_line(capsys, tmp_path, command):
    file = tmp_path / "config.toml"
    file.write_text(WRONG)
    code, _, err = run(capsys, "--config", file, command)
    assert code == 2
    assert (
        f"\n  chain.confirmation: there is no such setting, did you mean "
        f"chain.confirmations? (set by {file}:3)" in err
    )
    assert "sdv-node config check" in err
    assert ("nothing was changed" in err) == (command == "reload")


@pytest.mark.parametrize(("typed", "meant"), [("stat", "status"), ("docter", "doctor")])
def test_a_command_that_is_not_there_tells_which_was_meant(capsys, typed, meant):
    code, _, err = run(capsys, typed)
    assert code == 2
    assert f"Did you mean '{meant}'?" in err


def test_a_program_is_given_the_same_problems(capsys, tmp_path):
    file = tmp_path / "config.toml"
    file.write_text('[worker]\nprofile = "sdv-9"\n[market]\nmodules = ["sdv-pipeline:v9"]\n')
    code, out, _ = run(capsys, "--config", file, "config", "check", "--json")
    found = json.loads(out)
    assert (code, found["valid"], found["file"]) == (2, False, str(file))
    places = {each["key"]: each["origins"] for each in found["problems"]}
    assert places == {
        "market.modules": [{"kind": "file", "name": str(file), "line": 4}],
        "worker.profile": [{"kind": "file", "name": str(file), "line": 2}],
    }


def test_a_file_that_is_no_toml_tells_the_line_and_the_rest_is_checked_too(capsys, tmp_path):
    file = tmp_path / "config.toml"
    file.write_text("[chain]\nnetwork = devnet\n")
    code, out, _ = run(capsys, "--config", file, "--set", "http.port=-1", "config", "check")
    assert code == 2
    assert "(at line 2, column 11)" in out
    assert "http.port" in out


def test_variables_of_another_provider_are_told_of_and_not_used(capsys, monkeypatch):
    monkeypatch.setenv("WEB3_PRIVATE_KEY", "5" * 64)
    monkeypatch.setenv("LOG_LEVEL", "debug")
    code, out, _ = run(capsys, "config", "check")
    assert code == 0
    assert "sdv-node wallet import" in out
    assert "log.level" in out
    assert "5" * 64 not in out
    _, out, _ = run(capsys, "config", "show")
    assert "level = info" in out


def test_show_tells_where_each_value_is_from(capsys, tmp_path, monkeypatch):
    file = tmp_path / "config.toml"
    file.write_text('[chain]\nnetwork = "arbitrum-sepolia"\n[worker.ray]\nworkers = 2\n')
    monkeypatch.setenv("SDV_NODE__PRICING__FLOOR", "3")
    code, out, _ = run(
        capsys, "--config", file, "--data-dir", tmp_path, "config", "show", "--origin", "--json"
    )
    assert code == 0
    origins = {(each["section"], each["key"]): each["origin"] for each in json.loads(out)}
    assert origins["chain", "network"] == {"kind": "file", "name": str(file), "line": 2}
    assert origins["chain", "chain_id"]["kind"] == "network"
    assert origins["pricing", "floor"]["name"] == "SDV_NODE__PRICING__FLOOR"
    assert origins["pricing", "per_job"]["kind"] == "default"
    assert origins["node", "data_dir"]["kind"] == "flag"
    _, out, _ = run(capsys, "--config", file, "config", "show", "--origin")
    assert any("ray =" in line and line.endswith(f"# {file}:4") for line in out.splitlines())


def test_set_changes_one_value_and_leaves_comments_and_layout(capsys, tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(COMMENTED)
    mediator = "0x" + "11" * 20
    for key, value in (
        ("pricing.floor", "2.5"),
        ("market.mediators", mediator),
        ("http.port", "8471"),
        ('pricing.modules."sdv-pipeline:v1.1-lilypad2".per_job', "4"),
    ):
        assert run(capsys, "--config", file, "config", "set", key, value)[0] == 0
    text = file.read_text()
    kept = COMMENTED.replace('floor = "1"', 'floor = "2.5"').replace("[]", f'["{mediator}"]')
    assert [line for line in kept.splitlines() if line not in text.splitlines()] == []
    code, out, _ = run(capsys, "--config", file, "config", "show", "--json")
    found = json.loads(out)
    assert (code, found["http"]["port"], found["market"]["mediators"]) == (0, 8471, [mediator])
    assert found["pricing"]["modules"]["sdv-pipeline:v1.1-lilypad2"]["per_job"] == 4 * 10**18


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("pricing.flor", "2", "did you mean pricing.floor"),
        ("pricing.floor", "much", "is not an amount"),
        ("http.port", "70000", "http.port"),
        ("worker.profile", "sdv-9", "sdv-9"),
        ("pricing", "2", "SECTION.KEY"),
    ],
)
def test_set_refuses_what_is_not_valid_and_changes_nothing(capsys, tmp_path, key, value, told):
    file = tmp_path / "config.toml"
    file.write_text(COMMENTED)
    code, _, err = run(capsys, "--config", file, "config", "set", key, value)
    assert code == 2
    assert told in err
    assert file.read_text() == COMMENTED


def test_set_mends_one_of_several_problems_and_tells_what_is_stronger(capsys, tmp_path, monkeypatch):
    file = tmp_path / "config.toml"
    file.write_text('[pricing]\nfloor = "x"\n[http]\nport = -1\n')
    monkeypatch.setenv("SDV_NODE__HTTP__PORT", "9000")
    code, out, err = run(capsys, "--config", file, "config", "set", "http.port", "8471")
    assert code == 0
    assert "http.port is set" in out
    assert "SDV_NODE__HTTP__PORT is stronger" in err
    assert "port = 8471" in file.read_text()

"""What the command line says when something is missing or wrong: one sentence and an exit code."""

import json
import socket

import pytest

from node.app.sandbox import Sandbox
from node.cli.main import main

pytestmark = pytest.mark.integration
RUN = ("run", "sdv-pipeline:v1.1-lilypad2", "--yes", "-i", "Prompt=a red fox")


@pytest.fixture
def command(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    # The log's handler would outlive the captured stream it writes to.
    monkeypatch.setattr("node.observe.logging.configure_logging", lambda *arguments: None)

    def call(*arguments):
        with pytest.raises(SystemExit) as exited:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return exited.value.code, captured.out, captured.err

    return call


@pytest.fixture
def settings(fresh_devnet_url, tmp_path):
    """Settings of a funded requester on the session's devnet, as flags."""
    import asyncio

    from node.chain.devnet import REQUESTER, DevMarket, dev_signer

    async def prepare():
        market = DevMarket(fresh_devnet_url)
        await market.open()
        await market.fund(dev_signer(REQUESTER).address, ether_wei=10**18, token_wei=10**19)
        found = Sandbox(market).settings("requester", tmp_path / "requester")
        await market.close()
        return found

    found = asyncio.run(prepare())

    def flags(**changes):
        merged = {f"{s}.{k}": v for s, values in found.items() for k, v in values.items()}
        merged |= {"http.port": 0} | changes
        texts = {key: ",".join(value) if isinstance(value, list) else value for key, value in merged.items()}
        return [part for key, value in texts.items() for part in ("--set", f"{key}={value}")]

    return flags


def one_sentence(text):
    lines = [line for line in text.splitlines() if line.startswith("sdv-node: ")]
    assert len(lines) == 1, text
    assert "Traceback" not in text
    return lines[0]


def test_invalid_inputs_are_all_named_at_once_and_nothing_is_sent(command, settings):
    code, _, err = command(
        *settings(), "run", "sdv-pipeline", "-i", "Steps=4", "-i", "VideoSteps=71", "-i", "Sped=1"
    )
    assert code == 2
    for named in ("Steps", "VideoSteps", "Sped"):
        assert named in err


def test_a_sampler_of_a_later_version_is_refused_not_replaced(command, settings):
    code, out, _ = command(*settings(), *RUN, "-i", "Sampler=euler_lightspeed", "--json")
    assert code == 2
    assert json.loads(out)["problems"][0]["key"] == "Sampler"


def test_an_rpc_that_does_not_answer_is_unreachable(command, settings):
    code, _, err = command(*settings(**{"chain.rpc_urls": "http://127.0.0.1:9"}), *RUN)
    assert code == 3
    assert "127.0.0.1:9" in one_sentence(err)


def test_a_wrong_chain_id_is_told_with_both_numbers(command, settings):
    code, _, err = command(*settings(**{"chain.chain_id": 421614}), *RUN)
    assert code == 2
    assert "31337" in one_sentence(err)
    assert "421614" in err


def test_an_address_without_a_contract_is_told(command, settings):
    code, _, err = command(*settings(**{"chain.controller": "0x" + "12" * 20}), *RUN)
    assert code == 2
    assert "controller" in one_sentence(err).lower()


def test_a_market_that_is_not_set_is_told(command):
    code, _, err = command(*RUN)
    assert code == 2
    assert "chain.network" in one_sentence(err)


def test_a_requester_without_money_is_told_what_to_send(command, settings, tmp_path):
    empty = tmp_path / "empty"
    assert command("--data-dir", empty, "wallet", "new")[0] == 0
    flags = settings(
        **{"wallet.keystore": empty / "keystore.json", "wallet.password_file": empty / "password"}
    )
    code, _, err = command(*flags, *RUN)
    assert code == 1
    assert "0x" in one_sentence(err)


def test_a_missing_key_is_told_with_the_command_that_makes_one(command, settings):
    code, _, err = command(*settings(**{"wallet.keystore": "/nonexistent/key.json"}), "start")
    assert code == 2
    assert "sdv-node wallet new" in one_sentence(err)


def test_a_port_in_use_is_told_by_number_and_setting(command, settings):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = command(*settings(**{"http.port": port}), "start")
    assert code == 2
    assert str(port) in one_sentence(err)
    assert "http.port" in err


def test_anvil_missing_is_told_with_the_command_that_installs_it(command, monkeypatch):
    from node.errors import Fatal

    def nothing(relative):
        raise Fatal(f"{relative} is missing")

    monkeypatch.setattr("node.chain.anvil.data_path", nothing)
    monkeypatch.setenv("PATH", "")
    code, _, err = command("devnet", "up", "--port", 0)
    assert code == 2
    assert "scripts/install" in one_sentence(err)


def test_status_without_a_running_node_says_how_to_start_one(command):
    code, _, err = command("--set", "http.port=9", "status")
    assert code == 3
    assert "sdv-node start" in one_sentence(err)


def test_a_market_that_pays_in_another_token_than_the_pinned_one_is_refused(command, settings):
    code, _, err = command(*settings(**{"chain.token": "0x" + "fa" * 20}), "start")
    assert code == 2
    assert "0x" + "fa" * 20 in one_sentence(err)
    assert "chain.token" in err


def test_a_journal_that_is_not_there_is_told(command, settings):
    code, _, err = command(*settings(), "jobs", "export")
    assert code == 1
    assert "start the node first" in one_sentence(err)


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["--since", "yesterday"], "yesterday"),
        (["--requester", "bob"], "bob"),
    ],
)
def test_a_filter_that_is_none_is_told(command, words, wrong):
    code, _, err = command("jobs", "list", *words)
    assert code == 2
    assert wrong in one_sentence(err)


def test_an_unknown_setting_is_named(command):
    code, _, err = command("--set", "pricing.flor=1", "config", "show")
    assert code == 2
    assert "pricing.flor" in one_sentence(err)


def test_a_wallet_is_made_once_shown_without_password_and_never_overwritten(command, tmp_path):
    code, out, _ = command("--data-dir", tmp_path, "wallet", "new", "--json")
    made = json.loads(out)
    assert code == 0
    assert (tmp_path / "keystore.json").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "password").stat().st_mode & 0o777 == 0o600
    code, out, _ = command("--data-dir", tmp_path, "wallet", "show", "--json")
    assert json.loads(out)["address"] == made["address"]
    code, _, err = command("--data-dir", tmp_path, "wallet", "new")
    assert code == 2
    assert "never overwritten" in one_sentence(err)


def test_doctor_on_a_funded_devnet_finds_only_what_is_missing(command, settings):
    code, out, _ = command(*settings(), "doctor", "--quick", "--json")
    verdicts = {check["name"]: check["verdict"] for check in json.loads(out)}
    assert verdicts["rpc"] == verdicts["contracts"] == verdicts["wallet"] == verdicts["balance"] == "ok"
    assert verdicts["allowance"] == "problem"
    assert code == 1


def test_doctor_tells_of_each_endpoint(command, settings, fresh_devnet_url):
    urls = f"{fresh_devnet_url},http://user:secret@127.0.0.1:9/key,{fresh_devnet_url.replace('http', 'ws')}"
    _, out, _ = command(*settings(**{"chain.rpc_urls": urls}), "doctor", "--quick", "--json")
    first, second, third = (
        check for check in json.loads(out[out.index("[\n") :]) if check["name"] == "endpoint"
    )
    assert first["verdict"] == third["verdict"] == "ok"
    assert "chain 31337, head" in first["finding"]
    assert third["finding"].startswith("ws://")
    assert second["verdict"] == "warning"
    assert second["finding"].startswith("http://127.0.0.1:9: failing")
    assert "take it out of chain.rpc_urls" in second["remedy"]
    assert "secret" not in out
    assert "key" not in second["finding"]


def test_doctor_says_when_the_policys_caps_forbid_what_is_offered(command, settings):
    code, out, _ = command(*settings(**{"policy.max_per_deal": "1.5"}), "doctor", "--quick", "--json")
    (finding,) = [check["finding"] for check in json.loads(out) if check["name"] == "policy"]
    assert finding == "policy.max_per_deal is 1.5 tokens, and one deal can take 2: raise it"
    assert code == 1


def test_doctor_without_an_rpc_ends_as_unreachable(command, settings):
    code, out, _ = command(
        *settings(**{"chain.rpc_urls": "http://127.0.0.1:9"}), "doctor", "--quick", "--json"
    )
    assert code == 3
    assert "chain.rpc_urls" in out


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["start"],
        ["demo"],
        ["run"],
        ["render"],
        ["status"],
        ["doctor"],
        ["jobs", "list"],
        ["jobs", "show"],
        ["jobs", "export"],
        ["jobs", "audit"],
        ["jobs", "counterparties"],
        ["wallet", "new"],
        ["wallet", "show"],
        ["wallet", "balance"],
        ["wallet", "approve"],
        ["wallet", "withdraw"],
        ["wallet", "import"],
        ["offer", "show"],
        ["offer", "publish"],
        ["offer", "withdraw"],
        ["config", "show"],
        ["devnet", "up"],
    ],
)
def test_every_command_has_help_with_an_example(command, words):
    code, out, _ = command(*words, "--help")
    assert code == 0
    assert "sdv-node " + " ".join(words) in out
    assert "Example" in out or not words


def document_of(text):
    """The one JSON document in an output; the log, which these tests leave alone, is before it."""
    return json.loads(text[text.index("{\n") :])


def test_without_a_node_the_offer_commands_do_it_themselves(command, settings):
    place = ("--set", "worker.profile=fake", "--set", "http.public_url=https://provider.example")
    flags = (*settings(), *place)
    code, out, _ = command(*flags, "offer", "show", "--json")
    assert (code, document_of(out)["state"]) == (0, "pending")
    code, out, _ = command(*flags, "offer", "publish", "--json")
    told = document_of(out)
    assert (code, told["state"], told["listed"], told["url"]) == (
        0,
        "published",
        True,
        "https://provider.example",
    )
    assert json.loads(told["document"])["resource_provider"] == told["provider"]
    code, out, _ = command(*flags, "offer", "show")
    assert code == 0
    assert "1 a job + 0 a step, at least 1" in out
    code, out, _ = command(*flags, "offer", "withdraw", "--json")
    assert (code, document_of(out)["state"], document_of(out)["cid"]) == (0, "withdrawn", None)
    code, _, error = command(*flags, "--set", "market.allow_toy_models=false", "offer", "publish")
    assert code == 1
    assert "toy models" in one_sentence(error)

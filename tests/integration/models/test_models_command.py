"""``sdv-node models`` as people and programs see it."""

import json
from functools import partial

import pytest
from click.testing import CliRunner

from node.cli import models as command
from node.cli.main import cli, find_error, main
from node.pipeline.profiles import load_profile, load_profiles
from node.pipeline.weights import pull as pulling

pytestmark = pytest.mark.integration
SECRET = "hf_allowed"


@pytest.fixture
def run(published, monkeypatch, tmp_path):
    """Run the command on the tiny profiles; the answer has exit code, standard output and standard error."""
    monkeypatch.setattr(command, "load_profiles", partial(load_profiles, published.table))
    monkeypatch.setattr(command, "load_profile", partial(load_profile, path=published.table))
    monkeypatch.setattr(command, "pull_weights", partial(pulling.pull, configs=published.configs))
    monkeypatch.setenv("SDV_NODE__WORKER__PROFILE", "real")

    def invoke(*arguments):
        return CliRunner().invoke(
            cli, ["--data-dir", str(tmp_path / "data"), "models", *arguments], standalone_mode=False
        )

    return invoke


def told(result):
    """The sentence and exit code that the program would end with."""
    error = find_error(result.exception)
    return error.exit_code, str(error)


def test_a_pull_by_mirror_and_token_of_the_environment_shows_no_token(
    run, hub, published, monkeypatch, in_process, tmp_path
):
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", SECRET)
    result = run("pull", "real", "--json")
    assert result.return_value == 0, result.output
    document = json.loads(result.stdout)
    assert document["pulled"] is True
    assert document["complete"] is True
    assert "downloading lab/still/unet" in result.stderr
    assert "recorded on first use" in result.stderr
    assert SECRET not in result.output
    kept = (tmp_path / "data").rglob("*")
    assert not any(SECRET.encode() in path.read_bytes() for path in kept if path.is_file())
    again = run("pull", "real")
    assert "was complete already" in again.output

    rows = {row["name"]: row for row in json.loads(run("list", "--json").stdout)}
    assert rows["real"]["complete"] is True
    assert rows["real"]["bytes"] > 10**6
    assert rows["twin"]["complete"] is False
    assert rows["twin"]["sources"]["clip"]["gated"] is True
    shown = run("list").stdout
    assert "real (in use)" in shown
    assert "not pulled" in shown

    good = run("verify", "--json")
    assert good.return_value == 0
    assert json.loads(good.stdout)["real"]["ok"] is True
    weights = tmp_path / "data" / "models" / "real" / "clip" / "vae" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-100])
    bad = run("verify", "real")
    assert bad.return_value == 1
    assert "clip/vae/model.safetensors is truncated" in bad.output
    (found,) = (
        file
        for file in json.loads(run("verify", "real", "--json").stdout)["real"]["files"]
        if file["state"] != "ok"
    )
    assert found["path"] == "clip/vae/model.safetensors"
    assert f"expected {len(content)} bytes" in found["finding"]
    assert "incomplete" in run("list").stdout


def test_a_refusal_is_json_too_and_shows_no_token(run, hub, tmp_path):
    token = tmp_path / "token"
    token.write_text("hf_other")
    token.chmod(0o600)
    result = run("pull", "real", "--from", hub.url, "--token-file", str(token), "--json")
    code, text = told(result)
    assert code == 1
    assert "accept the licence at https://huggingface.co/lab/clip" in text
    assert json.loads(result.stdout) == {"error": text}
    assert "hf_other" not in result.output + text


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("pull", "huge"), 2, "no profile 'huge'"),
        (("pull", "real", "--from", "/nowhere/at/all"), 2, "neither a directory nor the address"),
        (("pull", "real", "--from", "ftp://hub"), 2, "not the address of a hub"),
        (("pull", "real", "--single-file", "x"), 2, "is not still=PATH"),
        (("pull", "real", "--token-file", "/nowhere/token"), 2, "cannot be read"),
        (("pull", "real", "--from", "http://127.0.0.1:9"), 3, "was not reached"),
        (("verify", "huge"), 2, "no profile 'huge'"),
    ],
)
def test_what_cannot_be_done_is_said_with_its_exit_code(run, arguments, code, words):
    found, text = told(run(*arguments))
    assert found == code
    assert words in text


def test_an_offline_machine_is_told_what_forbids_it(run, hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    code, text = told(run("pull", "real", "--from", hub.url))
    assert code == 3
    assert "HF_HUB_OFFLINE" in text


def test_weights_that_are_made_here_are_not_pulled(capsys):
    with pytest.raises(SystemExit) as end:
        main(["models", "pull", "tiny"])
    assert end.value.code == 2
    assert "made on this machine at first use" in capsys.readouterr().err


def test_nothing_to_verify_is_no_problem(run):
    assert "no profile has weights" in run("verify").output


@pytest.mark.parametrize("subcommand", [[], ["list"], ["pull"], ["verify"]])
def test_each_help_has_an_example(run, subcommand):
    result = run(*subcommand, "--help")
    assert result.exit_code == 0
    assert "Example:\n" in result.output

"""The ``run`` command: the forms people type, what is said, and what scripts get."""

import json
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

import node.app
from node.cli.inputs import join_inputs
from node.cli.main import cli
from node.cli.run_display import RunDisplay, sentence
from node.errors import Unreachable
from node.job.progress import Progress
from node.requester import steps
from node.types import DealId
from tests.fakes.requester_market import REQUESTER, TOKEN

AS_TYPED = [
    "sdv-pipeline:v1.0-lilypad2",
    "-i",
    "ImageSeed=696721260153400",
    "-i",
    "Prompt=an astronaut floating against a white background",
    "-i",
    "Steps=200",
    "-i",
    "VideoSteps",
    "70",
]


@pytest.fixture
def app(scene, monkeypatch):
    """Put a requester on a market in memory where the composition root would build a real one."""
    seen = SimpleNamespace(config=None, error=None, logging=[])

    @asynccontextmanager
    async def requester(config, on_step, key=None):
        seen.config = config
        if seen.error is not None:
            raise seen.error
        scene.steps = SimpleNamespace(append=on_step)
        yield scene.requester()

    monkeypatch.setattr(node.app, "requester", requester)
    monkeypatch.setattr("node.observe.logging.configure_logging", lambda *mode: seen.logging.append(mode))
    return seen


def invoke(scene, *arguments):
    return CliRunner().invoke(
        cli, ["--data-dir", str(scene.data_dir), "run", *arguments], standalone_mode=False
    )


def test_a_key_and_its_value_as_two_words_are_joined_with_a_note():
    assert join_inputs(AS_TYPED) == (
        [*AS_TYPED[:-2], "VideoSteps=70"],
        ["-i VideoSteps 70 is read as -i VideoSteps=70"],
    )
    assert join_inputs(["--input", "Prompt", "a red fox"])[0] == ["--input", "Prompt=a red fox"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["m", "-i", "Prompt=a", "b"],
        ["m", "-i", "Prompt", "--json"],
        ["m", "-i", "Prompt"],
        ["m", "-i"],
        ["m", "--", "-i", "Steps", "5"],
        [],
    ],
)
def test_other_words_stay_as_they_were_typed(arguments):
    assert join_inputs(arguments) == (arguments, [])


def test_the_command_line_people_have_runs_as_typed(scene, app):
    result = invoke(scene, *AS_TYPED)
    assert result.return_value == 75
    assert "Note: -i VideoSteps 70 is read as -i VideoSteps=70" in result.stdout
    assert "Note: ImageSeed is read as Seed" in result.stdout
    assert "VideoSteps      70" in result.stdout
    assert "Failed: no provider proposed" in result.stdout


def test_a_paid_job_ends_with_the_hints(scene, app):
    deal = scene.provider_serves()
    result = invoke(scene, "sdv-pipeline", "-i", "Prompt=a red fox", "-i", "Steps=5")
    assert result.return_value == 0
    assert "no version was named" in result.stdout
    folder = scene.data_dir / "downloaded-files" / deal.deal_id
    tail = result.stdout.splitlines()[-5:]
    assert tail[:4] == [
        "Job completed, try:",
        f"    open {folder}",
        f"    cat {folder}/stdout",
        f"    cat {folder}/stderr",
    ]
    assert tail[4].startswith("    https://ipfs.io/ipfs/bafy")


def test_a_program_gets_one_json_object_and_nothing_else_on_stdout(scene, app):
    deal = scene.provider_serves()
    result = invoke(scene, "sdv-pipeline", "-i", "Prompt=a red fox", "-i", "Steps=5", "--json")
    document = json.loads(result.stdout)
    assert (document["state"], document["deal_id"]) == ("paid", deal.deal_id)
    assert (document["cid"], document["paid_wei"]) == ("bafy-0", str(TOKEN))
    assert document["dir"].endswith(deal.deal_id)
    assert "is agreed" in result.stderr
    assert app.logging == [("auto", "warning")]


def test_every_invalid_input_is_printed_and_nothing_is_sent(scene, app):
    arguments = ("sdv-pipeline:v9", "-i", "Steps=500", "-i", "Foo=1")
    result = invoke(scene, *arguments)
    assert result.return_value == 2
    assert [line.split("=")[0] for line in result.stderr.splitlines()] == [
        "sdv-node: module",
        "sdv-node: Foo",
        "sdv-node: Steps",
    ]
    document = json.loads(invoke(scene, *arguments, "--json").stdout)
    assert document["state"] == "invalid"
    assert [problem["key"] for problem in document["problems"]] == ["module", "Foo", "Steps"]
    assert app.config is None


def test_flags_override_the_settings(scene, app):
    invoke(scene, "sdv-pipeline", "--max-price", "0.5", "--wait", "7")
    assert app.config.requester.max_price == TOKEN // 2
    assert app.config.requester.wait_for_proposals_s == 7


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["m", "--resume", "0123456789ab"],
        ["--resume", "0123456789ab", "-i", "Steps=5"],
        ["m", "--dispute"],
        ["m", "--max-price", "0"],
        ["m", "--max-price", "-1"],
        ["m", "--max-price", "much"],
        ["m", "--max-price", "nan"],
        ["m", "--max-price", "inf"],
        ["m", "--wait", "0"],
        ["m", "--wait", "nan"],
    ],
)
def test_arguments_that_make_no_sense_are_a_usage_error(scene, app, arguments):
    result = invoke(scene, *arguments)
    assert getattr(result.exception, "exit_code", None) == 2
    assert app.config is None


def test_an_error_is_one_sentence_for_people_and_an_object_for_programs(scene, app):
    app.error = Unreachable("the RPC endpoint did not answer")
    result = invoke(scene, "sdv-pipeline")
    assert result.exception is app.error
    result = invoke(scene, "sdv-pipeline", "--json")
    assert result.return_value == 3
    assert json.loads(result.stdout)["reason"] == "the RPC endpoint did not answer"


def test_a_run_is_resumed_and_disputed_by_its_id(scene, app):
    scene.provider_serves(exit_code="1")
    arguments = ("sdv-pipeline", "-i", "Prompt=a red fox", "-i", "Steps=5", "--json")
    refused = json.loads(invoke(scene, *arguments).stdout)
    assert refused["state"] == "result_refused"
    again = json.loads(invoke(scene, "--resume", refused["run_id"], "--json").stdout)
    assert again["state"] == "result_refused"
    disputed = json.loads(invoke(scene, "--resume", refused["run_id"], "--dispute", "--json").stdout)
    assert disputed["state"] == "disputed"


def test_progress_without_a_terminal_is_a_line_per_stage_and_per_tenth(capsys):
    from rich.console import Console

    with RunDisplay(Console()) as display:
        for number in range(100):
            stage = "still" if number < 50 else "video"
            display(steps.Rendering(DealId("j1-x"), Progress(stage, number, 100, number / 100)))
        display(steps.Downloading(DealId("j1-x"), 5))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[5] == "Rendering: 50%, video 50/100"


def test_waiting_for_copies_is_said_once_without_a_terminal(capsys):
    from rich.console import Console

    with RunDisplay(Console()) as display:
        for _ in range(3):
            display(steps.Publishing(DealId("j1-x")))
    assert capsys.readouterr().out.startswith("Rendered; the provider has copies made")


def test_the_time_that_the_provider_expects_is_told_with_the_progress(capsys):
    from rich.console import Console

    with RunDisplay(Console()) as display:
        display(steps.Rendering(DealId("j1-x"), Progress("clip", 5, 50, 0.2), left_s=95.0))
    assert capsys.readouterr().out == "Rendering: 20%, clip 5/50, about 0:01:35 left\n"


def test_a_terminal_shows_bars_that_leave_nothing_behind():
    import io

    from rich.console import Console

    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=80)
    with RunDisplay(console) as display:
        display(steps.Rendering(DealId("j1-x"), Progress("still", 1, 4, 0.25)))
        display(steps.Publishing(DealId("j1-x")))
        (bar,) = display._bars.tasks
        assert (bar.description, bar.total) == ("publishing", None)
        display(steps.Downloading(DealId("j1-x"), 2_000_000))
        display(steps.Downloading(DealId("j1-x"), 2_000_000, 8_000_000))
        (bar,) = display._bars.tasks
        assert (bar.fields["detail"], bar.percentage) == ("2.0 of 8.0 MB", 25)
        display(steps.Waiting("[red]text that only looks like markup"))
    assert "[red]text that only looks like markup" in output.getvalue()


def test_amounts_are_shown_in_whole_tokens():
    step = steps.ProposalSeen(DealId("j1-x"), REQUESTER, TOKEN * 3 // 2, 2 * TOKEN)
    assert sentence(step, "tLP") == f"{REQUESTER} proposes 1.5 tLP (locks 2)"

"""The demo as a newcomer runs it: twice, with the same prompt."""

import json
import os
import subprocess
import sys
from pathlib import Path

import av
import pytest
from PIL import Image

from node.publisher.unixfs import cid_of

pytestmark = [pytest.mark.integration, pytest.mark.slow]
PROMPT = "an astronaut floating against a white background"
STEPS = (
    "offer seen",
    "deal agreed",
    "rendering",
    "Rendering: ",
    "publishing to IPFS",
    "submitting the result",
    "Verified",
    "Accepted",
    "paid",
)


def run_demo(directory, *arguments):
    command = [sys.executable, "-m", "node.cli.main", "--data-dir", str(directory), "demo", *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240, check=False)


def processes_of(directory):
    """Every process whose command line or environment still names the demo's directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                found += [entry.name] if str(directory).encode() in (entry / "cmdline").read_bytes() else []
            except OSError:
                continue
    return found


def test_a_second_demo_with_the_same_prompt_gives_the_same_cid_and_nothing_is_left_running(tmp_path):
    documents = []
    for name in ("first.json", "second.json"):
        done = run_demo(tmp_path / "data", PROMPT, "--json", str(tmp_path / name))
        assert done.returncode == 0, done.stderr
        documents.append(json.loads((tmp_path / name).read_text()))
        told = [done.stdout.find(step) for step in STEPS]
        assert -1 not in told, done.stdout
        assert told[0] < told[1] < told[3] < told[4] < told[5] < told[7]
        assert processes_of(tmp_path) == []

    first, second = documents
    assert first["phase"] == second["phase"] == "PAID"
    assert first["cid"] == second["cid"]
    assert first["class"] == second["class"]
    assert first["job_id"] == "j1"
    assert first["deal_id"].startswith("j1-")
    assert int(first["paid_wei"]) == 10**18
    assert first["gas_used"] > 500_000

    files = {Path(path).name: Path(path) for path in second["outputs"]}
    folder = files["still_00001_.png"].parent.parent
    assert cid_of(folder) == second["cid"]
    with Image.open(files["still_00001_.png"]) as still:
        assert still.size == (256, 256)
        assert len(set(still.convert("RGB").resize((16, 16)).get_flattened_data())) > 16, (
            "not one flat colour"
        )
    with Image.open(files["output_00001_.webp"]) as webp, Image.open(files["output_00001_.png"]) as apng:
        assert webp.n_frames == apng.n_frames == 25
    with av.open(str(files["output_00001_.mp4"])) as mp4:
        assert mp4.streams.video[0].average_rate == 8
        assert sum(1 for _ in mp4.decode(video=0)) == 25


def test_inputs_that_are_not_valid_end_the_demo_before_anything_starts(tmp_path):
    done = run_demo(tmp_path / "data", "--prompt", "a fox", "-i", "Steps=4", "-i", "Framerate=21")
    assert done.returncode == 2
    assert "Steps" in done.stderr
    assert "Framerate" in done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("provider", "phase", "ruling", "gains"),
    [
        ("honest", "PAID", "accept", {"requester": -2, "provider": 1, "mediator": 1}),
        ("cheating", "REJECTED", "reject", {"requester": -1, "provider": -1, "mediator": 1}),
    ],
)
def test_a_dispute_is_played_to_its_ruling_with_everybodys_balance(
    tmp_path_factory, tmp_path, provider, phase, ruling, gains
):
    # The same place for both, so that the toy weights of the parties are made once.
    data = tmp_path_factory.getbasetemp() / "disputes"
    few = ("-i", "Steps=5", "-i", "VideoSteps=5")
    done = run_demo(data, PROMPT, *few, "--dispute", provider, "--json", str(tmp_path / "told.json"))
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "told.json").read_text())
    assert (document["provider"], document["phase"], document["ruling"]) == (provider, phase, ruling)
    assert document["gains_wei"] == {party: str(gain * 10**18) for party, gain in gains.items()}
    assert f"ruled {ruling}" in done.stdout
    assert ("Computing the job again" in done.stdout) is (provider == "cheating")
    assert Path(document["evidence"]).is_dir()
    assert processes_of(data) == []

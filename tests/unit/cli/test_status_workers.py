"""The status tells of each worker where it is, what it does and what is wrong with it."""

from node.cli.status import show_status

IDLE = {
    "name": "0",
    "gpu": None,
    "socket": None,
    "ready": True,
    "state": "idle",
    "rendering": None,
    "encoding": None,
    "replacements": 0,
    "problem": None,
}


def doing(job, stage, step, steps):
    return {"job": job, "stage": stage, "step": step, "steps": steps, "fraction": 0.5}


def shown(worker, capsys):
    show_status({"version": "1", "accepting": True, "worker": {"profile": "tiny"} | worker}, "http://x")
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_each_worker_says_what_it_renders_and_what_it_still_encodes(capsys):
    busy = IDLE | {
        "gpu": "GPU-a",
        "state": "rendering",
        "rendering": doing("j2", "clip", 3, 50),
        "encoding": doing("j1", "encode", 0, 1),
    }
    lines = shown({"state": "rendering", "slots": [busy, IDLE | {"name": "1"}]}, capsys)
    assert "GPU GPU-a: rendering j2 (clip, step 3 of 50), ends j1 (encode, step 0 of 1)" in lines
    assert "worker 1: idle" in lines


def test_what_is_wrong_with_a_worker_and_how_often_it_was_replaced_is_told(capsys):
    broken = IDLE | {"ready": False, "state": "broken", "problem": "no worker listens", "replacements": 3}
    lines = shown({"state": "idle", "quarantined": 2, "slots": [broken | {"socket": "/run/a.sock"}]}, capsys)
    assert "/run/a.sock: no worker listens, replaced 3 times" in lines
    assert "worker tiny: idle, 2 inputs in quarantine" in lines

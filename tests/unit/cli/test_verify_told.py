"""What people are told of a verification: the verdict, every problem, and where two executions part."""

from pathlib import Path

import pytest

from node.cli.status import show_status
from node.cli.verify import lines
from node.job.comparison import Comparison, Relation
from node.verification.integrity import Examined
from node.verification.report import Executed, Report, Verdict

SOUND = Examined(None, None, {}, ())


def report(examined=SOUND, relation=None, differing=(), **more):
    executed = None
    if relation is not None:
        parts = more.pop("parts", {})
        executed = Executed("bafy-here", "class-here", Comparison(relation, differing, parts), **more)
    return Report("bafy-result", Path("/results/fox"), examined, executed=executed)


def told(report):
    return "\n".join(lines(report))


@pytest.mark.parametrize(
    ("found", "verdict", "exit_code"),
    [
        (report(), Verdict.INTACT, 0),
        (report(relation=Relation.IDENTICAL), Verdict.IDENTICAL, 0),
        (report(relation=Relation.DIFFERENT, differing=("stills",)), Verdict.DIFFERENT, 1),
        (report(relation=Relation.OTHER_MODEL), Verdict.OTHER_MODEL, 1),
        (report(relation=Relation.OTHER_CLASS), Verdict.OTHER_CLASS, 75),
        (report(Examined(None, None, {}, ("x is missing",))), Verdict.DAMAGED, 1),
        (report(Examined(None, None, {}, ("exit code",), failed=True)), Verdict.FAILED, 1),
        (report(Examined(None, None, {}, ("x",)), Relation.IDENTICAL), Verdict.DAMAGED, 1),
    ],
)
def test_each_verdict_has_its_exit_code_and_its_sentence(found, verdict, exit_code):
    assert (found.verdict, found.exit_code) == (verdict, exit_code)
    assert f"verdict  {verdict.value}: " in told(found)
    assert found.to_json()["verdict"] == verdict.value


def test_problems_are_all_told():
    text = told(report(Examined(None, None, {}, ("a is missing", "b is longer"))))
    assert "\n  a is missing\n  b is longer" in text


def test_where_two_executions_part_comes_first_and_a_long_list_ends():
    differing = tuple(f"stage_{number}" for number in range(20))
    text = told(report(relation=Relation.DIFFERENT, differing=differing))
    assert "part at stage_0" in text
    assert "stage_11 and 8 more" in text


def test_another_class_is_told_with_both_values_and_what_the_pictures_show():
    pictures = (
        {"path": "a.png", "frames": 1, "psnr_db": None, "ssim": 1.0},
        {"path": "b.png", "frames": 25, "psnr_db": 41.27, "ssim": 0.98765},
        {"path": "c.mp4", "problem": "their sizes differ"},
    )
    parts = {"device": ("a\x1b[2J card", None)}
    text = told(report(relation=Relation.OTHER_CLASS, parts=parts, pictures=pictures))
    assert r"device: a\x1b[2J card in the result, none here" in text
    assert "a.png: every pixel the same, SSIM 1.0000" in text
    assert "b.png: PSNR 41.3 dB, SSIM 0.9877, 25 frames" in text
    assert "c.mp4: not compared: their sizes differ" in text


def test_the_status_tells_a_mediators_cases(capsys):
    case = {"deal_id": "j1-x", "phase": "ruled", "decision": "reject", "reason": "a byte", "waits": None}
    waiting = case | {"deal_id": "j2-y", "phase": "open", "decision": None, "reason": "", "waits": "no GPU"}
    show_status({"version": "1", "accepting": True, "mediation": {"cases": [case, waiting]}}, "http://x")
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "mediation j1-x: ruled reject: a byte" in shown
    assert "mediation j2-y: open: no GPU" in shown

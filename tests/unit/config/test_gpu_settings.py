"""What an operator may write below [gpu], and what is said of the rest."""

import pytest

from node.config import load
from node.errors import Misconfigured
from node.gpu_settings import parse_window


def gpu(**values):
    return load(environment={}, overrides={"gpu": values}).gpu


def test_the_defaults_lend_the_gpus_always():
    assert gpu().windows == ()
    assert gpu().pause_above_c == 0
    assert not gpu().yield_to_others


def test_windows_are_read_from_a_list_or_from_one_text():
    assert gpu(hours=["22:00-07:00", "Sat-Sun 00:00-24:00"]).windows == (
        parse_window("22:00-07:00"),
        parse_window("sat-sun 0:00 - 24:00"),
    )
    assert len(gpu(hours="22:00-07:00, sat 10:00-12:00").windows) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("at night", 'write it such as "22:00-07:00"'),
        ("22-07", "is no window of time"),
        ("25:00-07:00", "25:00 is no time of day, those are 00:00 to 24:00"),
        ("22:60-07:00", "22:60 is no time of day"),
        ("24:00-07:00", "write 00:00 of the day after"),
        ("07:00-07:00", 'for a whole day write "00:00-24:00"'),
        ("fry 22:00-07:00", "fry is no day, those are mon, tue, wed"),
        ("mon-xxx 22:00-07:00", "xxx is no day"),
        ("\uff12\uff12:00-07:00", "is no window of time"),
    ],
)
def test_a_window_that_is_none_is_refused_with_what_is_allowed(text, words):
    with pytest.raises(Misconfigured, match=r"gpu\.hours") as refused:
        gpu(hours=[text])
    assert words in str(refused.value)


def test_a_pause_that_would_never_end_is_refused():
    with pytest.raises(Misconfigured, match="resume at a lower temperature"):
        gpu(pause_above_c=80, resume_below_c=80)
    with pytest.raises(Misconfigured, match="without pause_above_c"):
        gpu(resume_below_c=80)
    assert gpu(pause_above_c=85, resume_below_c=75).pause_above_c == 85

"""Block time, silence and agreement, as plain arithmetic."""

import pytest

from node.chain.heads import BlockTime, Head, agreement, behind, silence_s, survey_period_s


def measured(*heads: tuple[int, int]) -> float | None:
    block_time = BlockTime()
    for number, timestamp in heads:
        block_time.add(number, timestamp)
    return block_time.seconds


def test_the_block_time_is_measured_from_headers():
    assert measured() is None
    assert measured((5, 100)) is None
    assert measured((5, 100), (5, 100)) is None
    assert measured((5, 100), (7, 124)) == 12
    assert measured((0, 0), (40, 10)) == 0.25
    assert measured((5, 100), (4, 90), (7, 104)) == 2


def test_absurd_headers_give_a_sane_block_time():
    assert measured((5, 100), (6, 10**9)) == 60
    assert measured((5, 100), (6, 0)) == 0.05


@pytest.mark.parametrize(
    ("block_s", "noticed_s"), [(0.25, 3.0), (1, 3.0), (2, 6.0), (3, 9.0), (12, 36.0), (60, 180.0)]
)
def test_silence_shows_within_three_block_times_or_three_seconds(block_s: float, noticed_s: float):
    assert survey_period_s(block_s) + silence_s(block_s, 10.0) <= noticed_s


@pytest.mark.parametrize("longest_s", [0.5, 10.0])
@pytest.mark.parametrize("block_s", [None, 0.05, 1.0, 60.0])
def test_an_answer_is_never_waited_for_longer_than_the_setting(block_s: float | None, longest_s: float):
    assert silence_s(block_s, longest_s) <= longest_s


def test_heads_that_are_alike_are_not_stale_however_old():
    heads = {"a": Head(5, 0, 0.0), "b": Head(5, 0, 0.0)}
    assert behind(heads, 1e6, 1.0) == {}
    assert behind({}, 0.0, None) == {}


@pytest.mark.parametrize(("block_s", "lag", "stale"), [(12, 3, False), (12, 4, True), (0.25, 32, False)])
def test_lag_is_blocks_that_are_also_some_seconds(block_s: float, lag: int, stale: bool):
    heads = {"a": Head(100, 0, 0.0), "b": Head(100 - lag, 0, 0.0)}
    assert (set(behind(heads, 0.0, block_s)) == {"b"}) is stale


@pytest.mark.parametrize(
    ("hashes", "split", "apart"),
    [
        ("", False, ""),
        ("x", False, ""),
        ("xx", False, ""),
        ("xy", True, ""),
        ("xxy", False, "2"),
        ("yxx", False, "0"),
        ("xyz", True, ""),
        ("xxyy", True, ""),
        ("xxxyz", False, "34"),
    ],
)
def test_more_than_half_decide_or_nobody(hashes: str, split: bool, apart: str):
    found = agreement({str(index): value for index, value in enumerate(hashes)})
    assert (found.split, found.apart) == (split, frozenset(apart))

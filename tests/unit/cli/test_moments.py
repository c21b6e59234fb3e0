import pytest

from node.cli.moments import moment
from node.errors import Misconfigured

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("2023-11-14", 1_699_920_000.0),
        ("2023-11-14T22:13:20", NOW),
        ("2023-11-14T23:13:20+01:00", NOW),
        ("90m", NOW - 5400),
        ("7d", NOW - 7 * 86_400),
    ],
)
def test_a_moment_is_a_date_in_utc_or_an_age(text, expected):
    assert moment(text, now=NOW) == expected


@pytest.mark.parametrize("text", ["yesterday", "", "7", "-3d", "2023-13-01", "9999999d"])
def test_anything_else_is_refused_with_the_forms_that_are_taken(text):
    with pytest.raises(Misconfigured, match="24h"):
        moment(text, now=NOW)

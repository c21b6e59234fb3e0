"""What ``clean`` says it did."""

import pytest

from node.cli import clean

DONE = {
    "dry_run": False,
    "let_go": [],
    "freed_bytes": 0,
    "kept_bytes": 0,
    "disk_free_bytes": 0,
    "over_quota_bytes": 0,
    "damaged": {},
}


@pytest.mark.parametrize(
    ("number", "gone", "kept"),
    [
        (0, "0 results and 0 second copies went", "0 results with 0.0 MB stay"),
        (1, "1 result and 1 second copy went", "1 result with 0.0 MB stays"),
        (2, "2 results and 2 second copies went", "2 results with 0.0 MB stay"),
    ],
)
def test_what_went_and_what_stays_is_counted_in_words_that_fit(number, gone, kept, capsys):
    clean.show_done(DONE | {"jobs_let_go": number, "second_copies": ["j1"] * number, "kept_jobs": number})
    said = capsys.readouterr().out
    assert gone in said
    assert kept in said

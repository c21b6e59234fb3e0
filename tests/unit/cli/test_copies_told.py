"""What ``jobs show`` says of each copy of a result."""

import pytest

from node.cli.jobs import told_copy

NOTHING = {"stored_at": None, "read_at": None}


@pytest.mark.parametrize(
    ("awaited", "said"),
    [(True, "waiting"), (False, "nobody waits for it"), (None, "not yet")],
    ids=["tried", "left", "no node runs"],
)
def test_a_place_without_a_copy_waits_only_while_somebody_waits_for_it(awaited, said):
    assert told_copy(NOTHING | {"awaited": awaited}) == said


@pytest.mark.parametrize(("awaited", "waits"), [(True, True), (False, False), (None, False)])
def test_a_copy_that_was_never_read_waits_only_while_a_read_is_tried(awaited, waits):
    told = told_copy({"stored_at": 1.0, "read_at": None, "awaited": awaited})
    assert told.startswith("kept ")
    assert told.endswith(", waiting") == waits


def test_a_copy_that_is_done_is_told_with_both_moments():
    told = told_copy({"stored_at": 1.0, "read_at": 2.0, "awaited": False})
    assert told.startswith("kept ")
    assert ", read back " in told

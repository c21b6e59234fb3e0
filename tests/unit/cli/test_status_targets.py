"""The status says of each place of results what is known of it, and no more."""

import pytest

from node.cli.status import show_status


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ({"tried": False, "problem": None}, "up (kubo): not tried yet"),
        ({"tried": True, "problem": None}, "up (kubo): no problem"),
        ({"tried": True, "problem": "it broke off"}, "up (kubo): it broke off"),
    ],
)
def test_a_place_that_was_never_tried_is_not_called_good(told, shown, capsys):
    target = {"name": "up", "kind": "kubo", "waiting": 0} | told
    show_status({"version": "1", "accepting": True, "targets": [target]}, "http://x")
    assert shown in capsys.readouterr().out

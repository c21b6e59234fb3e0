"""What stands in for a part of a library does so while it is asked to, and never for what is loaded."""

import subprocess
import sys

import pytest

from node.stand_ins import refusing, stand_in, standing_in

LEFT_OUT = """
import sys, node.app
print(*{"py_ecc.bls", "py_ecc.bls12_381", "py_ecc.optimized_bls12_381"} & sys.modules.keys())
from py_ecc.bls import G2ProofOfPossession
from py_ecc.bls12_381 import curve_order
import eth_keyfile.keyfile as keyfile
print(len(G2ProofOfPossession.SkToPk(7)), keyfile.MAX_V4_PRIVATE_KEY == curve_order - 1)
"""


def test_the_daemon_computes_no_tables_of_the_validators_curve_and_whoever_wants_them_has_them():
    done = subprocess.run([sys.executable, "-c", LEFT_OUT], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["", "48 True"]


def test_a_stand_in_is_found_in_its_block_alone():
    with standing_in(stand_in("colorsys_of_nobody", hue=7)):
        from colorsys_of_nobody import hue

        assert hue == 7
    with pytest.raises(ModuleNotFoundError):
        import colorsys_of_nobody  # noqa: F401


def test_what_is_loaded_already_stays():
    with standing_in(stand_in("json")):
        import json

        assert json.loads("7") == 7
    assert sys.modules["json"] is json


def test_what_is_left_out_may_be_named_as_a_type_and_says_why_it_cannot_be_used():
    left_out = refusing("library.part.Thing", "nobody needs it")
    assert left_out | None
    with pytest.raises(NotImplementedError, match=r"library\.part\.Thing is left out: nobody needs it"):
        left_out(1, two=2)

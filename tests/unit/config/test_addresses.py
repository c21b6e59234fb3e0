"""Accounts that people write: one reading everywhere, and no money for a mistyped one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.addresses import NoAddress, parse_address
from node.chain.keystore import keystore_address
from node.cli.jobs import checked_address
from node.cli.main import main
from node.config import load
from node.errors import Misconfigured

# An example of EIP-55 itself.
CHECKSUMMED = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
MISTYPED = CHECKSUMMED[:-1] + "D"


@pytest.mark.parametrize(
    "written",
    [CHECKSUMMED, CHECKSUMMED.lower(), "0x" + CHECKSUMMED[2:].upper(), "0X" + CHECKSUMMED[2:].upper()],
)
def test_an_address_is_read_in_either_case_and_with_its_checksum(written):
    assert parse_address(written) == CHECKSUMMED.lower()


@pytest.mark.parametrize(
    "written",
    [
        "0x" + "1" * 39,
        "0x" + "1" * 41,
        "1" * 42,
        "0x11 11" + "1" * 35,
        "0x" + "11 " * 13 + "1",
        "0x" + "1" * 40 + "\n",
        "0x" + "\u0661" * 40,
        7,
        None,
    ],
)
def test_what_is_no_address_is_told_what_one_is(written):
    with pytest.raises(NoAddress, match="0x and 40 hex digits"):
        parse_address(written)


@given(st.integers(2, 41))
def test_a_letter_in_the_other_case_is_a_wrong_checksum(position):
    letter = CHECKSUMMED[position]
    mistyped = CHECKSUMMED[:position] + letter.swapcase() + CHECKSUMMED[position + 1 :]
    if letter.isdigit():
        assert parse_address(mistyped) == CHECKSUMMED.lower()
    else:
        with pytest.raises(NoAddress, match="checksum"):
            parse_address(mistyped)


def test_a_mistyped_payout_address_is_refused_in_words():
    with pytest.raises(Misconfigured, match=r"wallet.payout_address: the checksum .* mistyped"):
        load(environment={}, overrides={"wallet": {"payout_address": MISTYPED}})
    good = load(environment={}, overrides={"wallet": {"payout_address": CHECKSUMMED}})
    assert good.wallet.payout_address == CHECKSUMMED.lower()


def test_commands_refuse_a_mistyped_account(capsys):
    with pytest.raises(Misconfigured, match="checksum"):
        checked_address(MISTYPED)
    with pytest.raises(SystemExit) as ended:
        main(["run", "--provider", MISTYPED, "--yes", "sdv-pipeline", "-i", "Prompt=a"])
    assert ended.value.code == 2
    assert "--provider: the checksum" in capsys.readouterr().err


def test_a_keystore_may_leave_the_prefix_out_but_not_mistype_the_rest(tmp_path):
    keystore = tmp_path / "keystore.json"
    keystore.touch(mode=0o600)
    keystore.write_text(f'{{"version": 3, "crypto": {{}}, "address": "{CHECKSUMMED[2:]}"}}')
    assert keystore_address(keystore) == CHECKSUMMED.lower()
    keystore.write_text(f'{{"version": 3, "crypto": {{}}, "address": "{MISTYPED[2:]}"}}')
    with pytest.raises(Misconfigured, match="checksum"):
        keystore_address(keystore)

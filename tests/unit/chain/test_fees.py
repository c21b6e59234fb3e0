"""Fees stay between floor and cap, and a replacement always replaces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.chain.client import NetworkFees
from node.chain.fees import Fees, FeesAboveCap, TxSettings, first_fees, replacement_fees
from node.errors import Misconfigured
from node.types import Wei

SETTINGS = TxSettings(tip_floor_wei=Wei(10), max_fee_floor_wei=Wei(1_000), max_fee_cap_wei=Wei(1_000_000))
wei = st.integers(0, 2_000_000).map(Wei)


@given(base=wei, tip=wei)
def test_first_fees_cover_the_next_block_within_floor_and_cap(base: Wei, tip: Wei):
    try:
        fees = first_fees(NetworkFees(base, tip), SETTINGS)
    except FeesAboveCap:
        assert base + SETTINGS.tip_floor_wei > SETTINGS.max_fee_cap_wei
        return
    assert SETTINGS.max_fee_floor_wei <= fees.max_fee_wei <= SETTINGS.max_fee_cap_wei
    assert SETTINGS.tip_floor_wei <= fees.tip_wei <= fees.max_fee_wei
    assert fees.max_fee_wei >= base + SETTINGS.tip_floor_wei


def test_fees_above_the_cap_are_told_in_gwei_with_the_setting_to_raise():
    told = r"base fee of 2\.5 gwei is above the cap of 0\.001: wait, or raise chain\.max_fee_gwei"
    with pytest.raises(FeesAboveCap, match=told):
        first_fees(NetworkFees(Wei(2_500_000_000), Wei(1)), SETTINGS)


@given(
    base=wei, tip=wei, max_fee=st.integers(1, 1_000_000), part=st.floats(0, 1), percent=st.integers(10, 200)
)
def test_a_replacement_raises_both_fields_by_ten_percent_or_is_refused(base, tip, max_fee, part, percent):
    settings = TxSettings(max_fee_floor_wei=Wei(1), max_fee_cap_wei=Wei(1_000_000), bump_percent=percent)
    previous = Fees(Wei(max_fee), Wei(int(max_fee * part)))
    fees = replacement_fees(previous, NetworkFees(base, tip), settings)
    if fees is None:
        assert max(max_fee + 1, max_fee * (100 + percent) / 100) > settings.max_fee_cap_wei - 1
        return
    assert fees.max_fee_wei <= settings.max_fee_cap_wei
    assert fees.tip_wei <= fees.max_fee_wei
    for before, after in ((previous.max_fee_wei, fees.max_fee_wei), (previous.tip_wei, fees.tip_wei)):
        assert after > before
        assert after * 100 >= before * (100 + percent)


@pytest.mark.parametrize(
    "wrong",
    [
        {"bump_percent": 9},
        {"max_fee_floor_wei": Wei(2), "max_fee_cap_wei": Wei(1)},
        {"tip_floor_wei": Wei(0)},
        {"confirmations": -1},
        {"poll_interval_s": 0.0},
        {"resubmit_after_s": 0.0},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict):
    with pytest.raises(Misconfigured):
        TxSettings(**wrong)

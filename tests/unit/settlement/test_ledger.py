"""Every Payment row of ours is counted once and in one place; gas is counted apart, with whom it was for."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.job.deal import PaymentDirection as Direction
from node.job.deal import PaymentReason as Reason
from node.journal.ledger_rows import GasRow, Posting
from node.journal.records import LedgerRow
from node.settlement.ledger import Period, Sums, differences, fold, of_gas
from tests.fakes.jobs import MEDIATOR, POSTED_AT, PROVIDER, REQUESTER, TOKEN, make_deal

DEAL = make_deal().deal_id
COLLATERAL_IN = (Reason.TIMEOUT_COLLATERAL, Direction.PAID_IN)
COLLATERAL_BACK = (Reason.TIMEOUT_COLLATERAL, Direction.REFUNDED)
RESULTS_IN = (Reason.RESULTS_COLLATERAL, Direction.PAID_IN)
RESULTS_BACK = (Reason.RESULTS_COLLATERAL, Direction.REFUNDED)
RESULTS_SLASHED = (Reason.RESULTS_COLLATERAL, Direction.SLASHED)
COLLATERAL_SLASHED = (Reason.TIMEOUT_COLLATERAL, Direction.SLASHED)
COLLATERAL_OF_THEIRS = (Reason.TIMEOUT_COLLATERAL, Direction.PAID_OUT)
PAY = (Reason.JOB_PAYMENT, Direction.PAID_OUT)


def row(kind, amount=TOKEN, *, index=0, payee=PROVIDER, at=POSTED_AT, block=10):
    return LedgerRow("0x" + f"{block:064x}", index, block, DEAL, payee, amount, *kind, at)


def deal(*kinds, job_id="j1", requester=REQUESTER):
    return [Posting(row(kind, index=index), job_id, requester) for index, kind in enumerate(kinds)]


def gas(fee, *, job_id="j1", reverted=False, at=POSTED_AT):
    requester = REQUESTER if job_id else None
    return GasRow("j1:propose:1", "agree", job_id, requester, "0x" + "1" * 64, 10, reverted, 21_000, fee, at)


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ((COLLATERAL_IN,), {"locked_timeout_wei": TOKEN, "net_wei": 0}),
        ((COLLATERAL_IN, COLLATERAL_BACK), {"locked_wei": 0, "returned_wei": TOKEN}),
        (
            (COLLATERAL_IN, RESULTS_IN, COLLATERAL_BACK),
            {"locked_timeout_wei": 0, "locked_results_wei": TOKEN},
        ),
        (
            (COLLATERAL_IN, RESULTS_IN, COLLATERAL_BACK, PAY, RESULTS_BACK),
            {"earned_wei": TOKEN, "net_wei": TOKEN, "locked_wei": 0},
        ),
        (
            (COLLATERAL_IN, RESULTS_IN, COLLATERAL_BACK, RESULTS_SLASHED),
            {"slashed_out_wei": TOKEN, "net_wei": -TOKEN, "locked_wei": 0},
        ),
        (
            (COLLATERAL_IN, COLLATERAL_SLASHED),
            {"slashed_out_wei": TOKEN, "net_wei": -TOKEN, "locked_wei": 0},
        ),
        (
            (COLLATERAL_IN, RESULTS_IN, COLLATERAL_BACK, PAY, COLLATERAL_OF_THEIRS, RESULTS_BACK),
            {"earned_wei": TOKEN, "slashed_in_wei": TOKEN, "net_wei": 2 * TOKEN, "locked_wei": 0},
        ),
    ],
)
def test_a_deal_is_summed_as_it_ended(kinds, expected):
    sums = fold(PROVIDER, deal(*kinds), []).total
    assert {name: getattr(sums, name) for name in expected} == expected
    assert sums.payments == len(kinds)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(Reason)),
            st.sampled_from(list(Direction)),
            st.integers(0, 2**256 - 1),
            st.sampled_from([PROVIDER, REQUESTER]),
        )
    )
)
def test_what_flowed_is_what_the_logs_say_whatever_they_are(logs):
    postings = [
        Posting(row((reason, direction), amount, index=index, payee=payee), "j1", REQUESTER)
        for index, (reason, direction, amount, payee) in enumerate(logs)
    ]
    signs = {Direction.PAID_IN: -1, Direction.PAID_OUT: 1, Direction.REFUNDED: 1, Direction.SLASHED: 0}
    flowed = sum(signs[direction] * amount for _, direction, amount, payee in logs if payee == PROVIDER)
    total = fold(PROVIDER, postings, []).total
    assert total.net_wei - total.locked_wei == flowed
    assert total.payments == sum(payee == PROVIDER for *_, payee in logs)


def test_rows_of_the_other_side_are_not_our_money():
    postings = [Posting(row(COLLATERAL_IN, payee=REQUESTER), "j1", REQUESTER)]
    assert fold(PROVIDER, postings, []).total == Sums()


def test_gas_stands_with_its_job_and_its_account_or_in_the_total_alone_reverted_ones_included():
    ledger = fold(
        PROVIDER,
        deal(PAY) + deal(PAY, job_id="j2", requester=MEDIATOR),
        [gas(5), gas(7, reverted=True), gas(11, job_id=None)],
    )
    assert ledger.by_job["j1"].gas_wei == 12
    assert ledger.by_job["j1"].gas_reverted_wei == 7
    assert ledger.by_job["j2"].gas_wei == 0
    assert ledger.by_counterparty[REQUESTER].gas_wei == 12
    assert ledger.total.gas_wei == 23
    assert ledger.total.net_wei == 2 * TOKEN
    assert sum(ledger.by_job.values(), of_gas(gas(11, job_id=None))) == ledger.total


def test_a_period_begins_with_its_first_second_and_ends_before_its_last():
    postings = [Posting(row(PAY, index=i, at=POSTED_AT + i), "j1", REQUESTER) for i in range(4)]
    spent = [gas(1, at=POSTED_AT + i) for i in range(4)]
    ledger = fold(PROVIDER, postings, spent, Period(POSTED_AT + 1, POSTED_AT + 3))
    assert (ledger.total.earned_wei, ledger.total.gas_wei) == (2 * TOKEN, 2)


def test_equal_readings_have_no_difference():
    rows = [row(PAY, index=1), row(COLLATERAL_IN, index=2)]
    assert differences(rows, list(reversed(rows))) == ()


@pytest.mark.parametrize(
    ("ledger", "chain", "told"),
    [
        ([], [row(PAY)], "the ledger has nothing"),
        ([row(PAY)], [], "the chain has nothing"),
        ([row(PAY)], [row(PAY, TOKEN + 1)], f"the chain has {TOKEN + 1} wei (job payment paid out)"),
        ([row(PAY)], [replace(row(PAY), at=POSTED_AT + 1)], f"at {POSTED_AT + 1}"),
    ],
)
def test_each_difference_is_named_with_its_log(ledger, chain, told):
    (found,) = differences(ledger, chain)
    assert told in str(found)
    assert found.tx_hash in str(found)
    assert DEAL in str(found)

"""Exports are exact, complete and harmless to open in a spreadsheet."""

import csv
import io
from dataclasses import replace

import pytest

from node.job.amounts import tokens
from node.job.deal import PaymentDirection, PaymentReason
from node.job.phase import Phase
from node.journal.ledger_rows import GasRow, Posting
from node.journal.records import JobRow, LedgerRow
from node.settlement.export import gas_rows, guarded, job_rows, payment_rows, to_csv
from node.settlement.ledger import Sums
from tests.fakes.jobs import POSTED_AT, PROVIDER, REQUESTER, TOKEN, make_deal, make_job, make_offer, make_spec

KIND = (PaymentReason.JOB_PAYMENT, PaymentDirection.PAID_OUT)
ROW = LedgerRow("0x" + "7" * 64, 2, 12, make_deal().deal_id, PROVIDER, TOKEN + 1, *KIND, POSTED_AT)


def read(rows):
    return list(csv.DictReader(io.StringIO(to_csv(rows))))


def test_a_payment_has_its_amount_in_tokens_and_in_wei_both_exact():
    (found,) = read(payment_rows([Posting(ROW, "j1", REQUESTER)]))
    assert found["amount"] == "1.000000000000000001"
    assert found["amount_wei"] == "1000000000000000001"
    assert (found["job_id"], found["counterparty"]) == ("j1", REQUESTER)
    assert (found["reason"], found["direction"]) == ("job_payment", "paid_out")
    assert found["time_utc"] == "2023-11-14T22:13:20Z"


def test_a_job_has_its_price_its_money_and_a_negative_net_as_a_number():
    job = make_job(Phase.REJECTED, reason="the mediator rejected the result")
    sums = {"j1": Sums(slashed_out_wei=TOKEN, gas_wei=5)}
    (found,) = read(job_rows([JobRow(job, POSTED_AT, POSTED_AT + 60)], sums))
    assert (found["net"], found["net_wei"]) == ("-1", str(-TOKEN))
    assert (found["price"], found["gas_wei"]) == ("1", "5")
    assert found["gas"] == "0.000000000000000005"


def test_a_refused_job_has_no_price_and_no_money():
    (found,) = read(job_rows([JobRow(make_job(Phase.REFUSED), POSTED_AT, POSTED_AT)], {}))
    assert (found["price"], found["price_wei"], found["earned_wei"]) == ("", "", "0")


def test_gas_tells_what_it_was_spent_on_and_whether_it_was_lost():
    row = GasRow("j1:propose:1", "agree j1", "j1", REQUESTER, "0x12", 9, True, 21_000, 7, POSTED_AT)
    (found,) = read(gas_rows([row, replace(row, reverted=False, job_id=None, counterparty=None)]))[:1]
    assert (found["status"], found["what"], found["fee_wei"]) == ("reverted", "agree j1", "7")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_prompt_that_a_spreadsheet_would_run_is_made_harmless(start):
    prompt = f'{start}HYPERLINK("http://x"),"a"'
    assert guarded(prompt) == f"'{prompt}"
    assert guarded("a = b") == "a = b"


def test_a_hostile_prompt_stays_one_cell():
    spec = make_spec('Prompt==1+1,"x",y')
    job = make_job(Phase.PAID, offer=replace(make_offer(), spec=spec))
    (found,) = read(job_rows([JobRow(job, POSTED_AT, POSTED_AT)], {}))
    assert found["prompt"] == '\'=1+1,"x",y'


def test_no_rows_are_no_text():
    assert to_csv([]) == ""


@pytest.mark.parametrize(
    ("wei", "text"),
    [(0, "0"), (TOKEN, "1"), (1, "0." + "0" * 17 + "1"), (-TOKEN // 2, "-0.5"), (10**60, "1" + "0" * 42)],
)
def test_amounts_are_told_without_losing_a_digit(wei, text):
    assert tokens(wei) == tokens(str(wei)) == text

"""Every row of the deal state table: states, balances to the wei, and events in their order."""

import pytest

from tests.unit.contracts.evm import Reverted
from tests.unit.contracts.market import (
    ADMIN,
    JC,
    MEDIATOR,
    RP,
    SECOND_MEDIATOR,
    THIRD_MEDIATOR,
    TOKEN,
    Market,
    movements,
)

HOUR = 3600
START = 100 * TOKEN


def gains(market: Market) -> tuple[int, int, int]:
    """How many whole tokens provider, job creator and mediator hold more than at the start."""
    changes = [market.balance(holder) - START for holder in (RP, JC, MEDIATOR)]
    assert [change % TOKEN for change in changes] == [0, 0, 0]
    return changes[0] // TOKEN, changes[1] // TOKEN, changes[2] // TOKEN


def test_provider_agrees_first(market: Market) -> None:
    outcome = market.agree(RP)
    assert movements(outcome) == [(RP, TOKEN, 2, 0)]
    assert outcome.returned[:5] == (0, market.evm.now, 0, market.evm.now, 0)
    assert (market.state(), gains(market), market.escrow()) == (0, (-1, 0, 0), TOKEN)


def test_job_creator_agrees_first(market: Market) -> None:
    assert movements(market.agree(JC)) == [(JC, 2 * TOKEN, 0, 0), (JC, TOKEN, 2, 0)]
    assert (market.state(), gains(market), market.escrow()) == (0, (0, -3, 0), 3 * TOKEN)


@pytest.mark.parametrize(("first", "second"), [(RP, JC), (JC, RP)])
def test_the_other_side_agrees(market: Market, first: bytes, second: bytes) -> None:
    market.agree(first)
    market.evm.pass_time(60)
    outcome = market.agree(second)
    assert movements(outcome)[0] == ("state", 1)
    created, agreed = outcome.returned[3:5]
    assert (created, agreed) == (market.evm.now - 60, market.evm.now)
    assert (market.state(), gains(market), market.escrow()) == (1, (-1, -3, 0), 4 * TOKEN)


def test_provider_adds_its_result(market: Market) -> None:
    market.agreed()
    outcome = market.call(RP, "addResult", "", "bafyresult", 1)
    assert movements(outcome) == [("state", 2), (RP, 2 * TOKEN, 1, 0), (RP, TOKEN, 2, 2)]
    assert (market.state(), gains(market), market.escrow()) == (2, (-2, -3, 0), 5 * TOKEN)
    result = market.storage.read("getResult", market.terms.deal_id)
    assert result == (market.terms.deal_id, "", "bafyresult", 1)


def test_job_creator_accepts(market: Market) -> None:
    market.submitted()
    assert movements(market.call(JC, "acceptResult")) == [
        ("state", 3),
        (RP, TOKEN, 3, 1),
        (JC, TOKEN, 0, 2),
        (JC, TOKEN, 2, 2),
        (RP, 2 * TOKEN, 1, 2),
    ]
    assert (market.state(), gains(market), market.escrow()) == (3, (1, -1, 0), 0)


def test_nothing_is_given_back_when_the_job_costs_all_of_the_payment_collateral(market: Market) -> None:
    market.submitted(payment_collateral=TOKEN)
    assert movements(market.call(JC, "acceptResult")) == [
        ("state", 3),
        (RP, TOKEN, 3, 1),
        (JC, TOKEN, 2, 2),
        (RP, 2 * TOKEN, 1, 2),
    ]


def test_job_creator_checks(market: Market) -> None:
    market.submitted()
    assert movements(market.call(JC, "checkResult")) == [
        ("state", 4),
        (JC, TOKEN, 2, 2),
        (JC, TOKEN, 4, 0),
        ("mediator", MEDIATOR),
    ]
    assert (market.state(), gains(market), market.escrow()) == (4, (-2, -3, 0), 5 * TOKEN)


def test_checking_needs_the_fee_only_after_the_timeout_collateral_came_back(market: Market) -> None:
    market.submitted()
    market.token.send(JC, "transfer", ADMIN, market.balance(JC))
    market.call(JC, "checkResult")
    assert (market.state(), market.balance(JC)) == (4, 0)


def test_mediator_accepts(market: Market) -> None:
    market.checked()
    assert movements(market.rule(MEDIATOR, "mediationAcceptResult")) == [
        ("state", 5),
        (RP, TOKEN, 3, 1),
        (MEDIATOR, TOKEN, 4, 1),
        (JC, TOKEN, 0, 2),
        (RP, 2 * TOKEN, 1, 2),
    ]
    assert (market.state(), gains(market), market.escrow()) == (5, (1, -2, 1), 0)


def test_mediator_rejects(market: Market) -> None:
    market.checked()
    before = market.balance(ADMIN)
    assert movements(market.rule(MEDIATOR, "mediationRejectResult")) == [
        ("state", 6),
        (JC, 2 * TOKEN, 0, 2),
        (MEDIATOR, TOKEN, 4, 1),
        (RP, 2 * TOKEN, 1, 3),
    ]
    assert (market.state(), gains(market), market.escrow()) == (6, (-2, -1, 1), 0)
    assert market.balance(ADMIN) - before == 2 * TOKEN


@pytest.mark.parametrize("caller", [RP, JC])
def test_provider_gets_everything_back_when_the_job_creator_does_not_agree(
    market: Market, caller: bytes
) -> None:
    market.negotiated(RP)
    market.evm.pass_time(HOUR + 1)
    assert movements(market.call(caller, "timeoutAgree")) == [("state", 7), (RP, TOKEN, 2, 2)]
    assert (market.state(), gains(market), market.escrow()) == (7, (0, 0, 0), 0)


@pytest.mark.parametrize("caller", [RP, JC])
def test_job_creator_gets_everything_back_when_the_provider_does_not_agree(
    market: Market, caller: bytes
) -> None:
    # Unequal collaterals: what comes back is what this side locked, not what the other side would have.
    market.negotiated(JC, submit_collateral=7 * TOKEN, judge_collateral=3 * TOKEN)
    market.evm.pass_time(HOUR + 1)
    assert movements(market.call(caller, "timeoutAgree")) == [
        ("state", 7),
        (JC, 2 * TOKEN, 0, 2),
        (JC, 3 * TOKEN, 2, 2),
    ]
    assert (market.state(), gains(market), market.escrow()) == (7, (0, 0, 0), 0)


@pytest.mark.parametrize("caller", [RP, JC])
def test_a_silent_provider_loses_its_collateral_to_the_job_creator(market: Market, caller: bytes) -> None:
    market.agreed(submit_collateral=7 * TOKEN, judge_collateral=3 * TOKEN)
    market.evm.pass_time(HOUR + 1)
    assert movements(market.call(caller, "timeoutSubmitResult")) == [
        ("state", 8),
        (JC, 2 * TOKEN, 0, 2),
        (JC, 3 * TOKEN, 2, 2),
        (RP, 7 * TOKEN, 2, 3),
        (JC, 7 * TOKEN, 2, 1),
    ]
    assert (market.state(), gains(market), market.escrow()) == (8, (-7, 7, 0), 0)


@pytest.mark.parametrize("caller", [RP, JC])
def test_a_silent_job_creator_pays_and_loses_its_collateral_to_the_provider(
    market: Market, caller: bytes
) -> None:
    market.submitted(submit_collateral=7 * TOKEN, judge_collateral=3 * TOKEN)
    market.evm.pass_time(HOUR + 1)
    assert movements(market.call(caller, "timeoutJudgeResult")) == [
        ("state", 9),
        (RP, TOKEN, 3, 1),
        (JC, TOKEN, 0, 2),
        (JC, 3 * TOKEN, 2, 3),
        (RP, 3 * TOKEN, 2, 1),
        (RP, 2 * TOKEN, 1, 2),
    ]
    assert (market.state(), gains(market), market.escrow()) == (9, (4, -4, 0), 0)


@pytest.mark.parametrize("caller", [RP, JC])
def test_the_result_stands_when_the_only_mediator_stays_silent(market: Market, caller: bytes) -> None:
    market.checked()
    market.evm.pass_time(HOUR + 1)
    assert movements(market.call(caller, "timeoutMediateResult")) == [
        ("state", 10),
        (RP, TOKEN, 3, 1),
        (JC, TOKEN, 0, 2),
        (JC, TOKEN, 4, 2),
        (RP, 2 * TOKEN, 1, 2),
    ]
    assert (market.state(), gains(market), market.escrow()) == (10, (1, -1, 0), 0)


def test_silent_mediators_are_replaced_one_after_the_other_until_the_list_is_used_up(market: Market) -> None:
    listed = (MEDIATOR, SECOND_MEDIATOR, THIRD_MEDIATOR)
    market.checked(mediators=listed)
    drawn = [market.drawn()]
    for _ in range(2):
        market.evm.pass_time(HOUR + 1)
        outcome = market.call(RP, "timeoutMediateResult")
        drawn.append(market.drawn())
        assert movements(outcome) == [("mediator", drawn[-1])]
        assert (market.state(), market.escrow()) == (4, 5 * TOKEN)
    assert sorted(drawn) == sorted(listed)
    market.evm.pass_time(HOUR + 1)
    assert movements(market.call(JC, "timeoutMediateResult"))[0] == ("state", 10)
    assert (gains(market), market.escrow()) == ((1, -1, 0), 0)


@pytest.mark.parametrize("end", ["accept", "judge timeout", "mediator accepts", "mediator silent"])
def test_an_inflated_count_is_paid_no_more_than_the_payment_collateral(market: Market, end: str) -> None:
    market.submitted(count=40, multiple=1)
    assert market.escrow() == (2 + 1 + 40) * TOKEN
    if end == "accept":
        market.call(JC, "acceptResult")
    elif end == "judge timeout":
        market.evm.pass_time(HOUR + 1)
        market.call(RP, "timeoutJudgeResult")
    else:
        market.call(JC, "checkResult")
        if end == "mediator accepts":
            market.rule(MEDIATOR, "mediationAcceptResult")
        else:
            market.evm.pass_time(HOUR + 1)
            market.call(RP, "timeoutMediateResult")
    expected = {
        "accept": (2, -2, 0),
        "judge timeout": (3, -3, 0),
        "mediator accepts": (2, -3, 1),
        "mediator silent": (2, -2, 0),
    }
    assert (gains(market), market.escrow()) == (expected[end], 0)


def test_an_honest_failure_costs_nobody_anything(market: Market) -> None:
    market.agreed()
    outcome = market.call(RP, "addResult", "", "", 0)
    assert movements(outcome) == [("state", 2), (RP, 0, 1, 0), (RP, TOKEN, 2, 2)]
    assert movements(market.call(JC, "acceptResult")) == [
        ("state", 3),
        (RP, 0, 3, 1),
        (JC, 2 * TOKEN, 0, 2),
        (JC, TOKEN, 2, 2),
        (RP, 0, 1, 2),
    ]
    assert (market.state(), gains(market), market.escrow()) == (3, (0, 0, 0), 0)


def test_a_deal_without_any_money_goes_through_every_step(market: Market) -> None:
    nothing = {"submit_collateral": 0, "judge_collateral": 0, "price": 0, "payment_collateral": 0, "fee": 0}
    market.checked(**nothing)
    outcome = market.rule(MEDIATOR, "mediationRejectResult")
    assert movements(outcome) == [("state", 6), (JC, 0, 0, 2), (MEDIATOR, 0, 4, 1), (RP, 0, 1, 3)]
    assert gains(market) == (0, 0, 0)


@pytest.mark.parametrize("final", [3, 5, 6, 7, 8, 9, 10])
def test_a_final_state_is_final(market: Market, final: int) -> None:
    if final == 7:
        market.negotiated()
    elif final == 8:
        market.agreed()
    elif final in (3, 9):
        market.submitted()
    else:
        market.checked()
    market.evm.pass_time(HOUR + 1 if final > 6 else 1)
    if final in (5, 6):
        market.rule(MEDIATOR, "mediationAcceptResult" if final == 5 else "mediationRejectResult")
    else:
        caller, function = {
            3: (JC, "acceptResult"),
            7: (RP, "timeoutAgree"),
            8: (JC, "timeoutSubmitResult"),
            9: (RP, "timeoutJudgeResult"),
            10: (RP, "timeoutMediateResult"),
        }[final]
        market.call(caller, function)
    assert market.state() == final
    ended = {3: 6, 5: 8, 6: 9, 7: 10, 8: 11, 9: 12, 10: 13}[final]
    times = market.agreement()
    assert times[ended] == market.evm.now
    assert [at for at in (6, 8, 9, 10, 11, 12, 13) if times[at]] == [ended]
    market.evm.pass_time(10 * HOUR)
    refusals = (
        lambda: market.agree(JC),
        lambda: market.call(RP, "addResult", "", "again", 1),
        lambda: market.call(JC, "acceptResult"),
        lambda: market.call(JC, "checkResult"),
        lambda: market.call(RP, "timeoutAgree"),
        lambda: market.call(JC, "timeoutSubmitResult"),
        lambda: market.call(RP, "timeoutJudgeResult"),
        lambda: market.call(RP, "timeoutMediateResult"),
        lambda: market.rule(MEDIATOR, "mediationAcceptResult"),
        lambda: market.rule(MEDIATOR, "mediationRejectResult"),
    )
    reasons = set()
    for refused in refusals:
        with pytest.raises(Reverted) as caught:
            refused()
        reasons.add(caught.value.reason)
    wrong_state = {"DealNegotiating", "DealAgreed", "ResultsSubmitted", "ResultsChecked", "Not correct state"}
    assert reasons - {"mediator cannot be 0x0"} <= wrong_state
    assert (market.state(), market.escrow()) == (final, 0)

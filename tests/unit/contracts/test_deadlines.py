"""Up to its deadline a step is allowed and its timeout is not; one second later it is the other way round."""

import pytest

from tests.unit.contracts.evm import refused
from tests.unit.contracts.market import (
    JC,
    MEDIATOR,
    RP,
    SECOND_MEDIATOR,
    STRANGER,
    Market,
)

TIMEOUTS = (100, 200, 300, 400)


def reach(market: Market, state: int) -> None:
    """Bring the deal to the state, each step ten seconds after the one before."""
    market.negotiated(timeouts=TIMEOUTS, mediators=(MEDIATOR, SECOND_MEDIATOR))
    steps = [
        lambda: market.agree(JC),
        lambda: market.call(RP, "addResult", "", "bafyresult", 1),
        lambda: market.call(JC, "checkResult"),
    ]
    for step in steps[: {0: 0, 1: 1, 2: 2, 4: 3}[state]]:
        market.evm.pass_time(10)
        step()


STEPS = [
    (0, 100, "timeoutAgree", lambda market: market.agree(JC)),
    (1, 200, "timeoutSubmitResult", lambda market: market.call(RP, "addResult", "", "bafyresult", 1)),
    (2, 300, "timeoutJudgeResult", lambda market: market.call(JC, "checkResult")),
]


@pytest.mark.parametrize(("state", "limit", "timeout", "step"), STEPS)
def test_in_its_last_second_a_step_is_allowed_and_its_timeout_is_not(
    market: Market, state: int, limit: int, timeout: str, step
) -> None:
    reach(market, state)
    market.evm.pass_time(limit)
    for caller in (RP, JC):
        with refused("Not timed out"):
            market.call(caller, timeout)
    step(market)
    assert market.state() > state


@pytest.mark.parametrize(("state", "limit", "timeout", "step"), STEPS)
def test_after_its_deadline_a_step_is_refused_and_its_timeout_is_allowed(
    market: Market, state: int, limit: int, timeout: str, step
) -> None:
    reach(market, state)
    market.evm.pass_time(limit + 1)
    with refused("Timed out"):
        step(market)
    market.call(RP, timeout)
    assert market.state() > 6


def test_a_late_acceptance_is_welcome_until_the_provider_has_taken_the_timeout(market: Market) -> None:
    reach(market, 2)
    market.evm.pass_time(10_000)
    market.call(JC, "acceptResult")
    assert market.state() == 3


def test_a_mediator_may_rule_late_until_it_is_replaced(market: Market) -> None:
    reach(market, 4)
    first = market.drawn()
    market.evm.pass_time(401)
    with market.evm.undone():
        market.rule(first, "mediationAcceptResult")
        assert market.state() == 5
    market.call(JC, "timeoutMediateResult")
    with refused("msg.sender must be the mediator"):
        market.rule(first, "mediationAcceptResult")
    market.rule(market.drawn(), "mediationAcceptResult")
    assert market.state() == 5


def test_each_mediator_has_the_whole_time_counted_from_its_own_draw(market: Market) -> None:
    reach(market, 4)
    for _ in range(2):
        market.evm.pass_time(400)
        with refused("Not timed out"):
            market.call(JC, "timeoutMediateResult")
        market.evm.pass_time(1)
        assert market.state() == 4
        market.call(JC, "timeoutMediateResult")
    assert market.state() == 10


def test_a_check_in_the_last_second_does_not_shorten_mediation(market: Market) -> None:
    # Lilypad counts the judge's time, from the result: checking late and timing out at once is theft there.
    reach(market, 2)
    market.evm.pass_time(300)
    market.call(JC, "checkResult")
    market.evm.pass_time(400)
    with refused("Not timed out"):
        market.call(JC, "timeoutMediateResult")


@pytest.mark.parametrize(
    ("state", "function", "reason"),
    [
        (0, "timeoutAgree", "Only JC or RP"),
        (1, "timeoutSubmitResult", "Only JC or RP"),
        (2, "timeoutJudgeResult", "Only JC or RP"),
        (4, "timeoutMediateResult", "Only RP or JC"),
    ],
)
def test_strangers_and_mediators_cannot_time_a_deal_out(
    market: Market, state: int, function: str, reason: str
) -> None:
    reach(market, state)
    market.evm.pass_time(10_000)
    for caller in (STRANGER, MEDIATOR):
        with refused(reason):
            market.call(caller, function)


@pytest.mark.parametrize(
    "function", ["timeoutAgree", "timeoutSubmitResult", "timeoutJudgeResult", "timeoutMediateResult"]
)
@pytest.mark.parametrize("state", [0, 1, 2, 4])
def test_a_timeout_belongs_to_one_state(market: Market, function: str, state: int) -> None:
    reach(market, state)
    market.evm.pass_time(10_000)
    own = {0: "timeoutAgree", 1: "timeoutSubmitResult", 2: "timeoutJudgeResult", 4: "timeoutMediateResult"}
    if own[state] != function:
        with refused("Not correct state"):
            market.call(JC, function)


def test_an_unknown_deal_has_no_parties(market: Market) -> None:
    for function, reason in (
        ("addResult", "DealAgreed"),
        ("acceptResult", "ResultsSubmitted"),
        ("checkResult", "ResultsSubmitted"),
        ("timeoutAgree", "Only JC or RP"),
        ("timeoutSubmitResult", "Only JC or RP"),
        ("timeoutJudgeResult", "Only JC or RP"),
        ("timeoutMediateResult", "Only RP or JC"),
    ):
        arguments = ("", "", 1) if function == "addResult" else ()
        with refused(reason):
            market.call(JC, function, *arguments)

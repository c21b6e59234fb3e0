"""No call costs more than the same call on Lilypad's contracts. The table is in contracts_abi/README.md."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.unit.contracts.compiled import compiled
from tests.unit.contracts.evm import ABI_DIRECTORY, Contract, Evm, account
from tests.unit.contracts.market import (
    ADMIN,
    JC,
    JOB_CREATOR_DAEMON,
    MEDIATOR,
    RP,
    STRANGER,
    TOKEN,
    Market,
    Terms,
    deploy,
    fund,
)

SHORT_ID = "j1234567-cYZxj948rSU6ks48VRVzBQ"
LONG_ID = "Qm" + "w" * 44
CID = "bafybeih5ahpgtqoefafdz7cyfg4aqb3mtqyxvn3jdzwzkldl3qowf2nlvu"
MANY = tuple(account(number) for number in range(0x40, 0x4A))


@dataclass(frozen=True, slots=True)
class Row:
    """A call, and its thousands of gas on Lilypad's contracts, for a dealId of 31 and of 46 bytes."""

    call: str
    lilypad: tuple[int | None, int | None]
    measure: Callable[[Market], int]


def fresh() -> Market:
    """A market on which nothing has happened, so that every first write is paid."""
    market = deploy(Evm())
    fund(market, JC, RP)
    return market


def deal_call(
    prepare: Callable[[Market], None], sender: bytes, function: str, *arguments: Any
) -> Callable[[Market], int]:
    def measure(market: Market) -> int:
        prepare(market)
        return market.call(sender, function, *arguments).gas_used

    return measure


def ruling(function: str) -> Callable[[Market], int]:
    def measure(market: Market) -> int:
        market.checked()
        return market.rule(MEDIATOR, function).gas_used

    return measure


def late(prepare: Callable[[Market], None]) -> Callable[[Market], None]:
    def prepared(market: Market) -> None:
        prepare(market)
        market.evm.pass_time(3601)

    return prepared


def agreement(party: bytes, *, second: bool = False, **changes: Any) -> Callable[[Market], int]:
    def measure(market: Market) -> int:
        if second:
            market.agree(RP if party == JC else JC, **changes)
        return market.agree(party, **changes).gas_used

    return measure


def more_mediators(*, second: bool) -> Callable[[Market], int]:
    """The mean cost of the nine mediators after the first."""

    def measure(market: Market) -> int:
        costs = []
        for mediators in (MANY[:1], MANY):
            with market.evm.undone():
                costs.append(agreement(JC, second=second, mediators=mediators)(market))
        return (costs[1] - costs[0]) // 9

    return measure


def job(*inputs: str) -> Callable[[Market], int]:
    def measure(market: Market) -> int:
        market.job_manager.send(STRANGER, "runJob", "m", (), STRANGER)
        return market.job_manager.send(JC, "runJob", "sdv-pipeline:v1.1-lilypad2", inputs, JC).gas_used

    return measure


def user_calls(*calls: tuple[Any, ...]) -> Callable[[Market], int]:
    """The cost of the last of these calls to Users."""

    def measure(market: Market) -> int:
        return [market.users.send(RP, *call).gas_used for call in calls][-1]

    return measure


def required_deposit(market: Market) -> int:
    return market.job_manager.send(JOB_CREATOR_DAEMON, "setRequiredDeposit", 2 * TOKEN).gas_used


def approval(market: Market) -> int:
    return market.token.send(STRANGER, "approve", market.payments.address, 2**256 - 1).gas_used


def results(market: Market) -> int:
    client: Contract = market.evm.deploy(ADMIN, compiled("ReenteringWallet"))
    call = market.job_manager.data("runJob", "m", (), JC)
    client.send(JC, "forward", market.job_manager.address, call)
    arguments = (1, SHORT_ID, CID)
    return market.job_manager.send(JOB_CREATOR_DAEMON, "submitResults", *arguments).gas_used


def whole_deal(first: bytes, second: bytes, *payers: bytes) -> Callable[[Market], int]:
    """What these parties pay from the first agreement to acceptance."""

    def measure(market: Market) -> int:
        costs = [(party, market.agree(party).gas_used) for party in (first, second)]
        costs.append((RP, market.call(RP, "addResult", "", CID, 1).gas_used))
        costs.append((JC, market.call(JC, "acceptResult").gas_used))
        return sum(cost for party, cost in costs if party in payers)

    return measure


FREE = {"submit_collateral": 0, "judge_collateral": 0}
PROMPT = "Prompt=" + "p" * 53
SETTINGS = tuple(f"Setting{number}=1234567" for number in range(10))
URL = "https://n.example/api/v1/x"
UPDATE = ("updateUser", "", URL, (2,))

ROWS = [
    Row("runJob, 1 short input", (184, None), job("Seed=42")),
    Row("runJob, 5 inputs", (331, None), job(PROMPT, *SETTINGS[:4])),
    Row("runJob, 11 inputs", (485, None), job(PROMPT, *SETTINGS)),
    Row("runJob, prompt of 1 000 characters", (921, None), job("Prompt=" + "p" * 993)),
    Row("agree, provider first", (609, 765), agreement(RP)),
    Row("agree, provider first, zero collaterals", (541, None), agreement(RP, **FREE)),
    Row("agree, job creator second", (292, 300), agreement(JC, second=True)),
    Row("agree, job creator first", (619, 755), agreement(JC)),
    Row("agree, provider second", (281, 306), agreement(RP, second=True)),
    Row("agree first, each further mediator", (24, None), more_mediators(second=False)),
    Row("agree second, each further mediator", (5, None), more_mediators(second=True)),
    Row("agree, job creator first, 10 mediators", (849, None), agreement(JC, mediators=MANY)),
    Row("addResult", (317, 369), deal_call(Market.agreed, RP, "addResult", "", CID, 1)),
    Row(
        "addResult, resultsId of 46 bytes",
        (383, 435),
        deal_call(Market.agreed, RP, "addResult", "r" * 46, CID, 1),
    ),
    Row("acceptResult", (210, 218), deal_call(Market.submitted, JC, "acceptResult")),
    Row("checkResult", (220, 227), deal_call(Market.submitted, JC, "checkResult")),
    Row("mediationAcceptResult", (241, 235), ruling("mediationAcceptResult")),
    Row("mediationRejectResult", (229, 222), ruling("mediationRejectResult")),
    Row(
        "timeoutAgree, provider had agreed",
        (215, 221),
        deal_call(late(lambda market: market.negotiated(RP)), RP, "timeoutAgree"),
    ),
    Row(
        "timeoutAgree, job creator had agreed",
        (225, 232),
        deal_call(late(lambda market: market.negotiated(JC)), JC, "timeoutAgree"),
    ),
    Row("timeoutSubmitResult", (None, None), deal_call(late(Market.agreed), JC, "timeoutSubmitResult")),
    Row("timeoutJudgeResult", (None, None), deal_call(late(Market.submitted), RP, "timeoutJudgeResult")),
    Row(
        "timeoutMediateResult, next mediator",
        (235, 242),
        deal_call(late(lambda market: market.checked(mediators=MANY)), RP, "timeoutMediateResult"),
    ),
    Row(
        "timeoutMediateResult, list used up",
        (235, 242),
        deal_call(late(Market.checked), RP, "timeoutMediateResult"),
    ),
    Row("whole deal", (1460, None), whole_deal(RP, JC, RP, JC)),
    Row("whole deal, provider's part when it is first", (950, None), whole_deal(RP, JC, RP)),
    Row("whole deal, provider's part when it is second", (600, None), whole_deal(JC, RP, RP)),
    Row("updateUser, first, url of 26 bytes", (111, None), user_calls(UPDATE)),
    Row(
        "updateUser, first, with a CID of 46 bytes",
        (176, None),
        user_calls(("updateUser", "c" * 46, URL, (2,))),
    ),
    Row("updateUser, again", (77, None), user_calls(UPDATE, UPDATE)),
    Row("addUserToList", (74, None), user_calls(UPDATE, ("addUserToList", 2))),
    Row(
        "removeUserFromList",
        (28, None),
        user_calls(UPDATE, ("addUserToList", 2), ("removeUserFromList", 2)),
    ),
    Row("approve", (47, None), approval),
    Row("setRequiredDeposit", (46, None), required_deposit),
    Row("submitResults", (63, None), results),
]


@pytest.fixture(scope="module")
def fresh_market() -> Market:
    return fresh()


@pytest.fixture(scope="module")
def measured(fresh_market: Market) -> dict[str, list[int]]:
    costs: dict[str, list[int]] = {}
    for row in ROWS:
        costs[row.call] = []
        for deal_id in (SHORT_ID, LONG_ID):
            with fresh_market.evm.undone():
                fresh_market.terms = Terms(deal_id=deal_id)
                costs[row.call].append(row.measure(fresh_market))
    return costs


def table(measured: dict[str, list[int]]) -> Iterator[str]:
    """The measured gas beside Lilypad's, in thousands, as the lines of a Markdown table."""
    yield "| Call | 31 B | Lilypad, 31 B | 46 B | Lilypad, 46 B |"
    yield "|---|---|---|---|---|"
    for row in ROWS:
        short, long = (f"{cost / 1000:.1f}" for cost in measured[row.call])
        lilypad_short, lilypad_long = ("" if cost is None else str(cost) for cost in row.lilypad)
        if row.lilypad[1] is None and row.lilypad[0] is not None:
            long = ""
        yield f"| {row.call} | {short} | {lilypad_short} | {long} | {lilypad_long} |"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.call)
def test_a_call_costs_no_more_than_on_lilypads_contracts(row: Row, measured: dict[str, list[int]]) -> None:
    for cost, limit in zip(measured[row.call], row.lilypad, strict=True):
        if limit is not None:
            assert cost <= 1000 * limit


def test_the_gas_table_of_the_readme_is_what_was_measured(measured: dict[str, list[int]]) -> None:
    lines = list(table(measured))
    sys.stdout.write("\n".join(lines))
    assert "\n".join(lines) in (ABI_DIRECTORY / "README.md").read_text()

"""Announcing jobs: ids, the required deposit, bounds, and reporting results to client contracts."""

import pytest

from tests.unit.contracts.compiled import compiled
from tests.unit.contracts.evm import refused
from tests.unit.contracts.market import (
    ADMIN,
    JC,
    JOB_CREATOR_DAEMON,
    RP,
    STRANGER,
    TOKEN,
    ZERO,
    Market,
    named,
)

MODULE = "sdv-pipeline:v1.1-lilypad2"
INPUTS = ("Prompt=a fox in the snow", "Seed=42")


def hexed(address: bytes) -> str:
    return "0x" + address.hex()


def test_a_job_is_announced_with_the_next_number(market: Market) -> None:
    for number in (1, 2):
        outcome = market.job_manager.send(JC, "runJob", MODULE, INPUTS, JC)
        assert outcome.returned == number
        assert named(outcome.events, "JobAdded") == [(number, hexed(JC), hexed(JC), MODULE, INPUTS)]
    assert market.job_manager.read("nextJobID") == 2


def test_a_job_needs_an_allowance_only_where_a_deposit_is_required(market: Market) -> None:
    assert market.job_manager.read("getRequiredDeposit") == 0
    with refused("ControllerOwnable: Only the controller can call this method"):
        market.job_manager.send(ADMIN, "setRequiredDeposit", TOKEN)
    with refused("Min deposit"):
        market.job_manager.send(JOB_CREATOR_DAEMON, "setRequiredDeposit", 0)
    market.job_manager.send(JOB_CREATOR_DAEMON, "setRequiredDeposit", 2 * TOKEN)
    market.token.send(JC, "approve", JOB_CREATOR_DAEMON, 2 * TOKEN - 1)
    with refused("Token allowance not enough"):
        market.job_manager.send(JC, "runJob", MODULE, INPUTS, JC)
    market.token.send(JC, "approve", JOB_CREATOR_DAEMON, 2 * TOKEN)
    market.job_manager.send(JC, "runJob", MODULE, INPUTS, JC)
    assert market.token.read("allowance", JC, JOB_CREATOR_DAEMON) == 2 * TOKEN


def test_the_largest_job_is_carried_whole(market: Market) -> None:
    inputs = tuple(f"{number:02d}=" + "x" * 2045 for number in range(32))
    outcome = market.job_manager.send(JC, "runJob", "m" * 128, inputs, JC)
    assert named(outcome.events, "JobAdded") == [(1, hexed(JC), hexed(JC), "m" * 128, inputs)]


@pytest.mark.parametrize(
    ("module", "inputs"), [("m" * 129, ()), (MODULE, ("x" * 2049,)), (MODULE, ("x",) * 33)]
)
def test_a_job_beyond_its_bounds_is_refused(market: Market, module: str, inputs: tuple[str, ...]) -> None:
    with refused(""):
        market.job_manager.send(JC, "runJob", module, inputs, JC)
    assert market.job_manager.read("nextJobID") == 0


def test_results_are_reported_to_the_contract_that_asked(market: Market) -> None:
    client = market.evm.deploy(STRANGER, compiled("ReenteringWallet"))
    call = market.job_manager.data("runJob", MODULE, INPUTS, JC)
    client.send(STRANGER, "forward", market.job_manager.address, call)
    with refused("ControllerOwnable: Only the controller can call this method"):
        market.job_manager.send(STRANGER, "submitResults", 1, "deal", "bafyresult")
    with refused("Job not found"):
        market.job_manager.send(JOB_CREATOR_DAEMON, "submitResults", 2, "deal", "bafyresult")
    market.job_manager.send(JOB_CREATOR_DAEMON, "submitResults", 1, "deal", "bafyresult")
    assert client.read("attempts") == 1


def test_an_account_without_code_cannot_be_reported_to(market: Market) -> None:
    market.job_manager.send(JC, "runJob", MODULE, INPUTS, JC)
    with refused(""):
        market.job_manager.send(JOB_CREATOR_DAEMON, "submitResults", 1, "deal", "bafyresult")


def test_the_owner_names_the_account_that_reports(market: Market) -> None:
    with refused("Ownable: caller is not the owner"):
        market.job_manager.send(STRANGER, "setControllerAddress", STRANGER)
    with refused("ControllerOwnable: Controller address must be defined"):
        market.job_manager.send(ADMIN, "setControllerAddress", ZERO)
    market.job_manager.send(ADMIN, "setControllerAddress", RP)
    assert market.job_manager.read("getControllerAddress") == hexed(RP)
    assert market.job_manager.read("getTokenAddress") == hexed(market.token.address)

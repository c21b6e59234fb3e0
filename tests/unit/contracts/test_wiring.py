"""Nobody but the Controller moves a deal, nobody but the mediator rules, and nobody rewires a live market."""

import pytest

from tests.unit.contracts.evm import Evm, account, artefact, refused
from tests.unit.contracts.market import (
    ADMIN,
    JC,
    JOB_CREATOR_DAEMON,
    MEDIATOR,
    RP,
    SECOND_MEDIATOR,
    STRANGER,
    THIRD_MEDIATOR,
    TOKEN,
    ZERO,
    Market,
    Terms,
    deploy,
)

ID = Terms().deal_id
INNER_CALLS = [
    ("storage", "agree", (*Terms().arguments, RP)),
    ("storage", "addResult", (ID, "", "", 1)),
    ("storage", "checkResult", (ID,)),
    ("storage", "end", (ID, 3)),
    ("payments", "agreeResourceProvider", (ID, RP, 1)),
    ("payments", "agreeJobCreator", (ID, JC, 1, 1)),
    ("payments", "addResult", (ID, RP, 1, 1)),
    ("payments", "acceptResult", (ID, RP, JC, 1, 1, 1, 1)),
    ("payments", "checkResult", (ID, JC, 1, 1)),
    ("payments", "mediationAcceptResult", (ID, RP, JC, MEDIATOR, 1, 1, 1, 1)),
    ("payments", "mediationRejectResult", (ID, RP, JC, MEDIATOR, 1, 1, 1)),
    ("payments", "timeoutAgreeResourceProvider", (ID, RP, 1)),
    ("payments", "timeoutAgreeJobCreator", (ID, JC, 1, 1)),
    ("payments", "timeoutSubmitResult", (ID, RP, JC, 1, 1, 1)),
    ("payments", "timeoutJudgeResult", (ID, RP, JC, 1, 1, 1, 1)),
    ("payments", "timeoutMediateResult", (ID, RP, JC, 1, 1, 1, 1)),
    ("mediation", "mediationRequest", (ID, (STRANGER,))),
]
CALLERS = [ADMIN, JC, RP, MEDIATOR, STRANGER, JOB_CREATOR_DAEMON]
OPEN_TO_ALL = {
    "payments": {"withdraw"},
    "storage": set(),
    "mediation": {"mediationAcceptResult", "mediationRejectResult"},
}
OWNER_CALLS = {"initialize", "setControllerAddress", "transferOwnership", "renounceOwnership"}


@pytest.mark.parametrize(("contract", "function", "arguments"), INNER_CALLS)
def test_inner_contracts_accept_calls_from_the_controller_alone(
    market: Market, contract: str, function: str, arguments: tuple
) -> None:
    market.agreed()
    for caller in CALLERS:
        with refused("ControllerOwnable: Only the controller can call this method"):
            getattr(market, contract).send(caller, function, *arguments)


def test_every_call_that_changes_an_inner_contract_is_covered_above() -> None:
    names = {"storage": "Storage", "payments": "Payments", "mediation": "MediationRandom"}
    for contract, open_calls in OPEN_TO_ALL.items():
        changing = {
            entry["name"]
            for entry in artefact(names[contract])["abi"]
            if entry["type"] == "function" and entry["stateMutability"] in ("nonpayable", "payable")
        }
        covered = {function for name, function, _ in INNER_CALLS if name == contract}
        assert changing == covered | open_calls | OWNER_CALLS


def test_an_unfinished_deployment_says_what_is_missing(evm: Evm) -> None:
    storage = evm.deploy(ADMIN, artefact("Storage"))
    with refused("ControllerOwnable: Controller address must be defined"):
        storage.send(STRANGER, "end", ID, 3)


@pytest.fixture
def evm() -> Evm:
    return Evm()


@pytest.mark.parametrize(
    "contract", ["storage", "payments", "mediation", "job_manager", "users", "controller"]
)
def test_a_contract_is_initialised_once_and_by_its_owner(market: Market, contract: str) -> None:
    arguments = {"payments": (market.token.address,), "job_manager": (market.token.address,)}
    arguments["controller"] = tuple(account(number) for number in range(1, 7))
    initialise = getattr(market, contract)
    with refused("Ownable: caller is not the owner"):
        initialise.send(STRANGER, "initialize", *arguments.get(contract, ()))
    with refused("Initializable: contract is already initialized"):
        initialise.send(ADMIN, "initialize", *arguments.get(contract, ()))


def test_nobody_initialises_somebody_elses_deployment(evm: Evm) -> None:
    token = evm.deploy(ADMIN, artefact("Token"), "Lilypad Token", "LP", 1)
    payments = evm.deploy(ADMIN, artefact("Payments"))
    with refused("Ownable: caller is not the owner"):
        payments.send(STRANGER, "initialize", token.address)
    with refused("Token address must be a contract"):
        payments.send(ADMIN, "initialize", STRANGER)


@pytest.mark.parametrize("missing", range(6))
def test_the_controller_wants_every_address(evm: Evm, missing: int) -> None:
    controller = evm.deploy(ADMIN, artefact("Controller"))
    addresses = [account(number) for number in range(1, 7)]
    addresses[missing] = ZERO
    name = ("Storage", "Users", "Payments", "Mediation", "Job creator", "Pow")[missing]
    with refused(f"{name} address must be defined"):
        controller.send(ADMIN, "initialize", *addresses)


@pytest.mark.parametrize("contract", ["storage", "payments", "mediation"])
def test_the_owner_cannot_replace_the_controller_of_a_live_market(market: Market, contract: str) -> None:
    with refused("ControllerOwnable: Controller address is fixed"):
        getattr(market, contract).send(ADMIN, "setControllerAddress", ADMIN)
    with refused("Ownable: caller is not the owner"):
        getattr(market, contract).send(STRANGER, "setControllerAddress", STRANGER)


def test_the_controller_has_no_call_that_replaces_a_contract() -> None:
    changing = {
        entry["name"]
        for entry in artefact("Controller")["abi"]
        if entry["type"] == "function" and entry["stateMutability"] not in ("view", "pure")
    }
    assert changing == {
        *("agree", "addResult", "acceptResult", "checkResult"),
        *("mediationAcceptResult", "mediationRejectResult"),
        *("timeoutAgree", "timeoutSubmitResult", "timeoutJudgeResult", "timeoutMediateResult"),
        *("initialize", "transferOwnership", "renounceOwnership"),
    }


def test_ownership_moves_and_ends(market: Market) -> None:
    with refused("Ownable: caller is not the owner"):
        market.payments.send(STRANGER, "transferOwnership", STRANGER)
    with refused("Ownable: new owner is the zero address"):
        market.payments.send(ADMIN, "transferOwnership", ZERO)
    outcome = market.payments.send(ADMIN, "transferOwnership", STRANGER)
    assert outcome.events[0].name == "OwnershipTransferred"
    market.payments.send(STRANGER, "renounceOwnership")
    assert market.payments.read("owner") == "0x" + "0" * 40


def test_a_new_owner_does_not_receive_slashed_collateral(market: Market) -> None:
    market.payments.send(ADMIN, "transferOwnership", STRANGER)
    market.checked()
    before = market.balance(ADMIN), market.balance(STRANGER)
    market.rule(MEDIATOR, "mediationRejectResult")
    assert (market.balance(ADMIN), market.balance(STRANGER)) == (before[0] + 2 * TOKEN, before[1])


def test_the_getters_name_what_was_wired(market: Market) -> None:
    wired = {
        "getStorageAddress": market.storage,
        "getUsersAddress": market.users,
        "getPaymentsAddress": market.payments,
        "getMediationAddress": market.mediation,
        "getJobCreatorAddress": market.job_manager,
    }
    for getter, contract in wired.items():
        assert market.controller.read(getter) == "0x" + contract.address.hex()
    assert market.controller.read("getPowAddress") == "0x" + account(0x99).hex()
    assert market.payments.read("getTokenAddress") == "0x" + market.token.address.hex()
    assert market.payments.read("getSlashRecipient") == "0x" + ADMIN.hex()
    for contract in (market.storage, market.payments, market.mediation):
        assert contract.read("getControllerAddress") == "0x" + market.controller.address.hex()


@pytest.mark.parametrize(
    ("state", "function", "allowed", "reason"),
    [
        (1, "addResult", RP, "Only RP"),
        (2, "acceptResult", JC, "Only JC"),
        (2, "checkResult", JC, "Only JC"),
    ],
)
def test_a_step_belongs_to_one_party(
    market: Market, state: int, function: str, allowed: bytes, reason: str
) -> None:
    market.agreed() if state == 1 else market.submitted()
    arguments = ("", "bafyresult", 1) if function == "addResult" else ()
    for caller in (ADMIN, JC, RP, MEDIATOR, STRANGER):
        if caller != allowed:
            with refused(reason):
                market.call(caller, function, *arguments)
    market.call(allowed, function, *arguments)


@pytest.mark.parametrize("ruling", ["mediationAcceptResult", "mediationRejectResult"])
def test_only_the_drawn_mediator_rules_and_only_through_mediation(market: Market, ruling: str) -> None:
    market.submitted(mediators=(MEDIATOR, SECOND_MEDIATOR, THIRD_MEDIATOR))
    with refused("mediator cannot be 0x0"):
        market.rule(MEDIATOR, ruling)
    market.call(JC, "checkResult")
    drawn = market.drawn()
    for caller in (ADMIN, JC, RP, STRANGER, MEDIATOR, SECOND_MEDIATOR, THIRD_MEDIATOR):
        with refused("Only mediation"):
            market.call(caller, ruling)
        if caller != drawn:
            with refused("msg.sender must be the mediator"):
                market.rule(caller, ruling)
    market.rule(drawn, ruling)
    assert market.state() in (5, 6)


def test_every_listed_mediator_can_be_drawn(market: Market) -> None:
    listed = (MEDIATOR, SECOND_MEDIATOR, THIRD_MEDIATOR)
    market.submitted(mediators=listed)
    drawn = set()
    for _ in range(40):
        with market.evm.undone():
            market.call(JC, "checkResult")
            drawn.add(market.drawn())
        market.evm.pass_time(1)
    assert drawn == set(listed)


def test_two_deployments_do_not_share_deals(evm: Evm) -> None:
    first, second = deploy(evm), deploy(evm)
    assert first.controller.address != second.controller.address
    first.negotiated(submit_collateral=0)
    assert first.storage.read("hasDeal", ID)
    assert not second.storage.read("hasDeal", ID)

"""A token that misbehaves corrupts no account and stops nobody's settlement but its own payee's."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.contracts.compiled import compiled
from tests.unit.contracts.evm import Contract, Evm, Reverted, refused
from tests.unit.contracts.market import (
    ADMIN,
    JC,
    MEDIATOR,
    RP,
    STRANGER,
    SUPPLY,
    TOKEN,
    Market,
    Terms,
    deploy,
    fund,
    named,
)

GOOD, ANSWERS_FALSE, REVERTS, KEEPS_A_PART, ANSWERS_NOTHING, TELLS_RECEIVERS, ANSWERS_TWO = range(7)
START = 100 * TOKEN


def unreliable_token() -> dict[str, Any]:
    """The token, without the return type of transfers: what they really answer is its mood."""
    token = compiled("UnreliableToken")
    abi = [
        {**entry, "outputs": []} if entry.get("name", "").startswith("transfer") else entry
        for entry in token["abi"]
    ]
    return {"abi": abi, "bytecode": token["bytecode"]}


@pytest.fixture(scope="module")
def unreliable_market() -> Market:
    evm = Evm()
    market = deploy(evm, evm.deploy(ADMIN, unreliable_token(), SUPPLY))
    fund(market, JC, RP, MEDIATOR)
    return market


@pytest.fixture
def market(unreliable_market: Market) -> Iterator[Market]:
    with unreliable_market.evm.undone():
        unreliable_market.terms = Terms()
        yield unreliable_market


def set_mood(market: Market, mood: int) -> None:
    market.token.send(ADMIN, "setMood", mood)


def credit(market: Market, payee: bytes) -> int:
    return int(market.payments.read("getCredit", payee))


def held(market: Market) -> int:
    return market.balance(market.payments.address)


def test_a_token_that_answers_nothing_works(market: Market) -> None:
    set_mood(market, ANSWERS_NOTHING)
    market.submitted()
    market.call(JC, "acceptResult")
    assert (market.balance(RP), market.balance(JC), held(market)) == (START + TOKEN, START - TOKEN, 0)


@pytest.mark.parametrize("mood", [ANSWERS_FALSE, REVERTS, KEEPS_A_PART, ANSWERS_TWO])
@pytest.mark.parametrize("party", [RP, JC])
def test_nothing_is_locked_by_a_transfer_that_did_not_fully_happen(
    market: Market, party: bytes, mood: int
) -> None:
    set_mood(market, mood)
    with refused("LilypadPayments: Transfer failed"):
        market.agree(party)
    assert (market.escrow(), held(market), market.balance(party)) == (0, 0, START)
    assert not market.storage.read("hasDeal", market.terms.deal_id)


@pytest.mark.parametrize("mood", [ANSWERS_FALSE, REVERTS])
def test_a_refused_payment_is_credited_and_paid_out_later(market: Market, mood: int) -> None:
    market.submitted()
    set_mood(market, mood)
    outcome = market.call(JC, "acceptResult")
    assert (market.state(), market.escrow()) == (3, 0)
    assert (credit(market, RP), credit(market, JC), held(market)) == (3 * TOKEN, 2 * TOKEN, 5 * TOKEN)
    assert sum(amount for _, amount in named(outcome.events, "Credited")) == 5 * TOKEN
    with refused("LilypadPayments: Transfer failed"):
        market.payments.send(RP, "withdraw", RP)
    assert credit(market, RP) == 3 * TOKEN
    set_mood(market, GOOD)
    for payee in (RP, JC):
        market.payments.send(STRANGER, "withdraw", payee)
        with refused("LilypadPayments: Nothing to withdraw"):
            market.payments.send(payee, "withdraw", payee)
    assert (market.balance(RP), market.balance(JC), held(market)) == (START + TOKEN, START - TOKEN, 0)


@pytest.mark.parametrize("blocked", [RP, JC, MEDIATOR, ADMIN])
def test_an_account_that_the_token_blocks_cannot_stop_a_ruling(market: Market, blocked: bytes) -> None:
    market.checked()
    owner_before = market.balance(ADMIN)
    market.token.send(ADMIN, "setBlocked", blocked, True)
    market.rule(MEDIATOR, "mediationRejectResult")
    assert (market.state(), market.escrow()) == (6, 0)
    before = {RP: START - 2 * TOKEN, JC: START - 3 * TOKEN, MEDIATOR: START, ADMIN: owner_before}
    due = {RP: 0, JC: 2 * TOKEN, MEDIATOR: TOKEN, ADMIN: 2 * TOKEN}
    for payee, amount in due.items():
        received = 0 if payee == blocked else amount
        assert market.balance(payee) - before[payee] == received
        assert credit(market, payee) == amount - received
    assert held(market) == due[blocked]


def test_a_credit_cannot_be_spent_on_another_deal(market: Market) -> None:
    market.submitted()
    set_mood(market, REVERTS)
    market.call(JC, "acceptResult")
    set_mood(market, GOOD)
    market.agreed(deal_id="second")
    market.payments.send(RP, "withdraw", RP)
    assert (market.escrow("second"), held(market)) == (4 * TOKEN, 4 * TOKEN + credit(market, JC))


def test_credits_add_up(market: Market) -> None:
    for deal_id in ("first", "second"):
        set_mood(market, GOOD)
        market.submitted(deal_id=deal_id)
        set_mood(market, REVERTS)
        market.call(JC, "acceptResult")
    assert (credit(market, RP), credit(market, JC)) == (6 * TOKEN, 4 * TOKEN)
    set_mood(market, GOOD)
    market.payments.send(RP, "withdraw", RP)
    assert (market.balance(RP), held(market)) == (START + 2 * TOKEN, 4 * TOKEN)


def wallet_party(market: Market) -> Contract:
    """Make a contract the job creator of the market's deal, with tokens."""
    wallet = market.evm.deploy(STRANGER, compiled("ReenteringWallet"))
    market.token.send(ADMIN, "transfer", wallet.address, START)
    forward(market, wallet, market.token, "approve", market.payments.address, 2**256 - 1)
    market.terms = Terms(job_creator=wallet.address)
    return wallet


def forward(market: Market, wallet: Contract, contract: Contract, function: str, *arguments: object) -> None:
    wallet.send(STRANGER, "forward", contract.address, contract.data(function, *arguments))


def test_a_contract_can_be_a_party(market: Market) -> None:
    wallet = wallet_party(market)
    forward(market, wallet, market.controller, "agree", *market.terms.arguments)
    market.agree(RP)
    market.call(RP, "addResult", "", "bafyresult", 1)
    forward(market, wallet, market.controller, "acceptResult", market.terms.deal_id)
    assert (market.state(), market.balance(wallet.address)) == (3, START - TOKEN)


REENTRIES = ["agree", "acceptResult", "checkResult", "timeoutJudgeResult", "timeoutAgree", "withdraw"]


@pytest.mark.parametrize("function", REENTRIES)
@pytest.mark.parametrize("during", ["acceptResult", "checkResult"])
def test_a_party_that_calls_back_while_it_is_paid_gets_nothing_more(
    market: Market, during: str, function: str
) -> None:
    wallet = wallet_party(market)
    forward(market, wallet, market.controller, "agree", *market.terms.arguments)
    market.agree(RP)
    market.call(RP, "addResult", "", "bafyresult", 1)
    # A stranger's deal stands beside it, whose money must stay where it is.
    other = Terms(deal_id="other", mediators=(STRANGER,))
    market.controller.send(JC, "agree", *other.arguments)
    set_mood(market, TELLS_RECEIVERS)
    if function == "withdraw":
        attempt = (market.payments.address, market.payments.data("withdraw", wallet.address))
    elif function == "agree":
        own = Terms(deal_id="own", job_creator=wallet.address)
        attempt = (market.controller.address, market.controller.data("agree", *own.arguments))
    else:
        attempt = (market.controller.address, market.controller.data(function, market.terms.deal_id))
    wallet.send(STRANGER, "prepare", *attempt)
    forward(market, wallet, market.controller, during, market.terms.deal_id)
    assert (wallet.read("attempts"), wallet.read("successes")) == (1, 0)
    if during == "acceptResult":
        assert (market.state(), market.escrow()) == (3, 0)
        assert market.balance(wallet.address) == START - TOKEN
    else:
        assert (market.state(), market.escrow()) == (4, 5 * TOKEN)
        assert market.balance(wallet.address) == START - 3 * TOKEN
    assert held(market) == market.escrow() + market.escrow("other")


def test_a_party_that_calls_back_while_it_withdraws_is_paid_once(market: Market) -> None:
    wallet = wallet_party(market)
    forward(market, wallet, market.controller, "agree", *market.terms.arguments)
    market.evm.pass_time(3601)
    set_mood(market, REVERTS)
    market.call(RP, "timeoutAgree")
    assert credit(market, wallet.address) == 3 * TOKEN
    set_mood(market, TELLS_RECEIVERS)
    attempt = market.payments.data("withdraw", wallet.address)
    wallet.send(STRANGER, "prepare", market.payments.address, attempt)
    market.payments.send(STRANGER, "withdraw", wallet.address)
    assert (wallet.read("attempts"), wallet.read("successes")) == (1, 0)
    assert (market.balance(wallet.address), held(market)) == (START, 0)


def test_little_gas_cannot_turn_a_payment_into_a_credit(market: Market) -> None:
    market.submitted()
    data = market.controller.data("acceptResult", market.terms.deal_id)
    outcomes = set()
    for gas in range(60_000, 260_000, 2_000):
        with market.evm.undone():
            try:
                market.evm.execute(JC, market.controller.address, data, gas=gas)
            except Reverted:
                outcomes.add("reverted")
                assert market.state() == 2
            else:
                outcomes.add("settled")
                assert (credit(market, RP), credit(market, JC)) == (0, 0)
    assert outcomes == {"reverted", "settled"}

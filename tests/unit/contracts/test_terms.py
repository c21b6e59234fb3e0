"""What a deal may say: refusals in Lilypad's words, both sides on the same terms, every number bounded."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.contracts.evm import account, refused
from tests.unit.contracts.market import (
    JC,
    MEDIATOR,
    RP,
    SECOND_MEDIATOR,
    STRANGER,
    TOKEN,
    ZERO,
    Market,
    Terms,
)

YEAR = 365 * 86400
REFUSED = [
    ({"resource_provider": ZERO}, "RP missing"),
    ({"job_creator": ZERO}, "JC missing"),
    ({"solver": ZERO}, "Solver missing"),
    ({"mediators": ()}, "Mediators <= 0"),
    ({"job_creator": RP}, "RP / JC same"),
    ({"mediators": (ZERO,)}, "Mediator missing"),
    ({"mediators": (MEDIATOR, RP)}, "Mediator is RP"),
    ({"mediators": (JC, MEDIATOR)}, "Mediator is JC"),
    ({"mediators": (MEDIATOR, SECOND_MEDIATOR, MEDIATOR)}, "Mediator twice"),
    ({"other_collaterals": (1, 0)}, "Agree deposit must be 0"),
    ({"other_collaterals": (0, 1)}, "Mediate deposit must be 0"),
    ({"timeouts": (YEAR + 1, 1, 1, 1)}, "Timeout too long"),
    ({"timeouts": (1, 2**256 - 1, 1, 1)}, "Timeout too long"),
    ({"timeouts": (1, 1, YEAR + 1, 1)}, "Timeout too long"),
    ({"timeouts": (1, 1, 1, 2**64)}, "Timeout too long"),
    ({"submit_collateral": 2**128}, "Amount too large"),
    ({"judge_collateral": 2**256 - 1}, "Amount too large"),
    ({"price": 2**128}, "Amount too large"),
    ({"payment_collateral": 2**128}, "Amount too large"),
    ({"fee": 2**128}, "Amount too large"),
    ({"multiple": 2**64}, "Multiple too large"),
    ({"deal_id": ""}, "Deal does not exist"),
]

DIFFERENT = [
    ({"resource_provider": STRANGER}, "RP"),
    ({"job_creator": STRANGER}, "JC"),
    ({"solver": STRANGER}, "Solver"),
    ({"mediators": (MEDIATOR, SECOND_MEDIATOR)}, "Mediators"),
    ({"mediators": (SECOND_MEDIATOR,)}, "Mediator"),
    ({"timeouts": (3601, 3600, 3600, 3600)}, "Timeout"),
    ({"timeouts": (3600, 3601, 3600, 3600)}, "Timeout"),
    ({"timeouts": (3600, 3600, 3601, 3600)}, "Timeout"),
    ({"timeouts": (3600, 3600, 3600, 3601)}, "Timeout"),
    ({"submit_collateral": TOKEN + 1}, "Collateral"),
    ({"judge_collateral": TOKEN + 1}, "Collateral"),
    ({"price": TOKEN + 1}, "Price"),
    ({"payment_collateral": TOKEN}, "Payment"),
    ({"multiple": 3}, "Results"),
    ({"fee": 2 * TOKEN}, "Mediation"),
]


@pytest.mark.parametrize(("changes", "reason"), REFUSED)
def test_terms_that_cannot_be_are_refused(market: Market, changes: dict[str, Any], reason: str) -> None:
    with refused(reason):
        market.agree(RP, **changes)
    assert not market.storage.read("hasDeal", changes.get("deal_id", market.terms.deal_id))


@pytest.mark.parametrize(("changes", "reason"), DIFFERENT)
@pytest.mark.parametrize(("first", "second"), [(RP, JC), (JC, RP)])
def test_the_second_side_must_agree_to_the_same_terms(
    market: Market, first: bytes, second: bytes, changes: dict[str, Any], reason: str
) -> None:
    market.agree(first)
    with refused(reason):
        market.agree(second, **changes)
    assert market.state() == 0


def test_the_deal_reads_back_as_it_was_agreed(market: Market) -> None:
    terms = Terms(
        deal_id="d" * 64,
        mediators=tuple(account(number) for number in range(0x40, 0x4A)),
        timeouts=(1, YEAR, 3, 4),
        submit_collateral=11,
        judge_collateral=2**64 + 5,
        price=2**128 - 1,
        payment_collateral=13,
        multiple=2**64 - 1,
        fee=2**128 - 1,
    )
    market.negotiated(JC, **{field: getattr(terms, field) for field in terms.__slots__})
    deal_id, members, timeouts, pricing = market.storage.read("getDeal", terms.deal_id)
    solver, job_creator, resource_provider, mediators = members
    as_bytes = [
        bytes.fromhex(address[2:]) for address in (solver, job_creator, resource_provider, *mediators)
    ]
    assert as_bytes == [terms.solver, JC, RP, *terms.mediators]
    assert (deal_id, timeouts, pricing) == (terms.deal_id, terms.arguments[2], terms.arguments[3])


def test_an_unknown_deal_reads_as_nothing(market: Market) -> None:
    nothing = ("0x" + "0" * 40,) * 3
    assert market.storage.read("getDeal", "unknown") == (
        "",
        (*nothing, ()),
        ((0, 0),) * 4,
        (0, 0, 0, 0),
    )
    assert market.storage.read("getResult", "unknown") == ("", "", "", 0)
    assert market.storage.read("getAgreement", "unknown") == (0,) * 14
    assert market.storage.read("isState", "unknown", 0)
    assert not market.storage.read("isState", "unknown", 1)


@pytest.mark.parametrize(
    "changes",
    [{"deal_id": "d" * 65}, {"mediators": tuple(account(number) for number in range(0x40, 0x4B))}],
)
def test_strings_and_lists_beyond_their_bounds_are_refused(market: Market, changes: dict[str, Any]) -> None:
    with refused(""):
        market.agree(RP, **changes)


def test_only_the_parties_named_in_a_deal_can_make_it(market: Market) -> None:
    with refused("Only RP / JC"):
        market.agree(STRANGER)
    market.agree(RP)
    with refused("Only RP / JC"):
        market.agree(STRANGER)


def test_a_side_agrees_once(market: Market) -> None:
    market.agree(RP)
    with refused("RP has already agreed"):
        market.agree(RP)
    with market.evm.undone():
        market.agree(JC)
        with refused("DealNegotiating"):
            market.agree(RP)
    market.negotiated(JC, deal_id="other")
    with refused("JC has already agreed"):
        market.agree(JC)


@pytest.mark.parametrize(("party", "needed"), [(RP, TOKEN), (JC, 3 * TOKEN)])
def test_a_wallet_below_what_it_must_lock_is_refused(market: Market, party: bytes, needed: int) -> None:
    market.token.send(party, "transfer", STRANGER, market.balance(party) - needed + 1)
    with refused("LilypadPayments: Insufficient balance"):
        market.agree(party)
    market.token.send(STRANGER, "transfer", party, 1)
    market.agree(party)
    assert market.balance(party) == 0


def test_an_allowance_below_what_must_be_locked_is_refused(market: Market) -> None:
    market.token.send(RP, "approve", market.payments.address, TOKEN - 1)
    with refused("LilypadPayments: Insufficient allowance"):
        market.agree(RP)
    market.token.send(RP, "approve", market.payments.address, TOKEN)
    market.agree(RP)
    assert market.token.read("allowance", RP, market.payments.address) == 0


def test_the_provider_needs_its_results_collateral_before_its_timeout_collateral_comes_back(
    market: Market,
) -> None:
    market.agreed()
    market.token.send(RP, "transfer", STRANGER, market.balance(RP) - 2 * TOKEN + 1)
    with refused("LilypadPayments: Insufficient balance"):
        market.call(RP, "addResult", "", "bafyresult", 1)
    assert (market.state(), market.escrow()) == (1, 4 * TOKEN)
    market.call(RP, "addResult", "", "", 0)
    assert market.state() == 2


@pytest.mark.parametrize("count", [2**64, 2**128, 2**256 - 1])
def test_a_count_that_would_overflow_changes_nothing(market: Market, count: int) -> None:
    market.agreed(price=2**128 - 1, multiple=2**64 - 1)
    with refused("Instruction count too large"):
        market.call(RP, "addResult", "", "bafyresult", count)
    assert (market.state(), market.escrow()) == (1, 4 * TOKEN)
    assert market.storage.read("getResult", market.terms.deal_id) == ("", "", "", 0)


def test_the_largest_numbers_still_settle(market: Market) -> None:
    market.submitted(count=2**64 - 1, price=2**128 - 1, multiple=0)
    assert market.storage.read("getJobCost", market.terms.deal_id) == (2**64 - 1) * (2**128 - 1)
    market.call(JC, "acceptResult")
    assert (market.state(), market.escrow()) == (3, 0)


def test_the_largest_results_collateral_can_be_computed_though_nobody_has_it(market: Market) -> None:
    market.agreed(price=2**128 - 1, multiple=2**64 - 1)
    with refused("LilypadPayments: Insufficient balance"):
        market.call(RP, "addResult", "", "bafyresult", 2**64 - 1)


def test_result_strings_are_bounded(market: Market) -> None:
    market.agreed()
    for results_id, data_id in (("r" * 129, ""), ("", "d" * 129)):
        with refused(""):
            market.call(RP, "addResult", results_id, data_id, 1)
    market.call(RP, "addResult", "r" * 128, "d" * 128, 1)
    assert market.storage.read("getResult", market.terms.deal_id)[1:] == ("r" * 128, "d" * 128, 1)


def test_the_newest_deals_of_a_party_are_listed(market: Market) -> None:
    small = replace(market.terms, submit_collateral=0)
    for number in range(130):
        market.controller.send(RP, "agree", *replace(small, deal_id=f"deal-{number}").arguments)
    expected = tuple(f"deal-{number}" for number in range(2, 130))
    assert market.storage.read("getDealsForParty", RP) == expected
    assert market.storage.read("getDealsForParty", JC) == expected
    assert market.storage.read("getDealsForParty", STRANGER) == ()

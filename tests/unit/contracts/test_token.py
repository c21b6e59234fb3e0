"""The plain ERC-20 of development networks."""

import pytest

from tests.unit.contracts.evm import refused
from tests.unit.contracts.market import ADMIN, JC, RP, STRANGER, SUPPLY, TOKEN, ZERO, Market, named

UNLIMITED = 2**256 - 1


def test_it_says_what_it_is(market: Market) -> None:
    read = market.token.read
    assert (read("name"), read("symbol"), read("decimals")) == ("Lilypad Token", "LP", 18)
    assert read("totalSupply") == SUPPLY


def test_tokens_move_and_their_sum_stays(market: Market) -> None:
    before = market.balance(RP), market.balance(STRANGER)
    outcome = market.token.send(RP, "transfer", STRANGER, TOKEN)
    assert outcome.returned is True
    assert named(outcome.events, "Transfer") == [("0x" + RP.hex(), "0x" + STRANGER.hex(), TOKEN)]
    assert (market.balance(RP), market.balance(STRANGER)) == (before[0] - TOKEN, before[1] + TOKEN)
    market.token.send(RP, "transfer", RP, TOKEN)
    assert market.balance(RP) == before[0] - TOKEN


def test_nobody_spends_what_it_does_not_have(market: Market) -> None:
    with refused("ERC20: transfer amount exceeds balance"):
        market.token.send(RP, "transfer", STRANGER, market.balance(RP) + 1)
    with refused("ERC20: transfer to the zero address"):
        market.token.send(RP, "transfer", ZERO, 1)


def test_an_allowance_is_used_up_unless_it_is_unlimited(market: Market) -> None:
    with refused("ERC20: insufficient allowance"):
        market.token.send(STRANGER, "transferFrom", RP, STRANGER, 1)
    outcome = market.token.send(RP, "approve", STRANGER, TOKEN)
    assert named(outcome.events, "Approval") == [("0x" + RP.hex(), "0x" + STRANGER.hex(), TOKEN)]
    market.token.send(STRANGER, "transferFrom", RP, JC, TOKEN - 1)
    assert market.token.read("allowance", RP, STRANGER) == 1
    with refused("ERC20: insufficient allowance"):
        market.token.send(STRANGER, "transferFrom", RP, JC, 2)
    market.token.send(RP, "approve", STRANGER, UNLIMITED)
    market.token.send(STRANGER, "transferFrom", RP, JC, TOKEN)
    assert market.token.read("allowance", RP, STRANGER) == UNLIMITED
    with refused("ERC20: transfer amount exceeds balance"):
        market.token.send(STRANGER, "transferFrom", RP, JC, SUPPLY)


def test_nobody_has_special_rights(market: Market) -> None:
    with pytest.raises(KeyError):
        market.token.data("owner")
    assert market.balance(ADMIN) < SUPPLY

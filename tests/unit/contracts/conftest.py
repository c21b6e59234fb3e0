"""One deployed market for all tests of this folder; every test gets it as it was after deployment."""

from collections.abc import Iterator

import pytest

from tests.unit.contracts.evm import Evm
from tests.unit.contracts.market import (
    JC,
    MEDIATOR,
    RP,
    SECOND_MEDIATOR,
    STRANGER,
    THIRD_MEDIATOR,
    Market,
    Terms,
    deploy,
    fund,
)


@pytest.fixture(scope="session")
def deployed_market() -> Market:
    market = deploy(Evm())
    fund(market, JC, RP, MEDIATOR, SECOND_MEDIATOR, THIRD_MEDIATOR, STRANGER)
    return market


@pytest.fixture
def market(deployed_market: Market) -> Iterator[Market]:
    with deployed_market.evm.undone():
        deployed_market.terms = Terms()
        yield deployed_market

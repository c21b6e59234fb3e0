"""A real development market for tests: one Anvil per session, rolled back after each test."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from node.chain.client import Chain
from node.chain.contracts import MarketContracts
from node.chain.devnet import DevMarket
from tests.integration.devnets import rolled_back, running_devnet


@pytest.fixture(scope="session")
def devnet_url() -> Iterator[str]:
    """The endpoint of the session's Anvil. Tests use ``devnet``, which cleans up behind them."""
    with running_devnet() as url:
        yield url


@pytest.fixture
def fresh_devnet_url(devnet_url: str) -> Iterator[str]:
    """The same endpoint for tests of commands, which run loops of their own; rolled back after each test."""

    with asyncio.Runner() as runner:
        rolling = rolled_back(devnet_url)
        runner.run(rolling.__aenter__())
        yield devnet_url
        runner.run(rolling.__aexit__(None, None, None))


@pytest_asyncio.fixture
async def devnet(devnet_url: str) -> AsyncIterator[DevMarket]:
    """A fresh market that mines each transaction at once."""
    async with rolled_back(devnet_url) as market:
        yield market


@pytest.fixture
def chain(devnet: DevMarket) -> Chain:
    """The devnet's chain."""
    return devnet.chain


@pytest.fixture
def contracts(devnet: DevMarket) -> MarketContracts:
    """The devnet's market."""
    return devnet.contracts

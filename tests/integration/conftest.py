"""A real development market for tests: one Anvil per session, rolled back after each test."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from node.chain.client import Chain
from node.chain.contracts import MarketContracts
from node.chain.devnet import DevMarket, Devnet


@pytest.fixture(scope="session")
def devnet_url() -> Iterator[str]:
    """The endpoint of the session's Anvil. Tests use ``devnet``, which cleans up behind them."""
    with asyncio.Runner() as runner:
        anvil = Devnet(block_time_s=None)
        market = runner.run(anvil.__aenter__())
        yield market.url
        runner.run(anvil.__aexit__(None, None, None))


@pytest_asyncio.fixture
async def devnet(devnet_url: str) -> AsyncIterator[DevMarket]:
    """A fresh market that mines each transaction at once."""
    market = DevMarket(devnet_url)
    await market.open()
    snapshot = await market.rpc.call("evm_snapshot", [])
    yield market
    # Leftovers in the pool would be mined into the next test's chain.
    await market.rpc.call("anvil_dropAllTransactions", [])
    await market.rpc.call("evm_revert", [snapshot])
    await market.rpc.call("evm_setAutomine", [True])
    await market.close()


@pytest.fixture
def chain(devnet: DevMarket) -> Chain:
    """The devnet's chain."""
    return devnet.chain


@pytest.fixture
def contracts(devnet: DevMarket) -> MarketContracts:
    """The devnet's market."""
    return devnet.contracts

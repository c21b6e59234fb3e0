"""The two deployments that one code has to serve: our contracts, and ones that behave as Lilypad's do."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from node.chain.deploy import Artefacts
from node.chain.devnet import OUR_MARKET, DevMarket
from tests.chaos.harness.arena import Arena, arena
from tests.chaos.harness.nodes import Nodes, zygote
from tests.integration.contracts.compiled import LILYPAD
from tests.integration.devnets import rolled_back, running_devnet
from tests.integration.market_rules.bench import Bench
from tests.integration.market_rules.stage import Stage

DEPLOYMENTS = {"ours": OUR_MARKET, "lilypad": LILYPAD}


@dataclass(frozen=True)
class RunningDeployment:
    """A chain of the session with one of the two markets on it."""

    url: str
    name: str
    artefacts: Artefacts


@pytest.fixture(scope="session", params=DEPLOYMENTS)
def deployment(request) -> Iterator[RunningDeployment]:
    """Each of the two in turn."""
    artefacts = DEPLOYMENTS[request.param]
    with running_devnet(artefacts) as url:
        yield RunningDeployment(url, request.param, artefacts)


@pytest_asyncio.fixture
async def devnet(deployment: RunningDeployment) -> AsyncIterator[DevMarket]:
    """A fresh market that mines each transaction at once."""
    async with rolled_back(deployment.url, deployment.artefacts) as market:
        yield market


@pytest_asyncio.fixture
async def bench(devnet: DevMarket) -> Bench:
    """The parties of a deal, with money."""
    made = Bench(devnet)
    await made.open()
    return made


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def nodes() -> AsyncIterator[Nodes]:
    """Nodes that start in a fifth of a second."""
    async with zygote() as forked:
        yield forked


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=DEPLOYMENTS)
async def place(request, nodes: Nodes, tmp_path_factory) -> AsyncIterator[Arena]:
    """A chain with each deployment in turn, for tests with a real node."""
    async with arena(nodes, tmp_path_factory.mktemp("place"), DEPLOYMENTS[request.param]) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def stage(place: Arena, tmp_path) -> AsyncIterator[Stage]:
    """A fresh start of the chain, a provider that is not started yet, and a requester that does as told."""
    await place.rewind()
    made = Stage(place, tmp_path)
    yield made
    await made.close()

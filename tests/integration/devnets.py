"""Development chains for tests: each runs for many tests and is as it was after each of them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from node.chain.deploy import Artefacts
from node.chain.devnet import OUR_MARKET, DevMarket, Devnet
from tests.ports import free_port
from tests.winding import renew, wind_back


@contextmanager
def running_devnet(artefacts: Artefacts = OUR_MARKET) -> Iterator[str]:
    """Run an Anvil with these contracts that mines each transaction at once; give its endpoint."""
    with asyncio.Runner() as runner:
        anvil = Devnet(port=free_port(), block_time_s=None, artefacts=artefacts)
        market = runner.run(anvil.__aenter__())
        yield market.url
        runner.run(anvil.__aexit__(None, None, None))


@asynccontextmanager
async def rolled_back(url: str, artefacts: Artefacts = OUR_MARKET) -> AsyncIterator[DevMarket]:
    """Open the market of a running Anvil, and put its chain back to where it was."""
    market = DevMarket(url, artefacts=artefacts)
    await market.open()
    await renew(market.rpc)
    snapshot = await market.rpc.call("evm_snapshot", [])
    yield market
    await wind_back(market.rpc, snapshot)
    await market.close()

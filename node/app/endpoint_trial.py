"""A short try of RPC endpoints before they are relied on: do they answer, and for which chain?"""

import asyncio
from collections.abc import Sequence

from node.chain.endpoint import ChainIdentity, connect
from node.errors import NodeError

TRIED_S = 3.0


async def endpoint_warnings(urls: Sequence[str], chain_id: int, *, timeout_s: float = TRIED_S) -> list[str]:
    """Return a sentence for each endpoint that does not answer in time or serves another chain.

    ``chain_id`` 0 stands for any chain. Raises Misconfigured for what is no endpoint's address.
    """
    found = await asyncio.gather(*(_warning(url, chain_id, timeout_s) for url in urls))
    return [warning for warning in found if warning is not None]


async def _warning(url: str, chain_id: int, timeout_s: float) -> str | None:
    transport = connect(url, timeout_s=timeout_s, identity=ChainIdentity(chain_id), on_push=lambda: None)
    try:
        async with asyncio.timeout(timeout_s):
            await transport.call("eth_chainId", [])
    except TimeoutError:
        return f"the RPC endpoint {transport.name} has not answered within {timeout_s:g} s"
    except NodeError as problem:
        return str(problem)
    finally:
        await transport.close()
    return None

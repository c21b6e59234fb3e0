"""Check 11 with a real node: what happens in the pool to a node's calls, on both deployments."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.integration.market_rules.bench import JC, OWNER, RP
from tests.integration.market_rules.stage import MODULE, Stage

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]
GWEI = 10**9
UNANNOUNCED = {"public_url": ""}
"""A node that nobody can reach does not announce itself, so that it sends for its deals alone."""


@asynccontextmanager
async def mined_by_hand(stage: Stage) -> AsyncIterator[None]:
    """Let transactions wait in the pool until somebody mines."""
    await stage.place.market.rpc.call("evm_setAutomine", [False])
    try:
        yield
    finally:
        await stage.place.market.rpc.call("evm_setAutomine", [True])


async def mine_until(stage: Stage, *phases: str) -> None:
    """Go on mining until the job is in one of these phases."""
    reaching = asyncio.create_task(stage.reached(*phases))
    while not reaching.done():
        await stage.place.market.mine()
        await asyncio.sleep(0.02)
    await reaching


async def pool_of_ours(stage: Stage) -> dict[int, str]:
    """Return the hash of each transaction of the node's that waits, by nonce."""
    pool = await stage.place.market.rpc.call("txpool_content", [])
    found = {}
    for part in ("pending", "queued"):
        for sender, waiting in pool[part].items():
            if sender.lower() == RP:
                found |= {int(nonce): transaction["hash"] for nonce, transaction in waiting.items()}
    return found


async def pooled(stage: Stage, nonce: int, other_than: str = "") -> str:
    """Wait until a transaction of the node's waits under this nonce, and return its hash."""
    async with asyncio.timeout(30):
        while (found := (await pool_of_ours(stage)).get(nonce, other_than)) == other_than:
            await asyncio.sleep(0.01)
    return found


async def by_hand(stage: Stage, nonce: int) -> str:
    """Send a little money away with the node's key, under a nonce and for more than it pays."""
    request = {
        "from": RP,
        "to": OWNER,
        "value": "0x1",
        "nonce": hex(nonce),
        "gas": hex(21_000),
        "maxFeePerGas": hex(500 * GWEI),
        "maxPriorityFeePerGas": hex(400 * GWEI),
    }
    return str(await stage.place.market.rpc.call("eth_sendTransaction", [request]))


async def job_posted(stage: Stage) -> None:
    """Post a job and mine it, and nothing that comes after it."""
    await stage.place.send(JC, stage.contracts.run_job(MODULE, ("Prompt=a fox",), JC))
    await stage.place.market.mine()


async def paid(stage: Stage) -> None:
    """Bring the proposed job to its end."""
    deal = await stage.agreed()
    await stage.reached("SUBMITTED")
    await stage.bench.send(JC, stage.contracts.accept_result(deal.deal_id))
    await stage.reached("PAID")


async def test_a_call_that_nobody_mines_is_replaced_and_mined_once(stage):
    chain = stage.place.market.chain
    await stage.start(http=UNANNOUNCED, chain={"resubmit_after_s": 0.3})
    await stage.allow()
    before = await chain.nonce(RP)
    async with mined_by_hand(stage):
        await job_posted(stage)
        first = await pooled(stage, before)
        await pooled(stage, before, other_than=first)
        await mine_until(stage, "PROPOSED")
    assert await chain.receipt(first) is None
    await paid(stage)
    assert await stage.mined() == [("agree", True), ("addResult", True)]
    assert await chain.nonce(RP) == before + 2


async def test_a_call_whose_nonce_another_wallet_took_is_sent_once_under_the_next(stage):
    chain = stage.place.market.chain
    await stage.start(http=UNANNOUNCED)
    await stage.allow()
    before = await chain.nonce(RP)
    async with mined_by_hand(stage):
        await job_posted(stage)
        ours = await pooled(stage, before)
        foreign = await by_hand(stage, before)
        await mine_until(stage, "PROPOSED")
    assert await chain.receipt(ours) is None
    assert (await chain.receipt(foreign)).ok
    await paid(stage)
    assert await stage.mined() == [("agree", True), ("addResult", True)]
    assert await chain.nonce(RP) == before + 3


async def test_a_gap_below_a_call_is_filled_and_the_call_is_mined_once(stage):
    chain = stage.place.market.chain
    await stage.post()
    before = await chain.nonce(RP)
    async with mined_by_hand(stage):
        foreign = await by_hand(stage, before)
        await stage.start(http=UNANNOUNCED, chain={"resubmit_after_s": 0.3})
        await pooled(stage, before + 1)
        await stage.place.market.rpc.call("anvil_dropTransaction", [foreign])
        await mine_until(stage, "PROPOSED")
    assert await chain.receipt(foreign) is None
    await paid(stage)
    assert await stage.mined() == [("agree", True), ("addResult", True)]
    assert await chain.nonce(RP) == before + 3

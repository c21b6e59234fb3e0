"""T7: an operator sends with the node's key while it works, sometimes under the very nonce a payload has."""

import asyncio
import contextlib
import random
from dataclasses import dataclass

from node.chain.devnet import MEDIATOR, dev_signer
from node.chain.rpc import RpcError
from tests.chaos.harness.arena import Arena, Provider
from tests.chaos.harness.crowd import Crowd
from tests.chaos.harness.findings import Findings
from tests.chaos.harness.invariants import check
from tests.chaos.harness.kills import attended

BLOCK_S = 1.0
FOREIGN_EVERY_S = 2.0
RESYNC_BLOCKS = 2
IN_FLIGHT = 8
GWEI = 10**9


@dataclass(frozen=True)
class Shared:
    """What became of many jobs beside an operator who uses the key."""

    findings: Findings
    foreign: int
    displaced: int
    slowest_resync_blocks: int


async def shared_key(arena: Arena, seed: int, jobs: int) -> Shared:
    """Bring ``jobs`` jobs to their end, some at a time, with a foreign transaction every few blocks."""
    chance = random.Random(seed)
    await arena.rewind()
    confirmations = chance.choice((0, 1, 2))
    provider = arena.provider(chain={"confirmations": confirmations})
    crowd = Crowd(arena)
    async with attended(arena, crowd, provider, limit_s=60.0 + 5.0 * jobs), arena.block_every(BLOCK_S):
        await provider.start()
        operator = asyncio.create_task(_operate(arena, provider))
        for first in range(0, jobs, IN_FLIGHT):
            count = min(IN_FLIGHT, jobs - first)
            await crowd.post([f"seed {seed} deal {first + number}" for number in range(count)])
            await crowd.ended(first + count)
        await provider.rest("PAID", jobs=jobs)
        operator.cancel()
        foreign = await asyncio.gather(operator)
        findings = await check(arena, provider, crowd.prompts)
    resyncs = await _resyncs(arena, provider, confirmations)
    slowest = max(resyncs, default=0)
    findings.check(slowest <= RESYNC_BLOCKS, "T7", f"a nonce was made good after {slowest} blocks")
    return Shared(findings, foreign[0], len(resyncs), slowest)


async def _operate(arena: Arena, provider: Provider) -> int:
    """Send a little gas money away again and again; return how often once cancelled."""
    count = 0
    request = {
        "from": provider.address,
        "to": dev_signer(MEDIATOR).address,
        "value": "0x1",
        "gas": hex(21_000),
        "maxFeePerGas": hex(40 * GWEI),
        "maxPriorityFeePerGas": hex(30 * GWEI),
    }
    try:
        while True:
            await asyncio.sleep(FOREIGN_EVERY_S)
            nonce = await _contested_nonce(arena, provider) if count % 2 else None
            chosen = {} if nonce is None else {"nonce": hex(nonce)}
            # A block may come between choosing the nonce and using it: then nothing was sent.
            with contextlib.suppress(RpcError):
                await arena.market.rpc.call("eth_sendTransaction", [request | chosen])
                count += 1
    except asyncio.CancelledError:
        return count


async def _contested_nonce(arena: Arena, provider: Provider) -> int | None:
    """Return the nonce of a payload of the node's that waits in the pool, None if none does for a while.

    That is what a wallet takes which only looks at blocks; it pays more, so the payload is thrown out.
    """
    chain = arena.market.chain
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FOREIGN_EVERY_S):
            while True:
                mined = await chain.nonce(provider.address)
                if await chain.nonce(provider.address, pending=True) > mined:
                    return mined
                await asyncio.sleep(BLOCK_S / 10)
    return None


async def _resyncs(arena: Arena, provider: Provider, confirmations: int) -> list[int]:
    """Return, for each intent that lost its nonce, the blocks from that being final to its being mined."""
    found = []
    with provider.journal() as journal:
        rows = journal.execute(
            "SELECT lost.reason, next.block_number FROM transactions lost "
            "JOIN transactions next ON next.intent_id = lost.intent_id || '~2' "
            "WHERE lost.status = 'refused' AND next.block_number IS NOT NULL"
        ).fetchall()
    journal.close()
    for reason, block_number in rows:
        receipt = await arena.market.chain.receipt(reason.rpartition(" ")[2])
        if receipt is not None:
            found.append(block_number - receipt.block_number - confirmations)
    return found

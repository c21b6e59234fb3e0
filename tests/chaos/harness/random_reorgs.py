"""T5 at random: deals are played while blocks are dropped at random moments and depths.

A result may be mined before its deal's agreement where a reorganisation turned the two round, and the
provider's agreement to a hire before the job creator's: it reverts and is sent again. Nothing else may happen
twice.
"""

import asyncio
import itertools
import random

from tests.chaos.harness.arena import Arena
from tests.chaos.harness.findings import Findings
from tests.chaos.harness.invariants import check
from tests.chaos.harness.reorgs import (
    CONFIRMATIONS,
    LIMIT_S,
    SETTINGS,
    Reorganiser,
    approve,
)
from tests.chaos.harness.requester import Event, Requester

DEALS = 6
REORGANISATIONS_OF_A_DEAL = 2
TURNS = 16
"""A deal takes about so many turns of its requester; the seed says in which of them blocks are dropped."""


async def random_reorganisations(arena: Arena, seed: int, *, hires: bool = False) -> Findings:
    """Play deals while blocks are dropped at random moments and depths; some transactions come back.

    Only reorganisations that dropped a transaction in a block that the node had read are counted.
    """
    chance = random.Random(seed)
    rpc = arena.market.rpc
    provider = arena.provider(**SETTINGS, market={"matching": "hire" if hires else "propose"})
    prompts = {job: f"random {seed} {job}" for job in range(1, DEALS + 1)}
    await approve(arena)
    first = (await arena.market.chain.head()).number
    await rpc.call("evm_setAutomine", [False])
    reorganisations = 0
    try:
        async with asyncio.timeout(LIMIT_S):
            await provider.start()
            player = Reorganiser(arena, provider, seed)
            requesters: list[Requester] = []
            for job, prompt in prompts.items():
                requesters.append(Requester(arena, provider, job, prompt, hires=hires))
                requesters[-1].allowed |= {Event.DEAL, Event.ACCEPT}
                moments = chance.sample(range(TURNS), REORGANISATIONS_OF_A_DEAL)
                # A dropped block may take back what was at its end before: all of them go on acting.
                for turn in itertools.count():
                    ended = all([await player.step(requester) for requester in requesters])
                    if turn in moments:
                        head = (await arena.market.chain.head()).number
                        depth = min(chance.randint(1, 20), head - first)
                        reorganisations += await player.drop(depth, keep=chance.random())
                    elif ended and turn > max(moments):
                        break
            await rpc.call("anvil_mine", [hex(CONFIRMATIONS + 1)])
            await provider.rest("PAID", "REFUSED", jobs=2 * DEALS if hires else DEALS)
            found = await check(arena, provider, prompts, reorganised=True)
            found.reorganisations = reorganisations
            found.check(reorganisations > 0, "T5", "no reorganisation dropped anything that was read")
            found.check(found.read == DEALS, "T5", f"{found.read} results read of {DEALS}")
            return found
    finally:
        await provider.kill()

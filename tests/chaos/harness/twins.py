"""T8: a second copy with the same data directory, and two nodes with one key in different places."""

import asyncio
import random
import re
from dataclasses import dataclass

from tests.chaos.harness.arena import Arena, Provider
from tests.chaos.harness.crowd import Crowd
from tests.chaos.harness.findings import Findings
from tests.chaos.harness.kills import LIMIT_S, attended
from tests.chaos.harness.spending import nothing_twice, sent_by

HALTED = 4
IN_USE = 1
"""How a start ends that finds the data directory in use."""
KILLED = -9
BLOCK_S = 0.25
NOTICED_WITHIN_BLOCKS = 3
DEALS = 4
_BLOCKS = re.compile(r"block (\d+), noticed at (\d+)")


@dataclass(frozen=True)
class Twins:
    """What became of two nodes with one key."""

    findings: Findings
    halted: int
    blocks_to_notice: tuple[int, ...]


async def second_copies(arena: Arena, copies: int) -> Findings:
    """Start a node, then copies of it on the same data directory, each of which must refuse and say why."""
    await arena.rewind()
    provider = arena.provider()
    other_port = provider.directory / "copy.toml"
    other_port.write_text(provider.config.read_text().replace("port = ", "port = 0 #"))
    findings = Findings()
    try:
        async with asyncio.timeout(LIMIT_S):
            await provider.start()
            for number in range(copies):
                log = provider.directory / f"copy-{number}.log"
                copy = await arena.nodes.start(other_port, log)
                try:
                    ended = await copy.ended
                finally:
                    await copy.kill()
                findings.check(ended == IN_USE, "T8", f"copy {number} ended with {ended}")
                told = "another sdv-node" in log.read_text()
                findings.check(told, "T8", f"copy {number} does not say that another sdv-node is there")
        findings.check(provider.node.alive, "T8", "the first node ended")
    finally:
        await provider.kill()
    return findings


async def two_nodes(arena: Arena, seed: int) -> Twins:
    """Two nodes with one key, started together or one after the other, and jobs that both want."""
    chance = random.Random(seed)
    await arena.rewind()
    nodes = first, second = arena.provider(), arena.provider()
    crowd = Crowd(arena)
    async with attended(arena, crowd, first), arena.block_every(BLOCK_S):
        try:
            await first.launch()
            await asyncio.sleep(chance.choice((0.0, chance.uniform(0.0, 1.0))))
            await second.launch()
            for node in nodes:
                await node.node.ready()
            await crowd.post([f"seed {seed} deal {number}" for number in range(DEALS)])
            await asyncio.wait([node.node.ended for node in nodes], return_when=asyncio.FIRST_COMPLETED)
            # The other one may have more under way: give it the blocks to send or to halt, too.
            head = (await arena.market.chain.head()).number
            while (await arena.market.chain.head()).number < head + 2 * NOTICED_WITHIN_BLOCKS:
                await asyncio.sleep(BLOCK_S)
        finally:
            await second.kill()
    findings = Findings()
    nothing_twice(await sent_by(arena, first.address), findings)
    async with asyncio.timeout(LIMIT_S):
        noticed = [blocks for node in nodes for blocks in await _judged(node, findings)]
    findings.check(bool(noticed), "T8", "no node halted")
    return Twins(findings, len(noticed), tuple(noticed))


async def _judged(node: Provider, findings: Findings) -> list[int]:
    """Check that a node ended as its journal says, and return how many blocks it took to notice."""
    status = node.node.ended.result()
    with node.journal() as journal:
        reasons = [reason for (reason,) in journal.execute("SELECT reason FROM halts")]
    journal.close()
    # A node that was not the one to halt worked on until it was killed here, and ended in no other way.
    expected = HALTED if reasons else KILLED
    findings.check(status == expected, "T8", f"exit {status} with the halts {reasons}")
    if not reasons:
        return []
    findings.check(not await node.start(), "T8", "a halted node starts again without resume")
    findings.check(node.node.ended.result() == HALTED, "T8", "a refused start ends otherwise")
    await node.run("resume", "--yes")
    findings.check(await node.start(), "T8", "a node does not start after resume")
    await node.kill()
    used, noticed = (int(number) for number in _BLOCKS.search(reasons[0]).groups())
    within = noticed - used <= NOTICED_WITHIN_BLOCKS
    findings.check(within, "T8", f"used in block {used}, noticed at {noticed}")
    return [noticed - used]

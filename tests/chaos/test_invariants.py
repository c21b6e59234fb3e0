"""The judge of the chaos runs is judged: each kind of damage is found."""

import shutil
import sqlite3
from dataclasses import replace

import pytest

from node.chain.devnet import PROVIDER, dev_key, dev_signer
from node.chain.fees import Fees
from node.chain.payload import payload_hash, read_signed
from node.types import Wei
from tests.chaos.harness.arena import Arena
from tests.chaos.harness.crowd import Crowd
from tests.chaos.harness.invariants import check
from tests.chaos.harness.kills import attended
from tests.chaos.harness.nodes import Hook

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


def sql(statement):
    async def damage(arena, provider, crowd):
        connection = sqlite3.connect(provider.data / "journal.sqlite", isolation_level=None)
        connection.execute(statement)
        connection.close()

    return damage


def append(name, text):
    async def damage(arena, provider, crowd):
        with (provider.directory / name).open("a") as file:
            file.write(text)

    return damage


async def lost_blocks(arena, provider, crowd):
    """Lose the blocks, and with them the files from which a node that starts would make them again."""
    for path in ("ipfs/blocks", "jobs"):
        for lost in (provider.data / path).iterdir():
            shutil.rmtree(lost)


async def second_agree(arena, provider, crowd):
    """Agree once more with the same key; the contract reverts it, and it counts."""
    (deal_id,) = crowd.states
    deal = await arena.market.contracts.get_deal(deal_id)
    await arena.send(provider.address, arena.market.contracts.agree(deal))


async def signed_otherwise(arena, provider, crowd):
    """Have a replacement in the journal that pays ten times as much and does something else."""
    connection = sqlite3.connect(provider.data / "journal.sqlite", isolation_level=None)
    intent, raw = connection.execute("SELECT intent_id, raw FROM attempts").fetchone()
    first = read_signed(raw)
    fees = Fees(Wei(10 * first.fees.max_fee_wei), Wei(10 * first.fees.tip_wei))
    other = replace(first, to=provider.address, fees=fees)
    signed = await dev_signer(PROVIDER).sign(other.unsigned())
    connection.execute(
        "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, 1)",
        (intent, payload_hash(signed), signed, str(fees.max_fee_wei), str(fees.tip_wei)),
    )
    connection.close()


async def other_prompt(arena, provider, crowd):
    crowd.prompts[1] = "another fox"


DAMAGE = {
    "I1": (sql("UPDATE jobs SET phase = 'SUBMITTING', terminal = 1"), {"I1"}),
    # The node is right not to start again: its key was used by somebody else.
    "I2": (second_agree, {"I2", "I3", "I4"}),
    "I3": (sql("UPDATE attempts SET tx_hash = '0xdead'"), {"I3"}),
    "I3, another call": (
        sql("UPDATE transactions SET data = x'00' WHERE intent_id LIKE 'j1:%'"),
        {"I3"},
    ),
    "I3, a replacement": (signed_otherwise, {"I3"}),
    "I4": (lost_blocks, {"I4"}),
    "I5": (other_prompt, {"I5"}),
    "I6": (sql("UPDATE payments SET amount_wei = '1' WHERE reason = 3"), {"I6"}),
    "I7": (append("stages.log", "computed j1 still\n"), {"I7"}),
    "I8": (append("node.log", dev_key(PROVIDER).hex()), {"I8"}),
}


async def paid_job(arena: Arena, *hooks: Hook):
    await arena.rewind()
    provider = arena.provider()
    crowd = Crowd(arena)
    async with attended(arena, crowd, provider):
        await provider.start(*hooks)
        await crowd.post(["a fox"])
        await provider.rest("PAID", jobs=1)
        await crowd.ended(1)
    return provider, crowd


async def test_an_undisturbed_run_breaks_nothing(shared_arena: Arena):
    provider, crowd = await paid_job(shared_arena)
    found = await check(shared_arena, provider, crowd.prompts)
    assert found.broken == []
    assert (found.deals, found.lost, found.read, found.stages) == (1, 0, 1, 3)


@pytest.mark.parametrize("invariant", DAMAGE)
async def test_damage_is_found_and_named(shared_arena: Arena, invariant: str):
    damage, expected = DAMAGE[invariant]
    provider, crowd = await paid_job(shared_arena)
    await damage(shared_arena, provider, crowd)
    found = await check(shared_arena, provider, crowd.prompts)
    assert {text.partition(":")[0] for text in found.broken} == expected


async def test_a_key_in_the_environment_of_a_worker_is_found(shared_arena: Arena):
    provider, crowd = await paid_job(shared_arena, ("tests.chaos.harness.hooks:leak_key", []))
    found = await check(shared_arena, provider, crowd.prompts)
    assert found.broken == [f"I8: the key is in {provider.workers}"]


async def test_a_job_that_delivered_and_failed_afterwards_is_read_too(shared_arena: Arena):
    provider, crowd = await paid_job(shared_arena)
    await sql("UPDATE jobs SET phase = 'FAILED'")(shared_arena, provider, crowd)
    crowd.prompts[1] = "another fox"
    found = await check(shared_arena, provider, crowd.prompts)
    assert found.read == 1
    assert any(text.startswith("I5") for text in found.broken)

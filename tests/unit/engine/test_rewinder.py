"""Back to the newest block that stands, and no further than blocks that were promised never to go."""

import pytest

from node.chain.client import Block
from node.chain.logs import ReorgDetected
from node.engine.rewinder import Rewinder
from node.errors import Halted
from node.job.deal import Agreement, AgreementState
from node.job.events import BlocksDropped, OfferSeen
from node.job.transition import open_job
from node.journal.database import Database
from node.journal.halts import Halts
from node.journal.journal import Journal
from node.journal.records import Commit, CursorRow, Entry
from tests.fakes.clock import FakeClock
from tests.fakes.jobs import make_offer

FINALITY = 20


def old(number: int, head: int) -> CursorRow:
    return CursorRow(number, f"0x{number:064x}", head)


class Fork:
    """A chain whose blocks above ``ancestor`` are others than those that were read."""

    def __init__(self, ancestor: int) -> None:
        self.ancestor = ancestor

    async def block(self, number: int) -> Block:
        shown = number if number <= self.ancestor else number + 1_000
        return Block(number, f"0x{shown:064x}", 0)

    async def get_agreement(self, deal_id: str, at: int | None = None) -> Agreement:
        return Agreement(AgreementState.DEAL_NEGOTIATING)


async def rewound(database: Database, *, ancestor: int, lost: CursorRow):
    """Return what is posted and where reading goes on when blocks above ``ancestor`` are gone."""
    posted = []

    async def post(facts) -> None:
        posted.append(facts)

    async def follow() -> None:
        pass

    fork = Fork(ancestor)
    rewinder = Rewinder(
        headers=fork,
        agreements=fork,
        positions=Journal(database, FakeClock()),
        halts=Halts(database, FakeClock()),
        post=post,
        follow_transactions=follow,
        finality_blocks=FINALITY,
        start_block=0,
    )
    found = (await fork.block(lost.block_number)).hash
    broken = ReorgDetected(lost.block_number, lost.block_hash, found, lost.head_number)
    return await rewinder.rewind(broken), posted


async def test_reading_goes_on_behind_the_newest_block_that_stands_and_jobs_above_it_are_told(database):
    job, effects = open_job(OfferSeen(make_offer()))
    seen = Entry(job, OfferSeen(make_offer()), effects)
    await Journal(database, FakeClock()).commit(Commit(entries=(seen,), rests_on=(old(10, 12),)))
    for number in (8, 11, 14):
        await Journal(database, FakeClock()).commit(Commit(cursor=old(number, number + 1)))
    ancestor, (facts,) = await rewound(database, ancestor=9, lost=old(14, 15))
    assert (ancestor.block_number, facts.rewind) == (8, ancestor)
    assert facts.events == (("j1", BlocksDropped(8, None)),)


async def test_a_block_inside_a_range_that_a_fact_was_read_in_is_one_to_come_back_to(database):
    journal = Journal(database, FakeClock())
    await journal.commit(Commit(cursor=old(8, 9)))
    await journal.commit(Commit(cursor=old(100, 101), rests_on=(old(95, 101),)))
    ancestor, _ = await rewound(database, ancestor=97, lost=old(100, 101))
    assert ancestor.block_number == 95


async def range_read_with_a_fact(database: Database, *, depth: int):
    """Lose a fact ``depth`` blocks under the head in a range whose last block had one on top."""
    journal = Journal(database, FakeClock())
    await journal.commit(Commit(cursor=old(8, 9)))
    await journal.commit(Commit(cursor=old(100, 101), rests_on=(old(101 - depth, 101),)))
    return await rewound(database, ancestor=101 - depth - 1, lost=old(100, 101))


async def test_a_fact_with_fewer_than_finality_blocks_on_top_is_taken_back(database):
    ancestor, _ = await range_read_with_a_fact(database, depth=FINALITY - 1)
    assert ancestor.block_number == 8


async def test_a_fact_with_finality_blocks_on_top_halts_the_node_though_its_range_ended_later(database):
    with pytest.raises(Halted, match="block 81 ") as halted:
        await range_read_with_a_fact(database, depth=FINALITY)
    assert await Halts(database, FakeClock()).standing() == str(halted.value)

"""A result is reported when it is kept and read back as the policy asks, or with less when time runs out."""

from dataclasses import replace
from pathlib import Path

import pytest

from node.chain.client import Block
from node.engine.publishing import Publishing
from node.errors import JobFailed, Unreachable
from node.job.copies import Copy, CopyPolicy
from node.job.effects import Effect, EffectKind
from node.job.events import Published
from node.job.phase import Phase
from node.publisher.errors import StoreFull, TreeChanged
from node.types import Cid
from tests.fakes.clock import FakeClock
from tests.fakes.jobs import make_job

CID = Cid("bafyresult")
DEADLINE = 10_000
HERE = Copy("node", stored_at=1.0, read_at=2.0)
UNREAD = Copy("node", stored_at=1.0, problem="the port does not answer")
KUBO = Copy("kubo", stored_at=1.0, read_at=2.0)
DOWN = Copy("kubo", problem="broke off")


class Stage:
    """Publisher, places and chain in one: chain time goes on by what was waited."""

    def __init__(self, *rounds, at=DEADLINE - 1000, publish_error=None):
        self.rounds = [*rounds]
        self.at = at
        self.publish_error = publish_error
        self.waited = []
        self.last_chances = []
        self.left = []
        self.told = []
        self.published = []
        self.later = []

    async def publish(self, job_id, directory):
        self.published.append(str(directory))
        if self.publish_error:
            raise self.publish_error
        answer = self.later.pop(0) if len(self.published) > 1 and self.later else CID
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def spread(self, job_id, cid, enough, *, within_s, last_chance):
        self.waited.append(within_s)
        self.last_chances.append(last_chance)
        copies = self.rounds.pop(0) if len(self.rounds) > 1 else self.rounds[0]
        if not enough(copies):
            self.at += int(within_s)
        return tuple(copies)

    def leave(self, job_id, cid):
        self.left.append(cid)

    async def head(self):
        return Block(number=1, hash="0x" + "00" * 32, timestamp=self.at)


async def publish(stage, policy, *, margin_s=300):
    job = replace(make_job(Phase.PUBLISHING), deadline=DEADLINE)
    publishing = Publishing(
        stage,
        stage,
        stage,
        policy=policy,
        margin_s=margin_s,
        jobs_dir=Path("jobs"),
        clock=FakeClock(),
        on_published=lambda seconds: None,
        on_wait=lambda job_id, reason: stage.told.append(reason),
    )
    return await publishing.publish(job, Effect(job.job_id, EffectKind.PUBLISH))


async def test_what_the_policy_asks_for_is_reported_at_once_with_where_it_is():
    stage = Stage([HERE, KUBO])
    assert await publish(stage, CopyPolicy(copies=2, reads=2)) == Published(CID, (HERE, KUBO))
    assert (len(stage.waited), stage.left, stage.told) == (1, [CID], [])


async def test_a_copy_that_is_missing_is_waited_for_and_told():
    stage = Stage([HERE, DOWN], [HERE, DOWN], [HERE, KUBO])
    assert await publish(stage, CopyPolicy(copies=2, reads=2)) == Published(CID, (HERE, KUBO))
    assert len(stage.told) == 2
    assert "1 of 2 copies, kept by node; read back from node; waiting 700 s at most" in stage.told[0]
    assert "kubo: broke off" in stage.told[0]


async def test_when_the_margin_begins_one_read_of_what_is_kept_here_is_enough():
    stage = Stage([HERE, DOWN])
    lacking = "1 of 2 copies and read back from 1 of 2 places"
    assert await publish(stage, CopyPolicy(copies=2, reads=2)) == Published(CID, (HERE, DOWN), lacking)
    assert DEADLINE - 300 <= stage.at < DEADLINE - 250
    assert stage.last_chances == [False] * (len(stage.waited) - 1) + [True]


async def test_a_result_that_nobody_could_read_is_never_reported():
    stage = Stage([UNREAD, DOWN])
    with pytest.raises(JobFailed, match="could not be read back before the deadline: node: the port"):
        await publish(stage, CopyPolicy())
    assert DEADLINE - 300 <= stage.at < DEADLINE
    assert stage.left == []


async def test_after_an_outage_a_first_read_still_gets_its_chance():
    stage = Stage([HERE, DOWN], at=DEADLINE - 10)
    assert await publish(stage, CopyPolicy(copies=2)) == Published(CID, (HERE, DOWN), "1 of 2 copies")
    assert stage.waited == [30.0]


async def test_the_margin_is_a_quarter_of_a_short_deals_time_at_most():
    stage = Stage([HERE, DOWN])
    submit_s = make_job(Phase.PUBLISHING).terms.timeouts.submit_results.timeout_s
    await publish(stage, CopyPolicy(copies=2), margin_s=10**6)
    assert stage.at >= DEADLINE - submit_s // 4


async def test_a_full_store_is_waited_for_until_the_margin_and_then_told_honestly():
    with pytest.raises(StoreFull):
        await publish(Stage([HERE], publish_error=StoreFull("full")), CopyPolicy())
    with pytest.raises(JobFailed, match="could not be stored in time: full"):
        await publish(Stage([HERE], at=DEADLINE - 10, publish_error=StoreFull("full")), CopyPolicy())


async def test_a_chain_that_does_not_answer_is_waited_for():
    stage = Stage([HERE])

    async def head():
        raise Unreachable("no endpoint")

    stage.head = head
    with pytest.raises(Unreachable):
        await publish(stage, CopyPolicy())


async def test_an_own_copy_that_cannot_be_read_is_stored_again_from_the_jobs_files():
    stage = Stage([UNREAD], [UNREAD], [HERE])
    assert await publish(stage, CopyPolicy()) == Published(CID, (HERE,))
    assert stage.published == ["jobs/j1/result"] * 3


async def test_an_own_copy_that_was_read_or_only_takes_its_time_is_left_alone():
    slow = Copy("node", stored_at=1.0)
    stage = Stage([HERE, DOWN], [slow, DOWN], [HERE, KUBO])
    await publish(stage, CopyPolicy(copies=2, reads=2))
    assert len(stage.published) == 1


async def test_files_that_have_another_cid_by_now_are_published_anew_and_that_is_said():
    stage = Stage([UNREAD], [HERE])
    stage.later = [Cid("bafyother")]
    with pytest.raises(TreeChanged, match=r"bafyresult and are bafyother now: .* check the disk"):
        await publish(stage, CopyPolicy())
    assert stage.left == []


async def test_a_store_that_takes_nothing_now_does_not_keep_a_read_elsewhere_from_counting():
    stage = Stage([UNREAD, DOWN], [UNREAD, KUBO])
    stage.later = [StoreFull("full")] * 1000
    assert await publish(stage, CopyPolicy()) == Published(CID, (UNREAD, KUBO))

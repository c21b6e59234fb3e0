"""A job is found again by its number, in the journal or in the log that was passed over."""

from dataclasses import replace

import pytest

from node.errors import Retryable
from node.journal.records import JobRow, SkippedLog
from node.market.posted import PostedJobs
from tests.fakes.jobs import JOB_MANAGER, POSTED_AT, REQUESTER, make_deal, make_job
from tests.unit.market.test_feed import MODULE, block, offer

SKIPPED = SkippedLog(5, "0x" + "aa" * 32, 0, 7, "the requester owns 0 wei, needs 2")


class Source:
    """A journal and a chain: what a test puts there."""

    def __init__(self, *, jobs=(), skipped=None, logs=(), behind=False):
        self.rows = {job.job_id: JobRow(job, 0, 0) for job in jobs}
        self.skipped, self.found = skipped, list(logs)
        self.header = None if behind else block(5, POSTED_AT)

    async def job(self, job_id):
        return self.rows.get(job_id)

    async def skipped_job(self, number):
        return self.skipped

    async def logs(self, first, last, addresses, topics):
        return self.found

    async def block(self, number):
        return self.header


def posted(**source):
    found = Source(**source)
    return PostedJobs(found, found, job_manager=JOB_MANAGER, modules=frozenset({MODULE}))


async def test_a_job_of_the_journal_is_found_whatever_became_of_it():
    job = make_job(number=7)
    assert await posted(jobs=[job]).offer(7) == job.offer
    assert await posted(jobs=[job]).hired_in(7) is None


async def test_an_earlier_hire_for_the_job_is_known_by_its_deal():
    hire = replace(make_job(number=7), job_id="h7", deal=make_deal(7))
    assert await posted(jobs=[hire]).hired_in(7) == make_deal(7).deal_id


async def test_a_job_that_was_passed_over_is_read_again_from_its_own_log():
    found = await posted(skipped=SKIPPED, logs=[offer(6), offer(7, inputs=("Prompt=a hire",))]).offer(7)
    assert (found.number, found.requester, found.posted_at) == (7, REQUESTER, POSTED_AT)
    assert found.spec.prompt == "a hire"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({}, "was never seen here"),
        ({"skipped": SKIPPED}, "the requester owns 0 wei"),
        ({"skipped": SKIPPED, "logs": [offer(7, inputs=("Steps=4",))]}, "cannot be computed"),
        ({"skipped": SKIPPED, "logs": [offer(7, module="sdv-pipeline:v1.0-lilypad1")]}, "does not offer"),
    ],
)
async def test_a_job_that_cannot_be_done_says_why(source, told):
    assert told in await posted(**source).offer(7)


async def test_an_endpoint_that_is_behind_is_asked_again():
    with pytest.raises(Retryable):
        await posted(skipped=SKIPPED, logs=[offer(7)], behind=True).offer(7)

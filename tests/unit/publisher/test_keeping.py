"""What is let go: by age, then by quota and the oldest first, and never what somebody may have a claim to."""

from node.publisher.keeping import Holding, Need, Why, plan

DAY = 86_400.0
NOW = 1_800_000_000.0


def holding(number, *, days_ago=1.0, need=Need.FREE, blocks=None, folder_bytes=0):
    own = {number.to_bytes(32): 100} if blocks is None else blocks
    return Holding(f"j{number}", need, NOW - days_ago * DAY, own, folder_bytes)


def decide(*holdings, keep_days=30.0, quota_bytes=None, other_bytes=0):
    return plan(holdings, other_bytes=other_bytes, now=NOW, keep_s=keep_days * DAY, quota_bytes=quota_bytes)


def let_go(found):
    return [(one.job_id, one.why) for one in found.let_go]


def test_what_was_kept_for_its_time_goes_and_what_is_younger_stays():
    found = decide(holding(1, days_ago=31), holding(2, days_ago=29))
    assert let_go(found) == [("j1", Why.AGE)]
    assert found.kept_bytes == 100


def test_beyond_the_quota_the_oldest_go_first_and_no_more_than_needed():
    found = decide(*(holding(n, days_ago=n) for n in (1, 2, 3, 4)), quota_bytes=250)
    assert let_go(found) == [("j4", Why.QUOTA), ("j3", Why.QUOTA)]
    assert found.kept_bytes == 200


def test_a_result_that_is_needed_never_goes_whatever_its_age_and_the_quota():
    found = decide(holding(1, days_ago=400, need=Need.NEEDED), holding(2), quota_bytes=0)
    assert let_go(found) == [("j2", Why.QUOTA)]
    assert (found.kept_bytes, found.needed_bytes) == (100, 100)


def test_what_was_never_paid_for_is_kept_for_its_time_however_small_the_quota():
    young, old = (holding(n, days_ago=days, need=Need.FOR_A_TIME) for n, days in ((1, 29), (2, 31)))
    assert let_go(decide(young, old, quota_bytes=0)) == [("j2", Why.AGE)]


def test_nothing_is_decided_about_a_job_that_the_journal_does_not_know():
    assert let_go(decide(holding(1, days_ago=400, need=Need.UNKNOWN), quota_bytes=0)) == []


def test_a_block_of_several_jobs_is_free_when_the_last_of_them_goes():
    shared, own = b"s" * 32, b"o" * 32
    old = holding(1, days_ago=3, blocks={shared: 1000, own: 10})
    young = holding(2, days_ago=2, blocks={shared: 1000})
    one = decide(old, young, quota_bytes=1000)
    assert [(found.job_id, found.freed_bytes) for found in one.let_go] == [("j1", 10)]
    both = decide(old, young, quota_bytes=999)
    assert [found.freed_bytes for found in both.let_go] == [10, 1000]
    assert both.kept_bytes == 0


def test_job_folders_count_and_so_does_what_belongs_to_no_job():
    found = decide(holding(1, folder_bytes=50), holding(2, days_ago=2), other_bytes=7, quota_bytes=200)
    assert let_go(found) == [("j2", Why.QUOTA)]
    assert (found.kept_bytes, found.needed_bytes) == (157, 7)


def test_without_a_quota_only_age_decides():
    assert let_go(decide(*(holding(n) for n in range(1, 50)))) == []

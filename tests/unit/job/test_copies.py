import pytest

from node.job.copies import Copy, CopyPolicy, told

HERE = Copy("node", stored_at=1.0, read_at=2.0)
UNREAD_HERE = Copy("node", stored_at=1.0)
KUBO = Copy("kubo", stored_at=3.0, read_at=4.0)
UNREAD = Copy("kubo", stored_at=3.0, problem="not found there")
GATEWAY = Copy("https://ipfs.io", read_at=5.0)


@pytest.mark.parametrize(
    ("policy", "copies", "met"),
    [
        (CopyPolicy(), [HERE], True),
        (CopyPolicy(), [UNREAD_HERE], False),
        (CopyPolicy(), [], False),
        (CopyPolicy(copies=2), [HERE, UNREAD], False),
        (CopyPolicy(copies=2), [HERE, KUBO], True),
        (CopyPolicy(copies=2), [HERE, GATEWAY], False),
        (CopyPolicy(reads=2), [HERE, UNREAD], False),
        (CopyPolicy(reads=2), [HERE, GATEWAY], True),
        (CopyPolicy(copies=2, unread_count=True), [HERE, UNREAD], True),
        (CopyPolicy(copies=2, unread_count=True), [UNREAD_HERE, UNREAD], False),
        (CopyPolicy(reads=0), [UNREAD_HERE], False),
    ],
)
def test_enough_copies_and_reads_allow_a_report(policy, copies, met):
    assert policy.is_met(copies) is met


@pytest.mark.parametrize(
    ("copies", "bearable"),
    [([HERE], True), ([UNREAD_HERE, KUBO], True), ([UNREAD_HERE, UNREAD], False), ([KUBO], False)],
)
def test_when_time_runs_out_one_read_of_what_is_kept_here_is_enough(copies, bearable):
    assert CopyPolicy(copies=3, reads=2).is_bearable(copies) is bearable


def test_copies_are_told_by_place():
    assert told([HERE, UNREAD, GATEWAY]) == "kept by node, kubo; read back from node, https://ipfs.io"
    assert told([]) == "kept by nobody; read back from nowhere"


@pytest.mark.parametrize(
    ("policy", "copies", "lacking"),
    [
        (CopyPolicy(copies=2, reads=2), [HERE, KUBO], None),
        (CopyPolicy(), [HERE], None),
        (CopyPolicy(copies=2), [HERE, UNREAD], "1 of 2 copies"),
        (CopyPolicy(copies=2, unread_count=True), [HERE], "1 of 2 copies"),
        (CopyPolicy(reads=2), [HERE], "read back from 1 of 2 places"),
        (CopyPolicy(copies=3, reads=2), [HERE], "1 of 3 copies and read back from 1 of 2 places"),
    ],
)
def test_what_is_lacking_is_told_in_numbers(policy, copies, lacking):
    assert policy.lacking(copies) == lacking

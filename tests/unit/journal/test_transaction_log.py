import pytest

from node.job.transactions import TxStatus
from node.journal.transactions import TransactionLog
from tests.fakes.jobs import CONTROLLER

HASH = "0x" + "01" * 32


@pytest.fixture
def log(database):
    return TransactionLog(database)


async def reserve(log, intent, chain_nonce=7):
    return await log.reserve(intent, "agree", CONTROLLER, b"\x01", 0, chain_nonce)


async def test_one_intent_takes_one_nonce_however_often_it_is_reserved(log):
    first = await reserve(log, "j1:propose:1")
    again = await reserve(log, "j1:propose:1", chain_nonce=50)
    assert first == again
    assert first.nonce == 7


async def test_open_intents_take_consecutive_nonces(log):
    nonces = [(await reserve(log, f"j{number}:propose:1")).nonce for number in (1, 2, 3)]
    assert nonces == [7, 8, 9]


async def test_with_nothing_open_the_chain_says_the_nonce(log):
    await reserve(log, "j1:propose:1")
    await log.settle("j1:propose:1", "mined", HASH, 5, 21000, 10**15, None)
    assert (await reserve(log, "j2:propose:1", chain_nonce=20)).nonce == 20


async def test_attempts_keep_their_order_and_are_found_with_the_open_rows(log):
    await reserve(log, "j1:propose:1")
    for number, fee in enumerate((100, 110, 121)):
        await log.record_attempt("j1:propose:1", f"0x{number:064x}", bytes([number]), fee, 1)
    (row,) = await log.open_rows()
    assert [attempt.max_fee_wei for attempt in row.attempts] == [100, 110, 121]
    assert [attempt.raw for attempt in row.attempts] == [b"\x00", b"\x01", b"\x02"]


async def test_a_settled_intent_is_not_open_and_tells_its_cost(log):
    await reserve(log, "j1:propose:1")
    await log.settle("j1:propose:1", "reverted", HASH, 5, 21000, 3 * 10**18, "Only RP")
    row = await log.row("j1:propose:1")
    assert (row.status, row.reason, row.fee_wei) == (TxStatus.REVERTED, "Only RP", 3 * 10**18)
    assert await log.open_rows() == []


async def test_a_payload_is_not_shown_by_repr(log):
    await reserve(log, "j1:propose:1")
    await log.record_attempt("j1:propose:1", HASH, b"\xde\xad\xbe\xef", 1, 1)
    assert "\\xde" not in repr(await log.row("j1:propose:1"))


async def test_transactions_of_one_job_are_not_mixed_with_those_of_another(log):
    for intent in ("j1:propose:1", "j1:submit_result:1", "j10:propose:1"):
        await reserve(log, intent)
    assert [row.intent_id for row in await log.rows_of("j1")] == ["j1:propose:1", "j1:submit_result:1"]

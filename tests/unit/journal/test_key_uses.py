"""What the journal knows of a key: payloads by nonce, and how far its uses were judged."""

from node.journal.halts import Halts
from node.journal.key_uses import KeyUses
from node.journal.transactions import TransactionLog
from tests.fakes.clock import FakeClock

US = "0x" + "aa" * 20


async def test_every_payload_signed_for_a_nonce_is_ours(database):
    log, uses = TransactionLog(database), KeyUses(database)
    for number, intent in enumerate(("j1:propose:1", "j2:propose:1")):
        await log.reserve(intent, "agree", US, b"", 0, 7)
        for attempt in range(2):
            await log.record_attempt(intent, f"0x{number}{attempt}", b"raw", 5 + attempt, 1 + attempt)
    assert await uses.signed_hashes(7) == {"0x00", "0x01"}
    assert await uses.signed_hashes(8) == {"0x10", "0x11"}
    assert await uses.signed_hashes(9) == frozenset()


async def test_how_far_uses_were_judged_is_remembered_and_forgotten_when_a_halt_is_cleared(database):
    uses, halts = KeyUses(database), Halts(database, FakeClock())
    assert await uses.judged_up_to(US) is None
    await uses.judged(US, 5)
    await uses.judged(US, 6)
    assert await uses.judged_up_to(US) == 6
    await halts.write("another node uses the key")
    assert await uses.judged_up_to(US) == 6
    await halts.clear()
    assert await uses.judged_up_to(US) is None

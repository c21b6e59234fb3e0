"""A flood of offers (T14) at a size that fits here; ``scripts/chaos`` runs it at full size."""

import pytest

from node.job.sifting import Refused
from node.journal.journal import SKIPPED_KEPT
from tests.chaos.harness.flood import ROOM, SHARE, run_offer_flood

pytestmark = [pytest.mark.chaos, pytest.mark.integration]

OFFERS = 10_000
REAL = 10
MB = 10**6
SHARE_OF_FULL_SIZE = OFFERS / 100_000


@pytest.mark.parametrize("senders", [1, 1000])
async def test_a_flood_costs_bounded_memory_and_disk_and_every_real_offer_is_admitted(tmp_path, senders):
    tmp_path.chmod(0o700)
    flood = await run_offer_flood(
        tmp_path, offers=OFFERS, senders=senders, seconds=6, seed=senders, real=REAL
    )
    assert len(flood.evaluated_after_s) == REAL
    assert flood.rss_growth <= 200 * MB
    assert flood.journal_growth <= 100 * MB * SHARE_OF_FULL_SIZE
    assert flood.waiting_most <= ROOM
    assert flood.waiting_most_of_one <= SHARE
    told = Refused.REQUESTER_LIMIT if senders == 1 else Refused.INSOLVENT
    assert flood.left[told] > OFFERS / 2
    assert flood.left[Refused.FORGED] > 0
    assert flood.reasons_kept == SKIPPED_KEPT
    assert flood.changed_by_a_restart == 0

"""Who may wait: a bounded number of places, shared fairly between requesters. Pure.

A requester alone may fill its own share; many requesters push each other down to equal shares. Whoever holds
the most places gives the newest of them up for one who holds at least two fewer, so no requester can keep
another one out, whoever came first.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from node.job.events import Offer
from node.job.job import job_id_for
from node.job.sifting import Left, Refused, Sifted
from node.types import Address, JobId


@dataclass(frozen=True, slots=True)
class Places:
    """How many offers may wait, altogether and of one requester."""

    total: int
    per_requester: int


def share_out(offers: Sequence[Offer], waiting: Mapping[JobId, Address], places: Places) -> Sifted:
    """Return which offers find no place, and which jobs of ``waiting`` (oldest first) lose theirs.

    Offers are served in turns, one of each requester at a time, each requester's in their own order. One that
    waits already, because its block is read again, keeps its place.
    """
    held: dict[Address, list[JobId]] = {}
    for job_id, requester in waiting.items():
        held.setdefault(requester, []).append(job_id)
    taken = len(waiting)
    left: dict[int, Left] = {}
    displaced: dict[JobId, str] = {}
    arrived: dict[JobId, int] = {}
    crowded = f"{places.total} offers wait already, the limit of admission.max_waiting_offers"
    for position in _in_turns(offers):
        offer = offers[position]
        job_id = job_id_for(offer.number)
        if job_id in waiting:
            continue
        mine = held.setdefault(offer.requester, [])
        if len(mine) >= places.per_requester:
            reason = f"{len(mine)} offers of this requester wait already, the limit for one"
            left[position] = Left(Refused.REQUESTER_LIMIT, reason)
            continue
        if taken >= places.total:
            largest = max(held.values(), key=len)
            if len(largest) <= len(mine) + 1:
                left[position] = Left(Refused.CROWDED, crowded)
                continue
            loser = largest.pop()
            reason = "made room for an offer of a requester with fewer of them"
            if loser in arrived:
                left[arrived[loser]] = Left(Refused.CROWDED, reason)
            else:
                displaced[loser] = reason
            taken -= 1
        mine.append(job_id)
        arrived[job_id] = position
        taken += 1
    return Sifted(left, displaced)


def _in_turns(offers: Sequence[Offer]) -> Iterable[int]:
    lines: dict[Address, list[int]] = {}
    for position, offer in enumerate(offers):
        lines.setdefault(offer.requester, []).append(position)
    turn = 0
    while lines:
        yield from (line[turn] for line in lines.values())
        turn += 1
        lines = {requester: line for requester, line in lines.items() if len(line) > turn}

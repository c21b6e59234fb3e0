"""What open deals will pay or give back through a timeout call of ours, and from when. Pure.

Block times in seconds: a claim may be made in a block whose time is strictly greater than ``due_at``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from node.job.deal import Deal
from node.job.job import Job
from node.job.phase import Phase
from node.types import JobId, Wei


@dataclass(frozen=True, slots=True)
class Claim:
    """One amount that comes to us if nobody else moves. ``due_at`` None: the claim is under way."""

    job_id: JobId
    kind: Literal["proposal", "judgement", "mediation"]
    amount_wei: Wei
    due_at: int | None

    def due(self, chain_time: int) -> bool:
        """Tell whether it can be claimed at this block time."""
        return self.due_at is None or chain_time > self.due_at

    def to_json(self) -> dict[str, str | int | None]:
        """Return the claim for programs."""
        return {
            "job_id": self.job_id,
            "kind": self.kind,
            "amount_wei": str(self.amount_wei),
            "due_at": self.due_at,
        }


def claim_of(job: Job, *, silence_has_remedy: bool) -> Claim | None:
    """Return what a job's next timeout gives us, None where nothing is claimed by time.

    ``silence_has_remedy`` False: the market pays nothing for a requester's silence, whatever the terms say.
    """
    claim = None if job.deal is None else _by_terms(job, job.deal)
    if claim is not None and claim.kind == "judgement" and not silence_has_remedy:
        return None
    return claim


def claims_of(jobs: Iterable[Job], *, silence_has_remedy: bool) -> list[Claim]:
    """Return the claims of these jobs, those under way first, then by the time they fall due."""
    claims = (claim_of(job, silence_has_remedy=silence_has_remedy) for job in jobs)
    found = [claim for claim in claims if claim is not None]
    return sorted(found, key=lambda claim: (claim.due_at or 0, claim.job_id))


def due_wei(claims: Iterable[Claim], chain_time: int) -> Wei:
    """Return what can be claimed at this block time."""
    return Wei(sum(claim.amount_wei for claim in claims if claim.due(chain_time)))


def _by_terms(job: Job, deal: Deal) -> Claim | None:
    match job.phase:
        case Phase.PROPOSED | Phase.WITHDRAWING:
            return Claim(job.job_id, "proposal", deal.timeouts.submit_results.collateral_wei, job.deadline)
        case Phase.SUBMITTED if job.deadline is not None:
            return Claim(job.job_id, "judgement", _judged(deal), job.deadline)
        case Phase.DISPUTED if job.deadline is not None:
            # Each mediator that stays silent only makes room for the next one; the last one's silence pays.
            left = max(0, len(deal.members.mediators) - max(1, job.draws))
            due_at = job.deadline + left * deal.timeouts.mediate_results.timeout_s
            return Claim(job.job_id, "mediation", _result(deal), due_at)
        case Phase.CLAIMING if job.draws == 0:
            return Claim(job.job_id, "judgement", _judged(deal), None)
        case Phase.CLAIMING:
            return Claim(job.job_id, "mediation", _result(deal), None)
        case _:
            return None


def _result(deal: Deal) -> Wei:
    """Pay and our own results collateral."""
    pricing = deal.pricing
    price = pricing.instruction_price_wei
    return Wei(min(price, pricing.payment_collateral_wei) + price * pricing.results_collateral_multiple)


def _judged(deal: Deal) -> Wei:
    """The same, and the timeout collateral of the requester who did not judge."""
    return Wei(_result(deal) + deal.timeouts.judge_results.collateral_wei)

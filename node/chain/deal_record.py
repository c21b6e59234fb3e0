"""What the chain knows of one deal and its job, put together for whoever judges a result."""

import re
from dataclasses import dataclass

from node.chain.client import Chain
from node.chain.contracts import MarketContracts
from node.chain.job_search import find_job
from node.errors import JobFailed
from node.job.deal import Agreement, Deal, Result
from node.job.spec import JobSpec, parse_inputs
from node.job.terms import binds
from node.types import DealId

_DEAL_ID = re.compile(r"j([1-9][0-9]{0,18})-[1-9A-HJ-NP-Za-km-z]{16,32}")


class UnknownDeal(JobFailed):
    """No such deal is on this market, or not one whose job can be told."""


@dataclass(frozen=True, slots=True)
class DealRecord:
    """A deal, how it stands, what was submitted for it if anything, and the job it is about.

    ``spec`` has the notes that the posted inputs give rise to: they are part of the result.
    """

    deal: Deal
    agreement: Agreement
    result: Result | None
    job_number: int
    spec: JobSpec


def job_number_of(deal_id: str) -> int | None:
    """Return the job's number that an id of ours begins with, None for any other text."""
    match = _DEAL_ID.fullmatch(deal_id)
    return None if match is None else int(match[1])


async def read_deal(chain: Chain, contracts: MarketContracts, deal_id: DealId) -> DealRecord:
    """Read a deal and find its job.

    Raises UnknownDeal if there is none, or its id does not follow from its job and terms, so that nobody can
    tell which job it is about; InvalidInputs if the job cannot be computed; JobNotFound, Unreadable,
    Unreachable and Retryable.
    """
    number = job_number_of(deal_id)
    deal = await contracts.get_deal(deal_id)
    if deal is None:
        raise UnknownDeal(f"there is no deal {ascii(deal_id)[:80]} on this market")
    if number is None or not binds(deal, contracts.place, number):
        raise UnknownDeal(
            f"the id of deal {ascii(deal_id)[:80]} does not follow from a job and the deal's terms, so there "
            "is no telling which job it is about"
        )
    agreement = await contracts.get_agreement(deal_id)
    job = await find_job(chain, contracts.addresses.job_manager, number, agreement.deal_created_at)
    spec = parse_inputs(job.module, job.inputs)
    return DealRecord(deal, agreement, await contracts.get_result(deal_id), number, spec)

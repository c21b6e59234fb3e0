"""A posted job, found by its number in the market's logs: no contract keeps it.

A deal's id binds the number of its job, and the job was posted before the deal was made: reading goes back
from there, in ranges that grow.
"""

from node.chain.client import Block, Chain
from node.chain.events import JOB_ADDED, JobAdded, decode
from node.chain.logs import ConfirmedLogs, ReorgDetected
from node.errors import JobFailed, Retryable
from node.types import Address

MAX_BLOCKS = 500_000
"""How far before its deal a job is looked for: more than a day of blocks four times a second."""
_FIRST_BLOCKS = 1_000
_GROWTH = 8


class JobNotFound(JobFailed):
    """No log of the job is in the blocks in which it could be."""


async def find_job(chain: Chain, job_manager: Address, number: int, posted_before: int) -> JobAdded:
    """Return the job with this number, posted at the block time ``posted_before`` (in seconds) or earlier.

    Raises JobNotFound, Unreachable and, while the chain is being reorganised, Retryable.
    """
    last = await _last_block_until(chain, posted_before)
    blocks, lowest = _FIRST_BLOCKS, max(0, last - MAX_BLOCKS)
    end = last
    while end >= lowest:
        start = max(lowest, end - blocks + 1)
        found = await _within(chain, job_manager, number, start, end)
        if found is not None:
            return found
        end, blocks = start - 1, blocks * _GROWTH
    raise JobNotFound(f"job {number} was not posted in the {last - lowest + 1} blocks before its deal")


async def _within(chain: Chain, job_manager: Address, number: int, start: int, end: int) -> JobAdded | None:
    logs = ConfirmedLogs(
        chain, [job_manager], [JOB_ADDED], confirmations=0, cursor=None, start_block=start, end_block=end
    )
    while True:
        try:
            batch = await logs.next()
        except ReorgDetected as error:
            raise Retryable(f"{error}: try again") from error
        if batch is None:
            raise Retryable(f"the RPC endpoint does not have block {end} at the moment: try again")
        for log in batch.logs:
            event = decode(log)
            if isinstance(event, JobAdded) and event.number == number:
                return event
        if batch.last.number >= end:
            return None


async def _last_block_until(chain: Chain, timestamp: int) -> int:
    """Return the newest block that is not younger than ``timestamp``, by bisection."""
    head: Block = await chain.head()
    if head.timestamp <= timestamp:
        return head.number
    low, high = 0, int(head.number)
    while high - low > 1:
        middle = (low + high) // 2
        block = await chain.block(middle)
        if block is None:
            raise Retryable(f"the RPC endpoint does not have block {middle} at the moment: try again")
        if block.timestamp <= timestamp:
            low = middle
        else:
            high = middle
    return low

"""Admission with the settings in force: an evaluation is finished by those it began with."""

from collections.abc import Callable
from dataclasses import dataclass

from node.admission.bids import BidGas
from node.admission.counterparties import unpaid_by
from node.admission.evaluate import Admission, Exposure, Terms
from node.admission.run_times import RunTimes
from node.app.parties import OpenMarket
from node.app.timing import Prices
from node.config import Config
from node.engine.book import Book
from node.engine.forecast import Forecast
from node.engine.rivals import Rivals
from node.job.effects import Effect
from node.job.events import JobEvent
from node.job.job import Job
from node.journal.ledger import LedgerJournal
from node.settlement.escrow import owed_wei
from node.types import Address, Wei


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an admission asks and looks at, whatever the settings say."""

    market: OpenMarket
    provider: Address
    book: Book
    ledger: LedgerJournal
    rivals: Rivals
    times: RunTimes
    bids: BidGas
    forecast: Forecast
    slots: Callable[[], int]
    worker_problem: Callable[[], str | None]
    draining: Callable[[], bool]
    unserved: Callable[[str], str | None]
    job_bytes: Callable[[int], int]
    store_problem: Callable[[], str | None]
    withdrawn: Callable[[], str | None]


class Admitting:
    """Carries out EVALUATE by the admission that is in force when an evaluation begins."""

    def __init__(self, config: Config, prices: Prices, around: Surroundings) -> None:
        self._around = around
        self._admission = self.built(config, prices)

    def built(self, config: Config, prices: Prices) -> Admission:
        """Return the admission that goes by these settings and prices, for ``take_over``."""
        around = self._around
        contracts = around.market.contracts
        terms = Terms(
            limits=config.admission,
            standing=prices.standing,
            own_prices=prices.own,
            estimate=around.times.estimate,
            known_multiple=config.deal.results_collateral_multiple,
            mediators=config.market.mediators,
            provider=around.provider,
            market=contracts.place,
            spender=contracts.addresses.payments if contracts.rules.needs_allowance else None,
            data_dir=config.node.directory,
            unserved=around.unserved,
            job_bytes=around.job_bytes,
            store_problem=around.store_problem,
            proposes=config.market.proposes,
            takes_hires=config.market.takes_hires,
            withdrawn=around.withdrawn,
        )
        return Admission(
            around.market.chain,
            contracts,
            self._exposure,
            terms,
            promise=around.book.promise,
            records=around.ledger,
            rival=around.rivals.objection,
        )

    def take_over(self, admission: Admission) -> None:
        """Evaluate by it from the next evaluation on."""
        self._admission = admission

    @property
    def rivals(self) -> Rivals:
        """Who else competes for the jobs that are taken."""
        return self._around.rivals

    def _exposure(self, requester: Address) -> Exposure:
        around = self._around
        book, rules = around.book, around.market.contracts.rules
        unpaid_deals, unpaid_wei = unpaid_by(requester, book.open_jobs())
        return Exposure(
            open_deals=book.open_deals(),
            open_proposals_of_requester=book.proposals_to(requester),
            committed_wei=book.committed_wei(),
            pulls_wei=book.pulls_wei(),
            jobs_ahead=book.jobs_ahead(),
            ahead_s=around.forecast.ahead_s(),
            slots=around.slots(),
            worker_problem=around.worker_problem(),
            paused=around.draining(),
            unpaid_deals=unpaid_deals,
            unpaid_wei=unpaid_wei,
            open_proposals=book.open_proposals(),
            bid_gas=around.bids.last_hour(),
            owed_wei=owed_wei(book.open_jobs(), requester) if rules.escrow_can_drain else Wei(0),
        )

    async def evaluate(self, job: Job, effect: Effect) -> JobEvent | None:
        """Carry out one order, as ``Admission.evaluate`` does."""
        return await self._admission.evaluate(job, effect)

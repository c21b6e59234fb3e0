"""Coming to a deal: proposals are gathered, published offers are at hand, the cheapest that holds is taken.

At equal price a proposal is taken before an offer: its provider has bound itself already.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from node.chain.client import Chain
from node.chain.contracts import MarketContracts
from node.clock import Clock
from node.job.deal import Deal
from node.job.spec import JobSpec
from node.requester.agreeing import Agreeing
from node.requester.discovery import ProposalWatch
from node.requester.hiring import Hiring
from node.requester.offers import Offer
from node.requester.patience import Patience
from node.requester.proposals import Limits, Proposal, Request
from node.requester.runs import Run
from node.requester.steps import Chosen, OfferIgnored, OnStep, ProposalIgnored
from node.requester.track_record import TrackRecord, TrackRecords
from node.types import Address, Wei

Ignored = list[ProposalIgnored | OfferIgnored]


class Negotiating:
    """Finds the deal of one run at a time. Durations in seconds."""

    def __init__(
        self,
        *,
        address: Address,
        chain: Chain,
        contracts: MarketContracts,
        hiring: Hiring,
        track_records: TrackRecords,
        agreeing: Agreeing,
        gateway_of: Callable[[Deal], Awaitable[str]],
        limits: Limits,
        confirmations: int,
        wait_s: float,
        gather_s: float,
        poll_interval_s: float,
        clock: Clock,
        patience: Patience,
        on_step: OnStep,
    ) -> None:
        self._address = address
        self._chain = chain
        self._contracts = contracts
        self._hiring = hiring
        self._track_records = track_records
        self._agreeing = agreeing
        self._gateway_of = gateway_of
        self._limits = limits
        self._confirmations = confirmations
        self._wait_s = wait_s
        self._gather_s = gather_s
        self._poll_interval_s = poll_interval_s
        self._clock = clock
        self._patience = patience
        self._on_step = on_step

    async def find(self, run: Run, spec: JobSpec, offers: list[Offer] | None) -> Deal | Ignored:
        """Return the deal that was agreed to, or everything that was looked at and could not be taken.

        ``offers`` None: those that may be hired on are looked for while proposals are gathered.
        """
        if run.provider is not None or run.matching == "hire":
            return await self._hire_best(run, spec, offers or [])
        looking = None
        if run.matching == "both" and offers is None:
            looking = asyncio.create_task(self._hiring.candidates(run, spec))
        try:
            return await self._cheapest(run, spec, offers or [], looking)
        finally:
            if looking is not None:
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)

    async def _cheapest(
        self,
        run: Run,
        spec: JobSpec,
        offers: list[Offer],
        looking: "asyncio.Task[list[Offer]] | None",
    ) -> Deal | Ignored:
        self._track_records.begin()
        watch = self._watch(run, self._track_records.known)
        waiting, ignored = list(offers), list[ProposalIgnored | OfferIgnored]()
        deadline = self._clock.monotonic() + self._wait_s
        choose_at: float | None = None
        while True:
            await self._patience.ask(watch.poll)
            now = self._clock.monotonic()
            due = now >= deadline or (choose_at is not None and now >= choose_at)
            if looking is not None and (looking.done() or due):
                # Looking for offers is bounded in time; a choice without them could cost more than that.
                waiting, looking = await looking, None
            if choose_at is None and (watch.count or waiting):
                choose_at = now + self._gather_s
            if due:
                proposal = await self._patience.ask(watch.best)
                offer = waiting[0] if waiting else None
                # A provider that proposes and can be hired on the same terms is one way to go.
                out_of = watch.count + sum(other.provider not in watch.providers for other in waiting)
                if offer is not None and _is_better(offer, proposal):
                    waiting.pop(0)
                    hired = await self._hiring.hire(run, spec, offer, out_of)
                    if isinstance(hired, Deal):
                        return hired
                    ignored.append(self._hiring.ignore(offer, hired))
                    continue
                if proposal is not None:
                    reason = await self._take(run, proposal, out_of)
                    if reason is None:
                        return proposal.deal
                    watch.discard(proposal, reason)
                    continue
                if now >= deadline:
                    return [*watch.ignored, *ignored]
                choose_at = None
            await self._clock.sleep(self._poll_interval_s)

    async def _hire_best(self, run: Run, spec: JobSpec, offers: list[Offer]) -> Deal | Ignored:
        ignored: Ignored = []
        for number, offer in enumerate(offers):
            hired = await self._hiring.hire(run, spec, offer, len(offers) - number)
            if isinstance(hired, Deal):
                return hired
            ignored.append(self._hiring.ignore(offer, hired))
        return ignored

    async def _take(self, run: Run, proposal: Proposal, out_of: int) -> str | None:
        deal = proposal.deal
        self._on_step(Chosen(deal.deal_id, deal.members.resource_provider, proposal.price_wei, out_of))
        return await self._agreeing.take(run, deal, first=False)

    def _watch(self, run: Run, track_records: Mapping[Address, TrackRecord]) -> ProposalWatch:
        return ProposalWatch(
            chain=self._chain,
            contracts=self._contracts,
            request=Request(self._contracts.place, run.number, self._address),
            limits=replace(self._limits, max_price_wei=Wei(run.max_price_wei)),
            from_block=run.from_block,
            confirmations=self._confirmations,
            gateway_of=self._gateway_of,
            track_records=track_records,
            on_step=self._on_step,
        )


def _is_better(offer: Offer, proposal: Proposal | None) -> bool:
    if proposal is None:
        return True
    return (offer.price_wei, offer.locked_wei) < (proposal.price_wei, proposal.locked_wei)

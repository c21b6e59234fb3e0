"""A requester of one job who goes by what the chain says, also when that changes under its feet."""

from enum import StrEnum

from node.chain import abi
from node.chain.devnet import REQUESTER, dev_signer
from node.job.deal import Agreement, AgreementState, Deal
from node.types import Address, DealId, JobId
from tests.chaos.harness.arena import Arena, Provider
from tests.chaos.harness.standing import MODULE, standing_deal

NEXT_JOB_ID = abi.selector("nextJobID()")


class Event(StrEnum):
    """The transaction whose block is dropped."""

    OFFER = "offer"
    AGREE = "agree mined"
    DEAL = "deal agreed"
    RESULT = "result mined"
    ACCEPT = "accept"
    PAYMENT = "payment"


class Requester:
    """One account that posts, agrees and accepts by what the chain says, as far as it is allowed to.

    With ``hires`` it agrees first, to the provider's standing terms.
    """

    def __init__(
        self, arena: Arena, provider: Provider, job: int, prompt: str, *, hires: bool = False
    ) -> None:
        self.address: Address = dev_signer(REQUESTER).address
        self.job = job
        self.prompt = prompt
        self.allowed = {Event.OFFER}
        self._arena = arena
        self._provider = provider
        self._hired = self._deal() if hires else None

    def _deal(self) -> Deal:
        return standing_deal(
            self._provider,
            self._arena.market.contracts,
            number=self.job,
            requester=self.address,
            inputs=(f"Prompt={self.prompt}",),
        )

    async def act(self) -> None:
        """Do what is next, unless a transaction still waits."""
        chain, contracts = self._arena.market.chain, self._arena.market.contracts
        if await chain.nonce(self.address, pending=True) != await chain.nonce(self.address):
            return
        if Event.OFFER in self.allowed and await self._posted() < self.job:
            run_job = contracts.run_job(MODULE, (f"Prompt={self.prompt}",), self.address)
            await self._arena.send(self.address, run_job)
            return
        deal_id, agreement = await self.agreement()
        if deal_id is None:
            return
        stands = agreement.resource_provider_agreed_at or self._hired is not None
        ours_next = stands and not agreement.job_creator_agreed_at
        if Event.DEAL in self.allowed and ours_next and agreement.state is AgreementState.DEAL_NEGOTIATING:
            deal = self._hired or await contracts.get_deal(deal_id)
            if deal is not None:
                await self._arena.send(self.address, contracts.agree(deal))
        if Event.ACCEPT in self.allowed and agreement.state is AgreementState.RESULTS_SUBMITTED:
            await self._arena.send(self.address, contracts.accept_result(deal_id))

    async def agreement(self) -> tuple[DealId | None, Agreement]:
        """Return the deal of the job, as the provider names it, and its state at the newest block."""
        if self._hired is not None:
            deal_id = self._hired.deal_id
            return deal_id, await self._arena.market.contracts.get_agreement(deal_id)
        job = await self._provider.job(JobId(f"j{self.job}"))
        if job is None or job["deal_id"] is None:
            return None, Agreement(AgreementState.DEAL_NEGOTIATING)
        deal_id = DealId(job["deal_id"])
        return deal_id, await self._arena.market.contracts.get_agreement(deal_id)

    async def has_happened(self, event: Event) -> bool:
        """Whether the event is in the newest block or before."""
        if event is Event.OFFER:
            return await self._posted() >= self.job
        _, agreement = await self.agreement()
        match event:
            case Event.AGREE:
                return agreement.resource_provider_agreed_at > 0
            case Event.DEAL:
                return agreement.deal_agreed_at > 0
            case Event.RESULT:
                return agreement.results_submitted_at > 0
            case Event.ACCEPT:
                return agreement.results_accepted_at > 0
            case Event.PAYMENT:
                return agreement.timeout_judge_results_at > 0

    async def _posted(self) -> int:
        """Return how many jobs were posted."""
        slot = {"to": self._arena.market.addresses.job_manager, "data": "0x" + NEXT_JOB_ID.hex()}
        return int(await self._arena.market.rpc.call("eth_call", [slot, "latest"]), 16)

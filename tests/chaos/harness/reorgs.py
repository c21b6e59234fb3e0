"""T5: a reorganisation at every event of a deal, at many depths, in four ways.

The chain mines only when told, so that an event lies exactly as deep as the case says. After the
reorganisation the requester goes on by what the chain then says, and every deal must come to its end.
"""

import asyncio
import random
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum

from node.chain.devnet import MEDIATOR, PROVIDER, REQUESTER, dev_signer
from node.job.deal import AgreementState
from node.types import JobId, Wei
from tests.chaos.harness.arena import Arena, Provider
from tests.chaos.harness.findings import Findings
from tests.chaos.harness.invariants import check
from tests.chaos.harness.requester import Event, Requester
from tests.chaos.harness.standing import MODULE
from tests.winding import drop_blocks

DEPTHS = (1, 2, 3, 5, 8, 12, 20, 64)
CONFIRMATIONS = 3
JUDGE_WINDOW_S = 86_400
LIMIT_S = 120.0
SETTINGS = {
    "chain": {"confirmations": CONFIRMATIONS, "resubmit_after_s": 0.5},
    "worker": {"profile": "fake:0"},
    "admission": {"max_unpaid_deals_per_requester": 64},
}


class Variant(StrEnum):
    """What the new blocks hold of the dropped transactions."""

    AGAIN = "re-included"
    GONE = "dropped"
    LATER = "other order"
    CONFLICT = "replaced by a conflicting transaction"


OURS = frozenset({Event.AGREE, Event.RESULT, Event.PAYMENT})
"""Events that the provider's own transaction brings about; the others are the requester's."""


@dataclass(frozen=True)
class Case:
    """One cell of the matrix."""

    event: Event
    depth: int
    variant: Variant


class Reorganiser:
    """Plays the cases of one event and one variant on one node, one deal after another."""

    def __init__(self, arena: Arena, provider: Provider, seed: int) -> None:
        self._arena = arena
        self._provider = provider
        self._rpc = arena.market.rpc
        self._chance = random.Random(seed)

    async def play(self, case: Case, job: int) -> str:
        """Play one case and return the phase in which the job ended."""
        requester = Requester(self._arena, self._provider, job, f"{case.event} {case.depth} {case.variant}")
        await self._bring_about(case.event, requester)
        event_block = (await self._arena.market.chain.head()).number
        if case.depth > 1:
            await self._rpc.call("anvil_mine", [hex(case.depth - 1)])
        await self._read_up_to(event_block + case.depth - 1 - CONFIRMATIONS)
        await self._reorganise(case, requester, event_block)
        requester.allowed |= {Event.DEAL} if case.event is Event.PAYMENT else {Event.DEAL, Event.ACCEPT}
        return await self._end(requester, case)

    async def _bring_about(self, event: Event, requester: Requester) -> None:
        requester.allowed |= {Event.DEAL} if event not in {Event.OFFER, Event.AGREE} else set()
        requester.allowed |= {Event.ACCEPT} if event is Event.ACCEPT else set()
        waited = False
        while not await requester.has_happened(event):
            await requester.act()
            if event is Event.PAYMENT and not waited and await requester.has_happened(Event.RESULT):
                await self._rpc.call("evm_increaseTime", [hex(JUDGE_WINDOW_S + 1)])
                waited = True
            await self._rpc.call("evm_mine", [])
            await asyncio.sleep(0.01)

    async def _reorganise(self, case: Case, requester: Requester, event_block: int) -> None:
        block = await self._rpc.call("eth_getBlockByNumber", [hex(event_block), False])
        before = list(block["transactions"])
        raws = [await self._rpc.call("eth_getRawTransactionByHash", [tx_hash]) for tx_hash in before]
        pairs: list[list[object]] = []
        match case.variant:
            case Variant.AGAIN:
                # Another's transaction comes last: with the same content the block could be the same block.
                pairs = [[item, 0] for item in (*raws, self._of_a_bystander())]
            case Variant.LATER:
                # Another's log comes first, so that also in the same block every place is a later one.
                pairs = [[item, case.depth - 1] for item in (self._of_a_bystander(), *raws)]
            case Variant.CONFLICT:
                pairs = [[await self._conflicting(case, requester, event_block), 0]]
            case Variant.GONE:
                pass
        # What waits in the pool was sent for the old blocks: some of it goes with them.
        if self._chance.random() < 0.5:
            await self._rpc.call("anvil_dropAllTransactions", [])
        await drop_blocks(self._rpc, event_block - 1, pairs)
        if (await self._rpc.call("eth_getBlockByNumber", [hex(event_block), False]))["hash"] == block["hash"]:
            raise AssertionError(f"{case}: block {event_block} is still there")
        await self._must_have_moved(case, event_block, before)

    async def _must_have_moved(self, case: Case, event_block: int, before: list[str]) -> None:
        """Raise AssertionError unless the event's transactions are where the variant puts them."""
        places = {tx_hash: (event_block, index) for index, tx_hash in enumerate(before)}
        match case.variant:
            case Variant.GONE | Variant.CONFLICT:
                wanted = dict.fromkeys(before)
            case Variant.AGAIN:
                wanted = places
            case Variant.LATER:
                wanted = {
                    tx_hash: (event_block + case.depth - 1, index + 1)
                    for tx_hash, (_, index) in places.items()
                }
        found = {tx_hash: await self._place(tx_hash) for tx_hash in before}
        if not before or found != wanted:
            raise AssertionError(f"{case}: the event is at {found} instead of {wanted}")

    async def _place(self, tx_hash: str) -> tuple[int, int] | None:
        receipt = await self._rpc.call("eth_getTransactionReceipt", [tx_hash])
        if receipt is None:
            return None
        return int(receipt["blockNumber"], 16), int(receipt["transactionIndex"], 16)

    def _of_a_bystander(self) -> dict[str, str]:
        contracts, bystander = self._arena.market.contracts, dev_signer(MEDIATOR).address
        call = contracts.approve(bystander, Wei(1))
        return {"from": bystander, "to": call.to, "data": "0x" + call.data.hex(), "gas": hex(100_000)}

    async def _conflicting(self, case: Case, requester: Requester, event_block: int) -> dict[str, str]:
        sender = dev_signer(PROVIDER).address if case.event in OURS else requester.address
        nonce = await self._arena.market.chain.nonce(sender, at=event_block - 1)
        request = {"from": sender, "nonce": hex(nonce), "gas": hex(3_000_000)}
        if case.event is Event.OFFER:
            requester.prompt += " instead"
            call = self._arena.market.contracts.run_job(
                MODULE, (f"Prompt={requester.prompt}",), requester.address
            )
            return request | {"to": call.to, "data": "0x" + call.data.hex()}
        return request | {"to": sender, "value": hex(Wei(1))}

    async def _read_up_to(self, block_number: int) -> None:
        """Wait until the node has read the block; what it does about it is its own business."""
        while True:
            status = await self._provider.status()
            if status is not None and (status["chain"]["cursor"] or 0) >= block_number:
                return
            self._must_live()
            await asyncio.sleep(0.01)

    async def step(self, requester: Requester) -> bool:
        """Let the requester act, mine a block, and tell whether the job is at its end."""
        await requester.act()
        await self._rpc.call("evm_mine", [])
        await asyncio.sleep(0.02)
        self._must_live()
        return await requester.has_happened(Event.ACCEPT)

    async def drop(self, depth: int, keep: float) -> bool:
        """Drop the newest blocks; each of their transactions comes back with probability ``keep``.

        Returns whether the node had read a block that is gone and held a transaction.
        """
        status = await self._provider.status()
        cursor = (status["chain"]["cursor"] if status is not None else None) or 0
        was_read = False
        head = (await self._arena.market.chain.head()).number
        pairs: list[list[object]] = []
        gone: set[str] = set()
        for offset, number in enumerate(range(head - depth + 1, head + 1)):
            block = await self._rpc.call("eth_getBlockByNumber", [hex(number), True])
            was_read |= number <= cursor and bool(block["transactions"])
            for transaction in block["transactions"]:
                # A later nonce cannot be mined without the earlier ones.
                if transaction["from"] in gone or self._chance.random() > keep:
                    gone.add(transaction["from"])
                    continue
                raw = await self._rpc.call("eth_getRawTransactionByHash", [transaction["hash"]])
                pairs.append([raw, offset])
        await drop_blocks(self._rpc, head - depth, pairs)
        return was_read

    async def _end(self, requester: Requester, case: Case) -> str:
        passed = False
        while True:
            await requester.act()
            if case.event is Event.PAYMENT and not passed and await requester.has_happened(Event.RESULT):
                await self._rpc.call("evm_increaseTime", [hex(JUDGE_WINDOW_S + 1)])
                passed = True
            await self._rpc.call("evm_mine", [])
            noticed = case.depth <= CONFIRMATIONS or self._has_noticed(requester)
            job = await self._provider.job(JobId(f"j{requester.job}"))
            if noticed and job is not None and job["terminal"] and await self._final(requester, job):
                return str(job["phase"])
            self._must_live()
            await asyncio.sleep(0.02)

    async def _final(self, requester: Requester, job: dict[str, object]) -> bool:
        """Whether the end rests on the chain as it is now."""
        if job["phase"] in {"LAPSED", "REFUSED"}:
            return False
        _, agreement = await requester.agreement()
        return agreement.state in {
            AgreementState.RESULTS_ACCEPTED,
            AgreementState.TIMEOUT_JUDGE_RESULTS,
        }

    def _has_noticed(self, requester: Requester) -> bool:
        """Whether the journal says that blocks under the job were dropped."""
        query = "SELECT count(*) FROM events WHERE job_id = ? AND kind = 'BlocksDropped'"
        with closing(self._provider.journal()) as journal:
            (count,) = journal.execute(query, (f"j{requester.job}",)).fetchone()
        return bool(count)

    def _must_live(self) -> None:
        if not self._provider.node.alive:
            raise AssertionError(f"the node ended:\n{self._provider.tail()}")


async def approve(arena: Arena) -> None:
    """Let the market take the requester's money, in a block that no reorganisation reaches."""
    chain, contracts = arena.market.chain, arena.market.contracts
    requester = dev_signer(REQUESTER).address
    before = await chain.nonce(requester)
    await arena.send(requester, contracts.approve(arena.market.addresses.payments, Wei(10**22)))
    while await chain.nonce(requester) == before:
        await asyncio.sleep(0.01)


async def reorganise(arena: Arena, event: Event, variant: Variant, seed: int) -> Findings:
    """Play one event and one variant at every depth; return what the invariants found afterwards.

    The arena is of no use afterwards: Anvil does not go back to a snapshot over blocks it has replaced.
    """
    rpc = arena.market.rpc
    provider = arena.provider(**SETTINGS)
    prompts: dict[int, str] = {}
    try:
        async with asyncio.timeout(LIMIT_S):
            await approve(arena)
            await rpc.call("evm_setAutomine", [False])
            await provider.start()
            player = Reorganiser(arena, provider, seed)
            for job, depth in enumerate(DEPTHS, 1):
                case = Case(event, depth, variant)
                phase = await player.play(case, job)
                prompts[job] = f"{event} {depth} {variant}" + (
                    " instead" if (event, variant) == (Event.OFFER, Variant.CONFLICT) else ""
                )
                expected = {"PAID", "FAILED"} if prompts[job].endswith("instead") else {"PAID"}
                if phase not in expected:
                    raise AssertionError(f"{case}: ended as {phase}\n{provider.tail()}")
            await rpc.call("anvil_mine", [hex(CONFIRMATIONS + 1)])
            return await check(arena, provider, prompts)
    finally:
        await provider.kill()

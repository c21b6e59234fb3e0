"""The only way to spend: one manager per key turns intents into confirmed transactions.

Simulate, reserve a nonce in the store, sign, write the payload down, broadcast, follow. Two intents never
share a nonce, one intent never has payloads alive under two nonces, and a crash between any two steps is
picked up by ``resume``. Following a payload is the business of ``pursuit``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import structlog
import tenacity

from node.chain.client import Call, Chain
from node.chain.fees import Fees, TxSettings, first_fees
from node.chain.outcomes import Failed, Mined, TxIntent, TxOutcome, TxStore
from node.chain.payload import Payload
from node.chain.pursuit import Displaced, Pursuit, sign_and_record
from node.chain.reverts import Reverted
from node.chain.rpc import RpcError
from node.chain.signer import Signer
from node.clock import Clock
from node.errors import Fatal, RefusedByPolicy, Retryable, Unreachable
from node.job.transactions import TxRow, TxStatus
from node.types import Address, BlockNumber

__all__ = ["Failed", "Mined", "TxIntent", "TxManager", "TxOutcome", "TxSettings", "TxStore"]

_SUCCESSOR = "~"
"""Separates an intent's id from the count of nonces it lost: ``j17:agree~2`` is its second row."""

_ASKING_ATTEMPTS = 4
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a simulated call will be sent with."""

    gas: int
    fees: Fees


class TxManager:
    """Sends the transactions of one key on one chain. Call ``resume`` before the first ``send``."""

    def __init__(
        self,
        chain: Chain,
        signer: Signer,
        store: TxStore,
        *,
        settings: TxSettings,
        clock: Clock,
        chain_id: int,
    ) -> None:
        self._chain = chain
        self._signer = signer
        self._store = store
        self._settings = settings
        self._clock = clock
        self._chain_id = chain_id
        self._running: dict[str, asyncio.Task[TxOutcome]] = {}
        self._calls: dict[str, Call] = {}
        # Held from reading the next nonce until the payload is written down, so that an unsigned row is
        # always the one with the highest nonce and giving it up leaves no gap.
        self._nonce_lock = asyncio.Lock()
        self._next_nonce = 0
        self._log = structlog.get_logger()

    @property
    def busy(self) -> bool:
        """Whether any intent has no outcome yet."""
        return bool(self._running)

    def pending(self) -> dict[str, str]:
        """Return the intents without an outcome: id to what it does."""
        return {intent_id: call.what for intent_id, call in self._calls.items()}

    async def send(self, intent: TxIntent) -> TxOutcome:
        """Send a call once for ever and return its confirmed outcome.

        The same id again returns the same outcome, also after a restart and also while the first send is
        under way. A call refused by the simulation or by the signer's policy took no nonce and may be sent
        again under the same id. Cancelling the caller does not take a transaction back.

        Raises Unreachable or FeesAboveCap only while no nonce is taken; Fatal if the id stands for another
        call already.
        """
        if not intent.intent_id or _SUCCESSOR in intent.intent_id:
            raise Fatal(f"intent id {intent.intent_id!r} must be non-empty and without {_SUCCESSOR!r}")
        # Payloads are compared with what was asked, so addresses need one spelling.
        intent = replace(intent, call=replace(intent.call, to=Address(intent.call.to.lower())))
        running = self._running.get(intent.intent_id)
        if running is None:
            running = self._start(intent.intent_id, intent.call, self._carry_out(intent))
        elif not _same(self._calls[intent.intent_id], intent.call):
            raise Fatal(f"intent {intent.intent_id} is under way with another call: ids must be unique")
        return await asyncio.shield(running)

    async def resume(self) -> None:
        """Rebroadcast the written payloads of every open row and follow them.

        A row without a payload is given up: nothing was signed for its nonce, so sending the intent again
        starts afresh. Returns at once; outcomes reach whoever sends the same intent again.
        """
        for row in await self._store.open_rows():
            intent_id = row.intent_id.partition(_SUCCESSOR)[0]
            if intent_id in self._running:
                continue
            if not row.attempts:
                await self._give_up(row, "interrupted before it was signed")
                continue
            call = Call(row.to, row.data, row.what, row.value_wei)
            self._log.info("tx_resumed", intent=intent_id, nonce=row.nonce, attempts=len(row.attempts))
            self._start(intent_id, call, self._carry_out(TxIntent(intent_id, call)))

    async def close(self) -> None:
        """Stop following. Open rows stay open for the next ``resume``."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(
        self, intent_id: str, call: Call, work: Coroutine[Any, Any, TxOutcome]
    ) -> asyncio.Task[TxOutcome]:
        task = asyncio.create_task(work, name=f"tx {intent_id}")
        self._running[intent_id] = task
        self._calls[intent_id] = call
        task.add_done_callback(lambda done: self._finish(intent_id, done))
        return task

    def _finish(self, intent_id: str, task: asyncio.Task[TxOutcome]) -> None:
        del self._running[intent_id], self._calls[intent_id]
        # Also marks the error as seen: after a restart nobody may be waiting for this intent yet.
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.warning("tx_given_up", intent=intent_id, problem=str(error)[:300])

    async def _carry_out(self, intent: TxIntent) -> TxOutcome:
        row_id, row = await self._current_row(intent)
        while True:
            if row is not None and row.status is not TxStatus.OPEN:
                return _settled(intent.intent_id, row)
            taken = await self._take_nonce(row_id, intent.call, row)
            if isinstance(taken, Failed):
                return Failed(intent.intent_id, taken.reason, None)
            try:
                outcome = await self._pursue(taken)
            except Displaced:
                row_id, row = _successor(row_id), None
                continue
            return _named(outcome, intent.intent_id)

    async def _current_row(self, intent: TxIntent) -> tuple[str, TxRow | None]:
        """Return the intent's newest row: a refused one lost its nonce and made room for a successor."""
        row_id = intent.intent_id
        while True:
            row = await self._store.row(row_id)
            if row is not None and not _same(Call(row.to, row.data, row.what, row.value_wei), intent.call):
                raise Fatal(f"intent {row_id} was used for another call before: ids must be unique")
            if row is None or row.status is not TxStatus.REFUSED:
                return row_id, row
            row_id = _successor(row_id)

    async def _take_nonce(self, row_id: str, call: Call, row: TxRow | None) -> TxRow | Failed:
        """Return an open row with a signed payload, made if necessary."""
        if row is not None and row.attempts:
            return row
        if row is not None:
            raise Fatal(f"intent {row_id} has a nonce but no payload: resume must run before the first send")
        plan = await self._simulate(row_id, call)
        if isinstance(plan, Failed):
            return plan
        async with self._nonce_lock:
            nonce = await self._asking(self._read_next_nonce)
            reserved = await self._store.reserve(row_id, call.what, call.to, call.data, call.value_wei, nonce)
            return await self._sign_first(reserved, call, plan)

    async def _simulate(self, row_id: str, call: Call) -> _Plan | Failed:
        """Try the call without a transaction; a Failed says why it would not work or cannot be paid for."""
        sender = self._signer.address

        async def ask() -> _Plan | Failed:
            try:
                await self._chain.call(call, sender)
                estimate = await self._chain.estimate_gas(call, sender)
            except Reverted as reverted:
                return Failed(row_id, reverted.reason, None)
            gas = estimate * (100 + self._settings.gas_margin_percent) // 100
            fees = first_fees(await self._chain.fees(), self._settings)
            needed = gas * fees.max_fee_wei + call.value_wei
            balance = await self._chain.balance(sender)
            if balance < needed:
                return Failed(row_id, f"wallet {sender} holds {balance} wei for gas, needs {needed}", None)
            return _Plan(gas, fees)

        plan = await self._asking(ask)
        if isinstance(plan, Failed):
            self._log.info("tx_refused", intent=row_id, what=call.what, reason=plan.reason)
        return plan

    async def _read_next_nonce(self) -> int:
        # The pending count also sees foreign transactions of this key that still wait.
        pending = await self._chain.nonce(self._signer.address, pending=True)
        return max(pending, self._next_nonce)

    async def _sign_first(self, row: TxRow, call: Call, plan: _Plan) -> TxRow | Failed:
        if row.nonce is None:
            raise Fatal(f"the journal opened intent {row.intent_id} without a nonce")
        self._next_nonce = max(self._next_nonce, row.nonce + 1)
        payload = Payload(self._chain_id, row.nonce, call.to, call.data, call.value_wei, plan.gas, plan.fees)
        # The nonce is taken: a signer that cannot be asked now is waited for, as long as it takes.
        patient = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(Retryable),
            wait=tenacity.wait_exponential(multiplier=0.5, max=15.0),
            sleep=self._clock.sleep,
        )
        try:
            await patient(sign_and_record, row.intent_id, payload, self._signer, self._store)
        except RefusedByPolicy as refusal:
            await self._give_up(row, str(refusal))
            return Failed(row.intent_id, str(refusal), None)
        signed = await self._store.row(row.intent_id)
        if signed is None or not signed.attempts:
            raise Fatal(f"the journal lost the payload of intent {row.intent_id}")
        return signed

    async def _give_up(self, row: TxRow, reason: str) -> None:
        """Settle a row whose nonce nothing was ever signed for: the next reservation takes it again.

        The nonce lock makes it the highest one, so no gap stays behind.
        """
        await self._store.settle(row.intent_id, TxStatus.REFUSED, None, None, 0, 0, reason)
        self._next_nonce = min(self._next_nonce, row.nonce or 0)
        self._log.info("tx_given_back", intent=row.intent_id, what=row.what, nonce=row.nonce, reason=reason)

    async def _pursue(self, row: TxRow) -> TxOutcome:
        pursuit = Pursuit(
            row,
            chain=self._chain,
            signer=self._signer,
            store=self._store,
            settings=self._settings,
            clock=self._clock,
        )
        return await pursuit.run()

    async def _asking(self, question: Callable[[], Awaitable[Answer]]) -> Answer:
        """Ask the chain before a nonce is taken: a few tries, then the caller may decide to wait."""
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type((Unreachable, RpcError)),
            wait=tenacity.wait_exponential(multiplier=0.2, max=2.0),
            stop=tenacity.stop_after_attempt(_ASKING_ATTEMPTS),
            sleep=self._clock.sleep,
            reraise=True,
        )
        return await retrying(question)


def _successor(row_id: str) -> str:
    intent_id, _, count = row_id.partition(_SUCCESSOR)
    return f"{intent_id}{_SUCCESSOR}{int(count or 1) + 1}"


def _named(outcome: TxOutcome, intent_id: str) -> TxOutcome:
    return replace(outcome, intent_id=intent_id)


def _settled(intent_id: str, row: TxRow) -> TxOutcome:
    if row.status is TxStatus.MINED and row.tx_hash is not None and row.block_number is not None:
        return Mined(intent_id, row.tx_hash, BlockNumber(row.block_number), row.gas_used, row.fee_wei)
    return Failed(intent_id, row.reason or "reverted", row.tx_hash)


def _same(one: Call, other: Call) -> bool:
    return (one.to, one.data, one.value_wei) == (other.to, other.data, other.value_wei)

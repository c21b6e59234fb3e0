"""The only way to spend: one manager per key turns intents into confirmed transactions.

Simulate, reserve a nonce in the store, sign, write the payload down, broadcast, follow. Two intents never
share a nonce, one intent never has payloads alive under two nonces, and a crash between any two steps is
picked up by ``resume``. Which nonce is next is the business of ``line``, following a payload that of
``pursuit``.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import structlog
import tenacity

from node.chain.broadcast import Acceptance
from node.chain.client import Call, Chain
from node.chain.fees import Fees, TxSettings, first_fees
from node.chain.line import Line, Overtaken
from node.chain.lineage import SEPARATOR, call_of, intent_of, newest_row, same, settled, successor
from node.chain.outcomes import Failed, Mined, TxIntent, TxOutcome, TxStore
from node.chain.payload import Payload
from node.chain.pursuit import Displaced, Pursuit, send_first, sign_and_record
from node.chain.reverts import Reverted
from node.chain.rpc import RpcError
from node.chain.signer import Signer
from node.clock import Clock
from node.errors import Fatal, NodeError, RefusedByPolicy, Retryable, Unreachable
from node.job.amounts import tokens
from node.job.transactions import TxRow, TxStatus
from node.types import Address

__all__ = ["Failed", "Mined", "TxIntent", "TxManager", "TxOutcome", "TxSettings", "TxStore"]

_GAP = "gap:"
"""Begins the id of an intent whose only purpose is to use a nonce that nothing else will use."""

_BETWEEN_LOOKS = 3
"""Poll intervals after which a gap must still be one."""

_ASKING_ATTEMPTS = 4
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a simulated call will be sent with."""

    gas: int
    fees: Fees
    mined: int
    """How many transactions of the key were in blocks when the call was found to succeed."""


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
        self._began: dict[str, float] = {}
        self._sent: dict[str, Acceptance] = {}
        # Held from reading the next nonce until the payload is written down, so that an unsigned row is
        # always the one with the highest nonce and giving it up leaves no gap.
        self._nonce_lock = asyncio.Lock()
        self._line = Line(chain, signer.address, settings=settings, clock=clock)
        self._log = structlog.get_logger()

    @property
    def busy(self) -> bool:
        """Whether any intent has no outcome yet."""
        return bool(self._running)

    def pending(self) -> dict[str, str]:
        """Return the intents without an outcome: id to what it does."""
        return {intent_id: call.what for intent_id, call in self._calls.items()}

    def oldest_s(self) -> float | None:
        """Return for how many seconds the oldest intent without an outcome has been followed, or None."""
        began = min(self._began.values(), default=None)
        return None if began is None else round(self._clock.monotonic() - began, 1)

    async def send(self, intent: TxIntent) -> TxOutcome:
        """Send a call once for ever and return its confirmed outcome.

        The same id again returns the same outcome, also after a restart and also while the first send is
        under way. A call refused by the simulation or by the signer's policy took no nonce and may be sent
        again under the same id. Cancelling the caller does not take a transaction back.

        Raises Unreachable or FeesAboveCap only while no nonce is taken; Fatal if the id stands for another
        call already.
        """
        if not intent.intent_id or SEPARATOR in intent.intent_id:
            raise Fatal(f"intent id {intent.intent_id!r} must be non-empty and without {SEPARATOR!r}")
        # Payloads are compared with what was asked, so addresses need one spelling.
        intent = replace(intent, call=replace(intent.call, to=Address(intent.call.to.lower())))
        running = self._running.get(intent.intent_id)
        if running is None:
            running = self._start(intent.intent_id, intent.call, self._carry_out(intent))
        elif not same(self._calls[intent.intent_id], intent.call):
            raise Fatal(f"intent {intent.intent_id} is under way with another call: ids must be unique")
        return await asyncio.shield(running)

    async def row(self, intent_id: str) -> TxRow | None:
        """Return what is known of an intent: its newest row, None while it has no nonce."""
        return (await newest_row(self._store, intent_id))[1]

    async def resume(self) -> None:
        """Rebroadcast the written payloads of every open row and follow them.

        A row without a payload is given up: nothing was signed for its nonce, so sending the intent again
        starts afresh. Returns at once; outcomes reach whoever sends the same intent again.
        """
        for row in await self._store.open_rows():
            if not row.attempts:
                await self._give_up(row, "interrupted before it was signed")
        await self.follow_open()

    async def follow_open(self) -> None:
        """Follow every open row with a signed payload that nobody follows yet.

        After a reorganisation these are the rows that were settled in blocks that are gone.
        """
        for row in await self._store.open_rows():
            intent_id = intent_of(row.intent_id)
            if intent_id in self._running or not row.attempts:
                continue
            if row.nonce is not None:
                self._line.taken(row.nonce)
            call = call_of(row)
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
        self._began[intent_id] = self._clock.monotonic()
        task.add_done_callback(lambda done: self._finish(intent_id, done))
        return task

    def _finish(self, intent_id: str, task: asyncio.Task[TxOutcome]) -> None:
        del self._running[intent_id], self._calls[intent_id], self._began[intent_id]
        # Also marks the error as seen: after a restart nobody may be waiting for this intent yet.
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.warning("tx_given_up", intent=intent_id, problem=str(error)[:300])

    async def _carry_out(self, intent: TxIntent) -> TxOutcome:
        row_id, row = await newest_row(self._store, intent.intent_id, intent.call)
        while True:
            if row is not None and row.status is not TxStatus.OPEN:
                return settled(intent.intent_id, row)
            taken = await self._take_nonce(row_id, intent.call, row)
            if isinstance(taken, Failed):
                return replace(taken, intent_id=intent.intent_id)
            try:
                outcome = await self._pursue(taken)
            except Displaced as lost:
                if intent.intent_id.startswith(_GAP):
                    return Failed(intent.intent_id, str(lost), None)
                row_id, row = successor(row_id), None
                continue
            return replace(outcome, intent_id=intent.intent_id)

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
            refusal = partial(self._refusal, call)
            nonce = await self._asking(partial(self._line.next_nonce, plan.mined, refusal))
            if isinstance(nonce, Overtaken):
                return Failed(row_id, nonce.reason, None)
            reserved = await self._store.reserve(row_id, call.what, call.to, call.data, call.value_wei, nonce)
            signed = await self._sign_first(reserved, call, plan)
            if isinstance(signed, TxRow):
                # Still in line: if another wallet has this nonce in the pool, the next caller has to know.
                await self._send_first(signed)
            return signed

    async def _send_first(self, row: TxRow) -> None:
        sent = await send_first(row, self._chain)
        if sent is not None:
            self._sent[row.intent_id] = sent
        if sent is Acceptance.OUTBID and row.nonce is not None:
            self._line.contested(row.nonce)

    async def _simulate(self, row_id: str, call: Call) -> _Plan | Failed:
        """Try the call without a transaction; a Failed says why it would not work or cannot be paid for."""
        sender = self._signer.address

        async def ask() -> _Plan | Failed:
            mined = await self._line.mined()
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
                short = f"the wallet holds {tokens(balance)} of the chain's token for gas and needs "
                return Failed(row_id, f"{short}{tokens(needed)}: send some to {sender}", None)
            return _Plan(gas, fees, mined)

        plan = await self._asking(ask)
        if isinstance(plan, Failed):
            self._log.info("tx_refused", intent=row_id, what=call.what, reason=plan.reason)
        return plan

    async def _refusal(self, call: Call) -> str | None:
        try:
            await self._chain.call(call, self._signer.address)
        except Reverted as reverted:
            return reverted.reason
        return None

    async def _sign_first(self, row: TxRow, call: Call, plan: _Plan) -> TxRow | Failed:
        if row.nonce is None:
            raise Fatal(f"the journal opened intent {row.intent_id} without a nonce")
        self._line.taken(row.nonce)
        payload = Payload(self._chain_id, row.nonce, call.to, call.data, call.value_wei, plan.gas, plan.fees)
        # The nonce is taken: a signer that cannot be asked now is waited for, as long as it takes.
        patient = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(Retryable),
            wait=tenacity.wait_exponential(multiplier=0.5, max=15.0),
            sleep=self._clock.sleep,
        )
        try:
            await patient(sign_and_record, row.intent_id, payload, self._signer, self._store)
        except NodeError as refusal:
            await self._give_up(row, str(refusal))
            if not isinstance(refusal, RefusedByPolicy):
                raise
            return Failed(row.intent_id, str(refusal), None, by_policy=True)
        signed = await self._store.row(row.intent_id)
        if signed is None or not signed.attempts:
            raise Fatal(f"the journal lost the payload of intent {row.intent_id}")
        return signed

    async def _give_up(self, row: TxRow, reason: str) -> None:
        """Settle a row whose nonce nothing was ever signed for: the next reservation takes it again.

        The nonce lock makes it the highest one, so no gap stays behind; or it was to fill a gap, which is
        found anew.
        """
        await self._store.settle(row.intent_id, TxStatus.REFUSED, None, None, 0, 0, reason)
        self._line.given_back(row.nonce or 0)
        self._log.info("tx_given_back", intent=row.intent_id, what=row.what, nonce=row.nonce, reason=reason)

    async def _pursue(self, row: TxRow) -> TxOutcome:
        pursuit = Pursuit(
            row,
            chain=self._chain,
            signer=self._signer,
            store=self._store,
            settings=self._settings,
            clock=self._clock,
            on_waiting_below=self._mind_the_gap,
            sent=self._sent.pop(row.intent_id, None),
        )
        return await pursuit.run()

    async def _mind_the_gap(self, count: int) -> None:
        """Fill nonce ``count`` if no transaction is left that could use it, so that ours above it can go on.

        A transaction of another wallet that we queued behind may vanish from the pools. What fills its place
        does nothing: an empty call to our own account.
        """
        if await self._is_gap(count):
            # Seen twice, because a pool may forget a transaction for a moment only.
            await self._clock.sleep(_BETWEEN_LOOKS * self._settings.poll_interval_s)
            if await self._is_gap(count):
                await self._fill(count)

    async def _is_gap(self, count: int) -> bool:
        # One that was mined and is so no more, after a reorganisation, is about to be followed again.
        if any(row.status is not TxStatus.REFUSED for row in await self._store.rows_at(count)):
            return False
        sender = self._signer.address
        return await self._chain.nonce(sender) == count == await self._chain.nonce(sender, pending=True)

    async def _fill(self, nonce: int) -> None:
        call = Call(self._signer.address, b"", f"fill the gap at nonce {nonce}")
        intent = TxIntent(f"{_GAP}{nonce}", call)
        plan = await self._simulate(intent.intent_id, call)
        if isinstance(plan, Failed):
            raise Retryable(f"{call.what}: {plan.reason}")
        async with self._nonce_lock:
            if intent.intent_id in self._running or await self._line.mined() != nonce:
                return
            row_id, row = await newest_row(self._store, intent.intent_id, intent.call)
            if row is not None:
                return
            self._log.warning("tx_nonce_gap", nonce=nonce, what=call.what)
            to, data, value = call.to, call.data, call.value_wei
            row = await self._store.reserve(row_id, call.what, to, data, value, nonce, exact=True)
            if isinstance(await self._sign_first(row, call, plan), TxRow):
                self._start(intent.intent_id, call, self._carry_out(intent))

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

"""Follows one reserved nonce to its end: broadcast, replace with higher fees, confirm, or prove it lost.

Owns nothing durable: what it learns goes into the store, so a new pursuit of the same row goes on where the
last one was killed. Which nonce a payload gets is decided in ``txmanager``.
"""

from dataclasses import replace

import structlog
import tenacity

from node.chain.broadcast import Acceptance, broadcast
from node.chain.client import Block, Call, Chain, Receipt
from node.chain.fees import Fees, TxSettings, replacement_fees
from node.chain.nonces import TakenBy, who_used_nonce
from node.chain.outcomes import Failed, Mined, TxOutcome, TxStore
from node.chain.payload import Payload, check_signed, payload_hash, read_signed
from node.chain.reverts import Reverted
from node.chain.rpc import RpcError
from node.chain.signer import Signer
from node.clock import Clock
from node.errors import RefusedByPolicy, Retryable
from node.job.transactions import TxAttempt, TxRow, TxStatus
from node.types import BlockHash, Wei

_ABSENT_HEADS = 12
"""Blocks without a trace of our payloads that prove a used nonce lost where no better proof can be had."""


class Displaced(Exception):
    """The nonce was used by a transaction that is not ours; none of our payloads can be mined any more."""


class Pursuit:
    """One open row that has at least one signed payload."""

    def __init__(
        self,
        row: TxRow,
        *,
        chain: Chain,
        signer: Signer,
        store: TxStore,
        settings: TxSettings,
        clock: Clock,
    ) -> None:
        if row.nonce is None or not row.attempts:
            raise ValueError(f"intent {row.intent_id} has no signed payload to follow")
        self._row = row
        self._nonce = row.nonce
        self._attempts = row.attempts
        self._chain = chain
        self._signer = signer
        self._store = store
        self._settings = settings
        self._clock = clock
        self._sent_at = clock.monotonic()
        self._unsent = list(row.attempts)
        self._underpriced = False
        self._refused = False
        self._seen: BlockHash | None = None
        self._absent_heads = 0
        self._log = structlog.get_logger().bind(intent=row.intent_id, nonce=self._nonce)

    async def run(self) -> TxOutcome:
        """Return the confirmed outcome, however long it takes. Raises Displaced after settling the row."""
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(Retryable),
            wait=tenacity.wait_exponential(multiplier=self._settings.poll_interval_s, max=15.0),
            sleep=self._clock.sleep,
            before_sleep=self._say_waiting,
        )
        while True:
            outcome: TxOutcome | None = await retrying(self._step)
            if outcome is not None:
                return outcome
            await self._clock.sleep(self._settings.poll_interval_s)

    async def _step(self) -> TxOutcome | None:
        await self._send_waiting()
        head = await self._chain.head()
        if head.hash != self._seen:
            outcome = await self._look(head)
            if outcome is not None:
                return outcome
            self._seen = head.hash
        await self._resubmit_if_due()
        return None

    async def _look(self, head: Block) -> TxOutcome | None:
        sender = self._signer.address
        if await self._chain.nonce(sender) <= self._nonce:
            return None
        for attempt in reversed(self._attempts):
            receipt = await self._chain.receipt(attempt.tx_hash)
            if receipt is not None:
                return await self._confirm(receipt, head)
        confirmed = head.number - self._settings.confirmations
        if confirmed >= 0 and await self._chain.nonce(sender, at=confirmed) > self._nonce:
            await self._settle_if_displaced(confirmed)
        return None

    async def _confirm(self, receipt: Receipt, head: Block) -> TxOutcome | None:
        if head.number - receipt.block_number < self._settings.confirmations:
            return None
        block = await self._chain.block(receipt.block_number)
        if block is None or block.hash != receipt.block_hash:
            return None
        fee = Wei(receipt.gas_used * receipt.effective_gas_price_wei)
        if receipt.ok:
            await self._settle(TxStatus.MINED, receipt, fee, None)
            self._log.info("tx_mined", what=self._row.what, tx=receipt.tx_hash, gas_used=receipt.gas_used)
            return Mined(self._row.intent_id, receipt.tx_hash, receipt.block_number, receipt.gas_used, fee)
        reason = await self._why_reverted(receipt)
        await self._settle(TxStatus.REVERTED, receipt, fee, reason)
        self._log.warning("tx_reverted", what=self._row.what, tx=receipt.tx_hash, reason=reason)
        return Failed(self._row.intent_id, reason, receipt.tx_hash)

    async def _settle(self, status: TxStatus, receipt: Receipt, fee: Wei, reason: str | None) -> None:
        await self._store.settle(
            self._row.intent_id,
            status,
            receipt.tx_hash,
            receipt.block_number,
            receipt.gas_used,
            fee,
            reason,
        )

    async def _why_reverted(self, receipt: Receipt) -> str:
        call = Call(self._row.to, self._row.data, self._row.what, self._row.value_wei)
        try:
            await self._chain.call(call, self._signer.address, at=receipt.block_number)
        except Reverted as reverted:
            return reverted.reason
        except RpcError as error:
            return f"unknown: the endpoint cannot replay block {receipt.block_number} ({error.message:.200})"
        return (
            f"unknown: the call succeeds after block {receipt.block_number} ({receipt.gas_used} gas was used)"
        )

    async def _settle_if_displaced(self, confirmed: int) -> None:
        ours = frozenset(attempt.tx_hash for attempt in self._attempts)
        try:
            taken = await who_used_nonce(self._chain, self._signer.address, self._nonce, confirmed)
        except RpcError:
            # The endpoint keeps no old states. Absence of all payloads for a long time is then the proof.
            taken = await self._taken_by_absence()
        if taken is None or taken.tx_hash in ours:
            return
        reason = f"nonce {self._nonce} was used by {taken.tx_hash or 'another transaction'}"
        await self._store.settle(self._row.intent_id, TxStatus.REFUSED, None, None, 0, 0, reason)
        self._log.warning("tx_nonce_taken", what=self._row.what, taken_by=taken.tx_hash)
        raise Displaced(reason)

    async def _taken_by_absence(self) -> TakenBy | None:
        for attempt in self._attempts:
            if await self._chain.transaction(attempt.tx_hash) is not None:
                self._absent_heads = 0
                return None
        self._absent_heads += 1
        return TakenBy(None) if self._absent_heads >= _ABSENT_HEADS else None

    async def _send_waiting(self) -> None:
        while self._unsent:
            attempt = self._unsent[0]
            acceptance, said = await broadcast(self._chain, attempt.raw)
            self._unsent.pop(0)
            self._sent_at = self._clock.monotonic()
            self._underpriced = acceptance is Acceptance.UNDERPRICED
            self._refused = acceptance is Acceptance.REFUSED
            if self._refused:
                self._log.error("tx_not_accepted", what=self._row.what, tx=attempt.tx_hash, said=said[:300])
            else:
                self._log.info(
                    "tx_broadcast",
                    what=self._row.what,
                    tx=attempt.tx_hash,
                    acceptance=acceptance.name.lower(),
                )

    async def _resubmit_if_due(self) -> None:
        waited = self._clock.monotonic() - self._sent_at
        if waited < self._settings.resubmit_after_s and not self._underpriced:
            return
        last = self._attempts[-1]
        # Higher fees help only the transaction that is next in line and that a pool has taken at all.
        next_in_line = await self._chain.nonce(self._signer.address) == self._nonce
        fees = None
        if next_in_line and not self._refused:
            network = await self._chain.fees()
            fees = replacement_fees(Fees(last.max_fee_wei, last.tip_wei), network, self._settings)
            if fees is None:
                self._log.warning("tx_fee_cap_reached", what=self._row.what, max_fee_wei=last.max_fee_wei)
        self._underpriced = False
        self._unsent = [last if fees is None else await self._replacement(last, fees)]
        await self._send_waiting()

    async def _replacement(self, last: TxAttempt, fees: Fees) -> TxAttempt:
        payload = replace(read_signed(last.raw), fees=fees)
        try:
            attempt = await sign_and_record(self._row.intent_id, payload, self._signer, self._store)
        except RefusedByPolicy as refusal:
            # The payloads already out stay alive, whatever the policy says of a dearer one.
            self._log.warning("tx_replacement_refused", what=self._row.what, reason=str(refusal))
            return last
        self._attempts = (*self._attempts, attempt)
        return attempt

    def _say_waiting(self, state: tenacity.RetryCallState) -> None:
        if state.attempt_number == 1:
            error = state.outcome.exception() if state.outcome else None
            self._log.warning("tx_waiting", what=self._row.what, problem=str(error)[:300])


async def sign_and_record(intent_id: str, payload: Payload, signer: Signer, store: TxStore) -> TxAttempt:
    """Sign, check what was signed, and write it down: from here on these bytes may be broadcast."""
    raw = await signer.sign(payload.unsigned())
    check_signed(raw, payload, signer.address)
    attempt = TxAttempt(payload_hash(raw), raw, payload.fees.max_fee_wei, payload.fees.tip_wei)
    await store.record_attempt(intent_id, attempt.tx_hash, attempt.raw, attempt.max_fee_wei, attempt.tip_wei)
    return attempt

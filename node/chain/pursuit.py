"""Follows one reserved nonce to its end: broadcast, replace with higher fees, confirm, or prove it lost.

Owns nothing durable: what it learns goes into the store, so a new pursuit of the same row goes on where the
last one was killed. Which nonce a payload gets is decided in ``txmanager``.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog
import tenacity

from node.chain.broadcast import Acceptance, broadcast
from node.chain.client import Block, Call, Chain, Receipt
from node.chain.fees import Fees, TxSettings, replacement_fees
from node.chain.nonces import who_used_nonce
from node.chain.outcomes import Failed, Mined, TxOutcome, TxStore
from node.chain.payload import Payload, check_signed, payload_hash, read_signed
from node.chain.reverts import Reverted
from node.chain.rpc import RpcError
from node.chain.signer import Signer
from node.clock import Clock
from node.errors import RefusedByPolicy, Retryable
from node.job.transactions import TxAttempt, TxRow, TxStatus
from node.types import BlockHash, TxHash, Wei

_ABSENT_HEADS = 12
"""Blocks without a trace of our payloads that prove a used nonce lost where no better proof can be had."""


class Displaced(Exception):
    """The nonce was used by a transaction that is not ours; none of our payloads can be mined any more."""


class Pursuit:
    """One open row that has at least one signed payload; ``sent`` is what was said to it already."""

    def __init__(
        self,
        row: TxRow,
        *,
        chain: Chain,
        signer: Signer,
        store: TxStore,
        settings: TxSettings,
        clock: Clock,
        on_waiting_below: Callable[[int], Awaitable[None]],
        sent: Acceptance | None = None,
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
        self._on_waiting_below = on_waiting_below
        self._sent_at = clock.monotonic()
        self._unsent = list(row.attempts) if sent is None else []
        self._accepted = sent or Acceptance.POOLED
        self._at_cap = False
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
        limits = {attempt.tx_hash: read_signed(attempt.raw).gas for attempt in self._attempts}
        if receipt.gas_used == limits.get(receipt.tx_hash):
            return f"out of gas: {receipt.gas_used} were too few for what block {receipt.block_number} held"
        return (
            f"unknown: the call succeeds after block {receipt.block_number} ({receipt.gas_used} gas was used)"
        )

    async def _settle_if_displaced(self, confirmed: int) -> None:
        ours = frozenset(attempt.tx_hash for attempt in self._attempts)
        by: TxHash | None = None
        try:
            taken = await who_used_nonce(self._chain, self._signer.address, self._nonce, confirmed)
        except RpcError:
            # The endpoint keeps no old states. Absence of all payloads for a long time is then the proof.
            if not await self._long_absent():
                return
        else:
            if taken is None or taken.hash in ours:
                return
            by = taken.hash
        reason = f"nonce {self._nonce} was used by {by or 'another transaction'}"
        await self._store.settle(self._row.intent_id, TxStatus.REFUSED, None, None, 0, 0, reason)
        self._log.warning("tx_nonce_taken", what=self._row.what, taken_by=by)
        raise Displaced(reason)

    async def _long_absent(self) -> bool:
        for attempt in self._attempts:
            if await self._chain.transaction(attempt.tx_hash) is not None:
                self._absent_heads = 0
                return False
        self._absent_heads += 1
        return self._absent_heads >= _ABSENT_HEADS

    async def _send_waiting(self) -> None:
        while self._unsent:
            attempt = self._unsent[0]
            self._accepted, said = await broadcast(self._chain, attempt.raw)
            self._unsent.pop(0)
            self._sent_at = self._clock.monotonic()
            told = {"what": self._row.what, "tx": attempt.tx_hash}
            match self._accepted:
                case Acceptance.UNFUNDED:
                    remedy = (
                        f"fund {self._signer.address}: the transaction waits, signed, until it can be paid"
                    )
                    self._log.error("tx_unfunded", said=said[:300], remedy=remedy, **told)
                case Acceptance.REFUSED:
                    self._log.error("tx_not_accepted", said=said[:300], **told)
                case accepted:
                    self._log.info("tx_broadcast", acceptance=accepted.name.lower(), **told)

    async def _resubmit_if_due(self) -> None:
        waited = self._clock.monotonic() - self._sent_at
        if waited < self._settings.resubmit_after_s and not self._dearer_at_once():
            return
        last = self._attempts[-1]
        count = await self._chain.nonce(self._signer.address)
        if count < self._nonce:
            await self._on_waiting_below(count)
        # Higher fees help only the transaction that is next in line and that a pool has taken at all.
        fees = None
        if count == self._nonce and self._accepted not in {Acceptance.UNFUNDED, Acceptance.REFUSED}:
            network = await self._chain.fees()
            fees = replacement_fees(Fees(last.max_fee_wei, last.tip_wei), network, self._settings)
            self._at_cap = fees is None
            if fees is None:
                self._log.warning("tx_fee_cap_reached", what=self._row.what, max_fee_wei=last.max_fee_wei)
        self._unsent = [last if fees is None else await self._replacement(last, fees)]
        await self._send_waiting()

    def _dearer_at_once(self) -> bool:
        """Tell whether what the pool said makes waiting pointless.

        A first payload that is outbid met a transaction of another wallet with this key: that one is let
        through, and only if it stays stuck is it outbid in its turn.
        """
        if self._at_cap:
            return False
        ours_is_in_the_way = self._accepted is Acceptance.OUTBID and len(self._attempts) > 1
        return self._accepted is Acceptance.UNDERPRICED or ours_is_in_the_way

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


async def send_first(row: TxRow, chain: Chain) -> Acceptance | None:
    """Broadcast a fresh payload and return what became of it, None if the endpoint did not say."""
    try:
        acceptance, _ = await broadcast(chain, row.attempts[-1].raw)
    except Retryable:
        return None
    if acceptance in {Acceptance.UNFUNDED, Acceptance.REFUSED}:
        # Sent again by the pursuit, which says what to do.
        return None
    structlog.get_logger().info(
        "tx_broadcast",
        intent=row.intent_id,
        nonce=row.nonce,
        what=row.what,
        tx=row.attempts[-1].tx_hash,
        acceptance=acceptance.name.lower(),
    )
    return acceptance


async def sign_and_record(intent_id: str, payload: Payload, signer: Signer, store: TxStore) -> TxAttempt:
    """Sign, check what was signed, and write it down: from here on these bytes may be broadcast."""
    raw = await signer.sign(payload.unsigned())
    check_signed(raw, payload, signer.address)
    attempt = TxAttempt(payload_hash(raw), raw, payload.fees.max_fee_wei, payload.fees.tip_wei)
    await store.record_attempt(intent_id, attempt.tx_hash, attempt.raw, attempt.max_fee_wei, attempt.tip_wei)
    return attempt

"""Notices when somebody else sends with our key, and tells a second node from an operator.

Two nodes with one key would agree to the same deals and fight for the same nonces, so a provider's market
call that this journal did not sign stops this node at once. Transfers, approvals and what the account does as
a job creator are an operator's or a requester's, who may share the key: their nonces are taken note of and
nothing else happens. Judged at the newest block, because waiting for confirmations would let the other one
go on; a transaction that a reorganisation takes away again was sent with our key all the same.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from node.chain import interface
from node.chain.client import Block, Chain, Transaction
from node.chain.nonces import who_used_nonce
from node.chain.rpc import RpcError
from node.chain.signer import Signer
from node.clock import Clock
from node.errors import Halted, Retryable
from node.job.deal import Deal
from node.types import Address, BlockHash, DealId, TxHash

_MOST_JUDGED = 256
"""Nonces looked at after a long absence; older ones are history that changes nothing."""

_OF_A_PROVIDER = {
    function.selector: function
    for function in (
        interface.ADD_RESULT,
        interface.TIMEOUT_AGREE,
        interface.TIMEOUT_JUDGE_RESULT,
        interface.TIMEOUT_MEDIATE_RESULT,
    )
}


class Memory(Protocol):
    """What the journal knows of the key's nonces."""

    async def signed_hashes(self, nonce: int) -> frozenset[TxHash]:
        """Return the hashes of every payload signed here for a nonce."""
        ...

    async def judged_up_to(self, account: Address) -> int | None:
        """Return below which nonce every use was judged, or None at the first start."""
        ...

    async def judged(self, account: Address, nonce: int) -> None:
        """Remember below which nonce every use was judged."""
        ...


class Deals(Protocol):
    """The market's word about a deal; the chain's ``MarketContracts``."""

    async def get_deal(self, deal_id: DealId, at: int | None = None) -> Deal | None:
        """Return the stored terms."""
        ...


@dataclass(frozen=True, slots=True)
class ForeignUse:
    """A transaction of our key that this journal did not sign; ``twin`` says what a second node did."""

    transaction: Transaction
    twin: str | None


class RevocableSigner:
    """Signs with the signer it wraps until it is revoked, then never again in this process."""

    def __init__(self, inner: Signer) -> None:
        self._inner = inner
        self._reason: str | None = None

    @property
    def address(self) -> Address:
        """The account, in lower case."""
        return self._inner.address

    def revoke(self, reason: str) -> None:
        """Refuse every signature from now on."""
        self._reason = self._reason or reason

    async def sign(self, tx: dict[str, Any]) -> bytes:
        """Return the raw signed bytes; raises Halted once revoked, and what the wrapped signer raises."""
        if self._reason is not None:
            raise Halted(self._reason)
        raw = await self._inner.sign(tx)
        # A slow signer may answer after the revocation; what is returned could still be broadcast.
        if self._reason is not None:
            raise Halted(self._reason)
        return raw


class KeyWatch:
    """Watches the transaction count of our account. ``look`` once before anything is sent, then ``run``."""

    def __init__(
        self,
        chain: Chain,
        account: Address,
        *,
        controller: Address,
        deals: Deals,
        memory: Memory,
        halt: Callable[[str], Awaitable[None]],
        on_foreign: Callable[[ForeignUse], None],
        poll_interval_s: float,
        clock: Clock,
    ) -> None:
        self._chain = chain
        self._account = account
        self._controller = controller
        self._deals = deals
        self._memory = memory
        self._halt = halt
        self._on_foreign = on_foreign
        self._poll_interval_s = poll_interval_s
        self._clock = clock
        self._told: set[TxHash] = set()
        self._seen: BlockHash | None = None
        self._log = structlog.get_logger()

    async def run(self) -> None:
        """Look again and again until cancelled. Raises Halted when a second node was noticed."""
        while True:
            await self._clock.sleep(self._poll_interval_s)
            try:
                await self.look()
            except Retryable as problem:
                self._log.debug("key_not_watched", problem=str(problem))

    async def look(self) -> None:
        """Judge the nonces used since the last look.

        At the very first one all uses so far count as history: the journal did not exist then. Raises Halted,
        with the reason already written down; Retryable while the endpoint does not tell.
        """
        head = await self._chain.head()
        if head.hash == self._seen:
            return
        try:
            count = await self._chain.nonce(self._account, at=head.number)
        except RpcError as problem:
            raise Retryable(f"the endpoint does not know its own head: {problem.message[:200]}") from problem
        await self._judge(count, head)
        self._seen = head.hash

    async def _judge(self, count: int, head: Block) -> None:
        since = await self._memory.judged_up_to(self._account)
        if since is None:
            await self._memory.judged(self._account, count)
            return
        for nonce in range(max(since, count - _MOST_JUDGED), count):
            foreign = await self._foreign_use(nonce, head.number)
            if foreign is not None:
                await self._take_note(foreign, head)
        if count != since:
            # Lower after a reorganisation: what comes in place of the dropped blocks is judged anew.
            await self._memory.judged(self._account, count)

    async def _foreign_use(self, nonce: int, head: int) -> ForeignUse | None:
        ours = await self._memory.signed_hashes(nonce)
        for tx_hash in ours:
            if await self._chain.receipt(tx_hash) is not None:
                return None
        try:
            used = await who_used_nonce(self._chain, self._account, nonce, head)
        except RpcError as problem:
            self._log.warning("key_use_unknown", nonce=nonce, problem=problem.message[:200])
            return None
        if used is None:
            raise Retryable(f"the endpoint counts nonce {nonce} as used and does not show by what")
        return None if used.hash in ours else ForeignUse(used, await self._provider_call(used))

    async def _provider_call(self, used: Transaction) -> str | None:
        """Return what a provider's market call does, None for everything an operator may do by hand."""
        if used.to != self._controller:
            return None
        selector, arguments = used.data[:4], used.data[4:]
        try:
            if selector == interface.AGREE.selector:
                deal_id, members, *_ = decode(interface.AGREE.types, arguments)
                return f"agree {deal_id:.64}" if members[2].lower() == self._account else None
            if selector not in _OF_A_PROVIDER:
                return None
            function = _OF_A_PROVIDER[selector]
            deal_id = decode(function.types, arguments)[0]
        except (DecodingError, ValueError, OverflowError):
            return None
        deal = await self._deals.get_deal(DealId(deal_id))
        ours = deal is not None and deal.members.resource_provider == self._account
        return f"{function.name} {deal_id:.64}" if ours else None

    async def _take_note(self, foreign: ForeignUse, head: Block) -> None:
        used = foreign.transaction
        if used.hash in self._told:
            return
        self._told.add(used.hash)
        self._on_foreign(foreign)
        if foreign.twin is None:
            self._log.warning("key_used_by_hand", tx=used.hash, nonce=used.nonce, to=used.to)
            return
        reason = (
            f"another node uses the key of {self._account}: it sent {foreign.twin} in {used.hash} "
            f"(block {used.block_number}, noticed at {head.number}); stop that node, or give this one its "
            "own key, then run sdv-node resume"
        )
        self._log.error("key_used_by_another_node", tx=used.hash, nonce=used.nonce, call=foreign.twin)
        await self._halt(reason)
        raise Halted(reason)

"""Answers to what peers want: blocks from the store, presence, or absence; later ones when blocks come later.

Blocks are read, and their hashes checked, in threads; a batch at a time for each peer, so that what is kept
in memory is bounded and peers are served in turn.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
import trio

from node.publisher.blockstore import BlockStore
from node.publisher.cid import BlockId
from node.publisher.errors import BlockMissing, CorruptBlock, StoreUnavailable
from node.publisher.p2p.ledger import Ledger
from node.publisher.p2p.messages import Message, Payload, Presence, Want, prefix_of, readable_cid
from node.publisher.seldom import Seldom

BATCH_BYTES = 192 << 10
"""A message is closed when it has this much: many small blocks, or one of the usual 256 KiB."""
BATCH_WANTS = 256
INLINE_BYTES = 1024
"""Whoever asks whether a block as small as this is there gets the block."""
READERS = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """One message, the wants that it answers, and those of them for blocks that are not here."""

    message: Message
    answered: tuple[Want, ...]
    lacking: frozenset[Want]
    payload_bytes: int


@dataclass(slots=True)
class Served:
    """What has been given out since the start."""

    blocks: int = 0
    payload_bytes: int = 0
    absent: int = 0
    slow_readers: int = 0
    broken_streams: int = 0


class Server:
    """Serves one block store."""

    def __init__(self, store: BlockStore, ledger: Ledger | None = None) -> None:
        self._store = store
        self.ledger = ledger or Ledger()
        self.served = Served()
        # Waiters are let in one after another, so a peer that asks for a batch waits for one of each other.
        self._readers = trio.CapacityLimiter(READERS)
        self._written: Callable[[], object] = lambda: None
        self._seldom = Seldom()
        self._log = structlog.get_logger()

    async def next_answer(self, peer: str) -> Answer | None:
        """Return the next message for a peer, None if it is owed nothing."""
        wants = self.ledger.next_batch(peer, BATCH_WANTS)
        if not wants:
            return None
        writes_before = self._store.writes
        answer = await trio.to_thread.run_sync(self._answer, wants, limiter=self._readers)
        for want in answer.answered:
            if self.ledger.answered(peer, want) and want in answer.lacking:
                self.ledger.waiting.remember(peer, want)
        if answer.lacking and self._store.writes != writes_before:
            # What was not there when it was looked for may be there now, and nobody would look again.
            self._written()
        self.served.blocks += len(answer.message.payloads)
        self.served.absent += sum(not presence.have for presence in answer.message.presences)
        self.served.payload_bytes += answer.payload_bytes
        return answer

    @contextmanager
    def watching(self, on_written: Callable[[], object]) -> Iterator[None]:
        """Have it told, from any thread, when blocks may be here that were not: ``come`` says for whom."""
        self._written = on_written
        with self._store.watched(on_written):
            yield

    async def come(self) -> tuple[str, ...]:
        """Owe peers what they waited for and is here now; return which peers."""
        waited_for = self.ledger.waiting.cids()
        if not waited_for:
            return ()
        here = await trio.to_thread.run_sync(self._here, waited_for, limiter=self._readers)
        taken = self.ledger.waiting.take(here)
        for peer, wants in taken.items():
            self.ledger.receive(peer, wants)
        return tuple(taken)

    def _here(self, cids: set[bytes]) -> set[bytes]:
        here = set()
        try:
            for cid in cids:
                block_id = readable_cid(cid)
                if block_id is not None and self._store.has(block_id):
                    here.add(cid)
        except StoreUnavailable as error:
            self._log.warning("ipfs_store_unavailable", problem=str(error))
        return here

    def _answer(self, wants: list[Want]) -> Answer:
        payloads: list[Payload] = []
        presences: list[Presence] = []
        answered: list[Want] = []
        lacking: list[Want] = []
        size_bytes = 0
        for want in wants:
            if size_bytes >= BATCH_BYTES:
                break
            answered.append(want)
            block_id = readable_cid(want.cid)
            found = None if block_id is None else self._look(block_id, want)
            if block_id is not None and isinstance(found, bytes):
                payloads.append(Payload(found, prefix_of(block_id)))
                size_bytes += len(found)
            elif found:
                presences.append(Presence(want.cid, have=True))
            else:
                if block_id is not None:
                    lacking.append(want)
                if want.send_dont_have:
                    presences.append(Presence(want.cid, have=False))
        message = Message(payloads=tuple(payloads), presences=tuple(presences))
        return Answer(message, tuple(answered), frozenset(lacking), size_bytes)

    def _look(self, block_id: BlockId, want: Want) -> bytes | bool:
        """Return the block, or whether it is there."""
        try:
            if want.have:
                size = self._store.size(block_id)
                if size is None or size > INLINE_BYTES:
                    return size is not None
            return self._store.get(block_id)
        except CorruptBlock as error:
            if self._seldom.due(error.key):
                self._log.warning("ipfs_block_corrupt", cid=str(block_id), problem=str(error))
        except StoreUnavailable as error:
            self._log.warning("ipfs_store_unavailable", problem=str(error))
        except BlockMissing:
            pass
        return False

"""Fetching by bitswap: sessions that ask several peers, check each block, and keep few wants open.

A block is asked of one peer at a time, so that nothing comes twice; who has not got it, or is silent, is
followed by another. Blocks that no session waits for are never looked at further, let alone stored.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import trio

from node.publisher.cid import BlockId
from node.publisher.p2p.errors import BlocksNotFound
from node.publisher.p2p.messages import Message, Want, block_id_of, readable_cid, wants_of

OPEN_WANTS = 24
"""Of one session. With the largest blocks that is 48 MiB, with the usual ones of 256 KiB it is 6."""
SILENCE_S = 10.0
"""A peer that has sent nothing for so long, though it was asked, is asked again, or another one is."""
ATTEMPTS = 3
"""How often a silent peer is asked for one block: an answer can be lost with its stream."""

Sink = Callable[[BlockId, bytes], Iterable[BlockId]]
"""Takes a block that has been checked, in a thread, and returns what else is wanted because of it."""
Send = Callable[[str, tuple[Want, ...]], None]
"""Queues wants or cancels for a peer."""


@dataclass(slots=True)
class _Source:
    """A peer as one session sees it."""

    peer: str
    asked: set[BlockId] = field(default_factory=set)
    heard_at: float = 0.0
    gone: bool = False


class Session:
    """One fetch. ``take`` and ``lacks`` are told by the exchange what a peer has sent."""

    def __init__(self, peers: Sequence[str], sink: Sink, send: Send) -> None:
        self._sources = {peer: _Source(peer) for peer in peers}
        self._sink = sink
        self._send = send
        self._todo: deque[BlockId] = deque()
        self._seen: set[BlockId] = set()
        self._asked: dict[bytes, list[BlockId]] = {}
        self._failures: Counter[tuple[str, BlockId]] = Counter()
        self._arrived: deque[tuple[BlockId, bytes]] = deque()
        self._news = trio.Event()

    async def run(self, block_ids: Iterable[BlockId]) -> None:
        """Fetch until nothing is wanted any more. Raises BlocksNotFound, and what the sink raises."""
        self._want(block_ids)
        try:
            while self._todo or self._asked or self._arrived:
                self._ask()
                if not self._arrived:
                    await self._wait()
                while self._arrived:
                    block_id, block = self._arrived.popleft()
                    self._want(await trio.to_thread.run_sync(self._sink, block_id, block))
                    self._ask()
        finally:
            for source in self._sources.values():
                if source.asked and not source.gone:
                    self._send(source.peer, wants_of(source.asked, cancel=True))

    def take(self, peer: str, digest: bytes, block: bytes) -> bool:
        """Take a block by its digest; return whether it is one that is waited for."""
        waiting = self._asked.pop(digest, None)
        if waiting is None:
            return False
        for block_id in waiting:
            for source in self._sources.values():
                if block_id in source.asked:
                    source.asked.discard(block_id)
                    if source.peer != peer:
                        self._send(source.peer, wants_of([block_id], cancel=True))
            self._arrived.append((block_id, block))
        self._hear(peer)
        return True

    def lacks(self, peer: str, block_id: BlockId) -> None:
        """Note that a peer has not got a block."""
        source = self._sources.get(peer)
        if source is not None and block_id in source.asked:
            # A want stands until it is cancelled: the block would come, unasked then, once the peer has it.
            self._send(peer, wants_of([block_id], cancel=True))
            self._give_back(source, block_id, ATTEMPTS)
            self._hear(peer)

    def lost(self, peer: str) -> None:
        """Note that a peer is gone."""
        source = self._sources.get(peer)
        if source is not None and not source.gone:
            source.gone = True
            for block_id in list(source.asked):
                self._give_back(source, block_id, ATTEMPTS)
            self._news.set()

    def _want(self, block_ids: Iterable[BlockId]) -> None:
        for block_id in block_ids:
            if block_id not in self._seen:
                self._seen.add(block_id)
                self._todo.append(block_id)

    def _hear(self, peer: str) -> None:
        source = self._sources.get(peer)
        if source is not None:
            source.heard_at = trio.current_time()
        self._news.set()

    def _give_back(self, source: _Source, block_id: BlockId, failures: int) -> None:
        source.asked.discard(block_id)
        self._failures[source.peer, block_id] += failures
        waiting = self._asked.get(block_id.digest, [])
        if block_id in waiting:
            waiting.remove(block_id)
            if not waiting:
                del self._asked[block_id.digest]
        self._todo.appendleft(block_id)

    def _ask(self) -> None:
        wanted: dict[str, list[BlockId]] = {}
        # What has arrived and waits for the sink counts as open: it is in memory.
        while self._todo and len(self._asked) + len(self._arrived) < OPEN_WANTS:
            block_id = self._todo.popleft()
            failures = {peer: self._failures[peer, block_id] for peer in self._sources}
            able = [s for s in self._sources.values() if not s.gone and failures[s.peer] < ATTEMPTS]
            if not able:
                raise BlocksNotFound(
                    f"none of the {len(self._sources)} peers gave block {block_id}: ask others, or try again"
                )
            source = min(able, key=lambda source: (failures[source.peer], len(source.asked)))
            if not source.asked:
                source.heard_at = trio.current_time()
            source.asked.add(block_id)
            self._asked.setdefault(block_id.digest, []).append(block_id)
            wanted.setdefault(source.peer, []).append(block_id)
        for peer, block_ids in wanted.items():
            self._send(peer, wants_of(block_ids))

    async def _wait(self) -> None:
        patience = min(
            (source.heard_at + SILENCE_S for source in self._sources.values() if source.asked),
            default=math.inf,
        )
        with trio.move_on_at(patience):
            await self._news.wait()
        self._news = trio.Event()
        now = trio.current_time()
        for source in self._sources.values():
            if source.asked and source.heard_at + SILENCE_S <= now:
                silent = list(source.asked)
                self._send(source.peer, wants_of(silent, cancel=True))
                for block_id in silent:
                    self._give_back(source, block_id, 1)


class Client:
    """All sessions of this node."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._sessions: list[Session] = []
        self._asked_at: dict[str, float] = {}
        self.received_blocks = 0
        self.received_bytes = 0

    async def fetch(self, block_ids: Iterable[BlockId], peers: Sequence[str], sink: Sink) -> None:
        """Fetch blocks, and whatever the sink wants because of them, from connected peers.

        Raises BlocksNotFound if no peer gives a block, and what the sink raises.
        """
        session = Session(peers, sink, self._ask)
        self._sessions.append(session)
        try:
            await session.run(block_ids)
        finally:
            self._sessions.remove(session)

    def expects(self, peer: str) -> bool:
        """Whether blocks may come from a peer: it has been asked for some a short while ago."""
        return trio.current_time() - self._asked_at.get(peer, -math.inf) < 2 * SILENCE_S

    def receive(self, peer: str, message: Message) -> int:
        """Give what a peer has sent to who waits for it; return how many blocks nobody has asked for."""
        unsolicited = 0
        for payload in message.payloads:
            block_id = block_id_of(payload) if self._sessions else None
            if block_id is None:
                unsolicited += 1
                continue
            takers = [session.take(peer, block_id.digest, payload.data) for session in self._sessions]
            if any(takers):
                self.received_blocks += 1
                self.received_bytes += len(payload.data)
                self._asked_at[peer] = trio.current_time()
            else:
                unsolicited += 1
        for presence in message.presences if self._sessions else ():
            lacking = None if presence.have else readable_cid(presence.cid)
            if lacking is not None:
                for session in self._sessions:
                    session.lacks(peer, lacking)
        return unsolicited

    def lost(self, peer: str) -> None:
        """Tell every session that a peer is gone."""
        self._asked_at.pop(peer, None)
        for session in self._sessions:
            session.lost(peer)

    def _ask(self, peer: str, wants: tuple[Want, ...]) -> None:
        self._asked_at[peer] = trio.current_time()
        self._send(peer, wants)

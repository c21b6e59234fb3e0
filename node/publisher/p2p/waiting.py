"""What peers have asked for in vain, kept until it is published: bounded for each of them and for all.

Pure. Bitswap's wants stand until they are cancelled: who asks too early is answered when the block comes, and
need not ask again. A peer that wants more than its share loses the oldest of its own wants, never another's.
"""

from dataclasses import dataclass

from node.publisher.p2p.messages import Want


@dataclass(frozen=True, slots=True)
class WaitingLimits:
    """Bounds. A want that can be kept has a CID of at most 36 bytes and costs about 400: 3.3 MB in all."""

    wants_per_peer: int = 512
    wants: int = 8192
    peers: int = 256


class Waiting:
    """The wants of all peers for blocks that are not here."""

    def __init__(self, limits: WaitingLimits | None = None) -> None:
        self._limits = limits or WaitingLimits()
        self._wants: dict[str, dict[bytes, Want]] = {}
        self.dropped = 0
        """Wants that were given up because a peer had too many."""

    def __len__(self) -> int:
        return sum(map(len, self._wants.values()))

    def remember(self, peer: str, want: Want) -> None:
        """Keep a want. One for the block goes before one that asks whether it is there."""
        wants = self._wants.get(peer)
        if wants is None:
            if len(self._wants) >= self._limits.peers:
                self.dropped += 1
                return
            wants = self._wants[peer] = {}
        known = wants.pop(want.cid, None)
        wants[want.cid] = want if known is None or known.have else known
        share = min(self._limits.wants_per_peer, self._limits.wants // len(self._wants))
        for other in (peer, *self._wants) if len(self) > self._limits.wants else (peer,):
            self._cut(self._wants[other], share)

    def strike(self, peer: str, cid: bytes) -> None:
        """Give up a want: it was cancelled, or is asked anew."""
        wants = self._wants.get(peer, {})
        wants.pop(cid, None)
        if not wants:
            self._wants.pop(peer, None)

    def forget(self, peer: str) -> None:
        """Give up all that a peer wants."""
        self._wants.pop(peer, None)

    def cids(self) -> set[bytes]:
        """Return what is waited for."""
        return {cid for wants in self._wants.values() for cid in wants}

    def take(self, cids: set[bytes]) -> dict[str, tuple[Want, ...]]:
        """Return who waits for these, with what each has asked, and keep that no longer."""
        taken: dict[str, tuple[Want, ...]] = {}
        for peer, wants in list(self._wants.items()):
            found = tuple(want for cid, want in wants.items() if cid in cids)
            if found:
                taken[peer] = found
            for want in found:
                self.strike(peer, want.cid)
        return taken

    def _cut(self, wants: dict[bytes, Want], share: int) -> None:
        while len(wants) > share:
            del wants[next(iter(wants))]
            self.dropped += 1

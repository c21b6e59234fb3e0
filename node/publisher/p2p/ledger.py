"""What peers have asked for and have not been answered: bounded for each peer and for all of them together.

Pure. Answers are taken in the order of asking, in batches; fairness between peers comes from each peer
having one batch under way at a time. A want is answered with the block or its presence once, and what is not
here waits.
"""

from dataclasses import dataclass

from node.publisher.p2p.messages import Want
from node.publisher.p2p.waiting import Waiting


@dataclass(frozen=True, slots=True)
class LedgerLimits:
    """Bounds. A want costs about 300 bytes."""

    wants_per_peer: int = 1024
    wants: int = 32_768
    peers: int = 256


class Ledger:
    """The wants of all peers. ``peer`` is whatever names one."""

    def __init__(self, limits: LedgerLimits | None = None, waiting: Waiting | None = None) -> None:
        self._limits = limits or LedgerLimits()
        self.waiting = waiting or Waiting()
        self._wants: dict[str, dict[bytes, Want]] = {}
        self.dropped = 0
        """Wants that were not taken because a peer had too many."""

    def receive(self, peer: str, wants: tuple[Want, ...], *, full: bool = False) -> bool:
        """Take a wantlist; return whether the peer has anything to be answered now.

        Wants beyond the peer's share are dropped and counted: its node asks again for what it did not get.
        """
        if full:
            self.waiting.forget(peer)
        for want in wants:
            # What is asked for again is looked for again, and waits again if it is still not here.
            self.waiting.strike(peer, want.cid)
        account = self._wants.get(peer)
        if account is None:
            if len(self._wants) >= self._limits.peers:
                self.dropped += len(wants)
                return False
            account = self._wants[peer] = {}
        if full:
            account.clear()
        share = min(self._limits.wants_per_peer, max(1, self._limits.wants // len(self._wants)))
        for want in wants:
            if want.cancel:
                account.pop(want.cid, None)
                continue
            known = account.get(want.cid)
            if known is not None:
                # Asking whether it is there after asking for it does not take the block back.
                if known.have and not want.have:
                    account[want.cid] = want
            elif len(account) < share:
                account[want.cid] = want
            else:
                self.dropped += 1
        if not account:
            del self._wants[peer]
            return False
        return True

    def next_batch(self, peer: str, count: int) -> list[Want]:
        """Return up to ``count`` wants in the order of asking. They stay until they are answered."""
        account = self._wants.get(peer)
        if account is None:
            return []
        return [want for want, _ in zip(account.values(), range(count), strict=False)]

    def answered(self, peer: str, want: Want) -> bool:
        """Strike out a want; return False if the peer has cancelled or changed it meanwhile."""
        account = self._wants.get(peer)
        if account is None or account.get(want.cid) != want:
            return False
        del account[want.cid]
        if not account:
            del self._wants[peer]
        return True

    def forget(self, peer: str) -> None:
        """Drop all that a peer wants: it is gone, or does not read."""
        self._wants.pop(peer, None)
        self.waiting.forget(peer)

    @property
    def peers(self) -> int:
        """How many peers wait for answers."""
        return len(self._wants)

    @property
    def wants(self) -> int:
        """How many answers are due."""
        return sum(len(account) for account in self._wants.values())

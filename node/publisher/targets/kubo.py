"""A Kubo daemon that keeps results: each is imported as a CAR, in the blocks that the node made, and pinned.

A CAR rather than ``add``: the CID cannot depend on the daemon's import settings, no name or path of this
machine is sent, and the blocks come checked out of the node's own store.
Facts: Kubo's RPC reference of version, dag/import, dag/export, pin/ls and pin/rm.
"""

import re
from typing import Any

from node.errors import Unreachable
from node.publisher.car import write_car
from node.publisher.cid import BlockId
from node.publisher.dag import BlockSource, Scope, walk
from node.publisher.errors import BadContent
from node.publisher.targets.in_thread import Stop, in_thread
from node.publisher.targets.kubo_rpc import KuboRpc
from node.publisher.targets.readback import CarCheck
from node.publisher.targets.target import TargetRefuses, said
from node.types import JobId

OLDEST = (0, 12)
"""The first version whose dag/import pins and counts as described here."""

_VERSION = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})\.")
_NOT_PINNED = "is not pinned"


class KuboTarget:
    """Keeps results in a daemon. Meets ``Target``."""

    def __init__(self, name: str, rpc: KuboRpc) -> None:
        self.name = name
        self._rpc = rpc

    async def put(
        self,
        job_id: JobId,  # noqa: ARG002 - dag/import knows no names
        root: BlockId,
        store: BlockSource,
    ) -> None:
        """Import and pin the DAG, unless it is pinned there. Raises as ``Target.put``."""
        await in_thread(lambda stop: self._put(root, store, stop))

    async def holds(self, root: BlockId) -> bool:
        """Return whether the daemon has it pinned."""
        return await in_thread(lambda stop: self._is_pinned(root, stop))

    async def remove(self, root: BlockId) -> None:
        """Unpin the DAG, if it is pinned: the daemon's next collection removes it."""
        await in_thread(lambda stop: self._remove(root, stop))

    def _put(self, root: BlockId, store: BlockSource, stop: Stop) -> None:
        self._version(stop)
        if self._is_pinned(root, stop):
            return
        pieces = write_car(root, walk(store, root, Scope.ALL))
        answer = self._rpc.upload("dag/import", {"pin-roots": "true"}, pieces, stop)
        roots = [document["Root"] for document in answer if isinstance(document.get("Root"), dict)]
        if len(roots) != 1:
            raise TargetRefuses(f"{self._rpc.shown} names {len(roots)} roots for the one it was given")
        cid = _cid_of(roots[0])
        if cid != root.to_cid():
            kept = f"as {said(cid)} instead of {root}" if cid else f"under no CID instead of {root}"
            raise TargetRefuses(f"{self._rpc.shown} keeps it {kept}: that CID is never reported")
        if problem := roots[0].get("PinErrorMsg"):
            raise Unreachable(f"{self._rpc.shown} could not pin {root}: {said(problem)}")
        if not self._is_pinned(root, stop):
            raise Unreachable(f"{self._rpc.shown} took {root} and has not pinned it")

    def _remove(self, root: BlockId, stop: Stop) -> None:
        if self._is_pinned(root, stop):
            self._rpc.call("pin/rm", {"arg": root.to_cid()}, stop)

    def _is_pinned(self, root: BlockId, stop: Stop) -> bool:
        try:
            answer = self._rpc.call("pin/ls", {"arg": root.to_cid(), "type": "recursive"}, stop)
        except Unreachable as error:
            if _NOT_PINNED in str(error):
                return False
            raise
        keys = answer[0].get("Keys") if answer else None
        return isinstance(keys, dict) and root.to_cid() in keys

    def _version(self, stop: Stop) -> str:
        answer = self._rpc.call("version", {}, stop)
        version = answer[0].get("Version") if answer else None
        found = _VERSION.match(version) if isinstance(version, str) else None
        if found is None:
            raise TargetRefuses(f"{self._rpc.shown} tells no version: is it a Kubo API?")
        if (int(found[1]), int(found[2])) < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            raise TargetRefuses(f"{self._rpc.shown} is Kubo {said(version)}: {oldest} or newer is needed")
        return said(version)


class KuboReader:
    """Reads what a daemon has itself, without the network, through its API. Meets ``Reader``."""

    def __init__(self, rpc: KuboRpc) -> None:
        self._rpc = rpc

    async def read(self, root: BlockId) -> int:
        """Export and check the whole DAG. Raises Unreachable or BadContent."""

        def work(stop: Stop) -> int:
            check = CarCheck(root)
            for piece in self._rpc.download("dag/export", {"arg": root.to_cid(), "offline": "true"}, stop):
                check.feed(piece)
            return check.finish()

        try:
            return await in_thread(work)
        except BadContent as error:
            raise BadContent(f"{self._rpc.shown}: {error}") from error


def _cid_of(root: dict[str, Any]) -> str:
    link = root.get("Cid")
    cid = link.get("/") if isinstance(link, dict) else None
    return cid if isinstance(cid, str) else ""

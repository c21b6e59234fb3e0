"""The requester's way to results: the provider's gateway, and our own importer to check what arrived."""

from collections.abc import Callable
from pathlib import Path

from node.publisher.cid import parse_cid
from node.publisher.fetch import fetch
from node.publisher.unixfs import CID_V0, CID_V1, cid_of
from node.types import Cid


class GatewayDelivery:
    """Meets the requester's ``Delivery``."""

    def canonical(self, data_id: str) -> Cid:
        """Return a submitted data id in its usual spelling. Raises InvalidCid."""
        return parse_cid(data_id).to_cid()

    async def fetch(self, gateway: str, cid: Cid, into: Path, on_bytes: Callable[[int], None]) -> None:
        """Download a directory, verifying every block while it arrives."""
        await fetch(gateway, cid, into, on_progress=on_bytes)

    def cid_of(self, directory: Path, like: Cid) -> Cid:
        """Return the CID of files on disk, in the version and layout of ``like``."""
        return cid_of(directory, CID_V1 if parse_cid(like).version == 1 else CID_V0)

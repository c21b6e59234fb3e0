"""The requester's way to results: gateways and the provider's IPFS node at once; our importer to check."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from node.app.provider_peer import ProviderPeer
from node.destinations import Reach
from node.publisher.cid import parse_cid
from node.publisher.fetch_file import fetch_file
from node.publisher.fetching.download import fetch
from node.publisher.fetching.harvest import Progress
from node.publisher.fetching.session import OnDrop, log_drop
from node.publisher.fetching.sources import Source
from node.publisher.unixfs import CID_V0, CID_V1, cid_of
from node.requester.collecting import OnBytes
from node.types import Cid


class GatewayDelivery:
    """Meets the requester's ``Delivery`` and ``Documents``.

    ``bitswap_dir`` is where the IPFS node of this requester keeps its key; None: no peer is asked for blocks.
    Addresses of providers are used only within ``reach``. ``on_drop`` hears of a source that is not asked any
    more, again only when the reason is another one.
    """

    def __init__(self, reach: Reach, bitswap_dir: Path | None = None, on_drop: OnDrop = log_drop) -> None:
        self._reach = reach
        self._bitswap_dir = bitswap_dir
        self._known: dict[str, tuple[str, ...]] = {}
        self._on_drop = on_drop
        self._told: dict[str, str] = {}

    def canonical(self, data_id: str) -> Cid:
        """Return a submitted data id in its usual spelling. Raises InvalidCid."""
        return parse_cid(data_id).to_cid()

    async def fetch(
        self, provider: str | None, gateways: Sequence[str], cid: Cid, into: Path, on_bytes: OnBytes
    ) -> None:
        """Download a directory, verifying every block while it arrives; a broken download goes on.

        All gateways, the provider's own, and the IPFS node that the provider's status names are asked at
        once.
        """

        def tell(progress: Progress) -> None:
            on_bytes(progress.received_bytes, progress.total_bytes)

        async with AsyncExitStack() as stack:
            peers: list[Source] = []
            if provider is not None and self._bitswap_dir is not None:
                peer = ProviderPeer(provider, self._bitswap_dir, self._reach, self._known)
                peers.append(await stack.enter_async_context(peer))
            await fetch(
                gateways,
                cid,
                into,
                on_progress=tell,
                peers=peers,
                published=() if provider is None else (provider,),
                reach=self._reach,
                on_drop=self._dropped,
            )

    def _dropped(self, source: str, problem: str) -> None:
        if self._told.get(source) != problem:
            self._told[source] = problem
            self._on_drop(source, problem)

    async def fetch_file(self, gateway: str, cid: str, limit_bytes: int) -> bytes:
        """Return a small file, verified."""
        return await fetch_file(gateway, cid, limit_bytes, self._reach)

    def cid_of(self, directory: Path, like: Cid) -> Cid:
        """Return the CID of files on disk, in the version and layout of ``like``."""
        return cid_of(directory, CID_V1 if parse_cid(like).version == 1 else CID_V0)

"""Where the results that others submitted come from: their provider, and the gateways that we know."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

from node.app.delivery import GatewayDelivery
from node.chain.contracts import MarketContracts, Unreadable
from node.chain.deal_record import DealRecord
from node.config import Config
from node.errors import Retryable, Unreachable
from node.mediation.judge import NotHad
from node.publisher.cid import parse_cid
from node.publisher.errors import BadContent, TargetOccupied
from node.publisher.fetching.session import log_drop
from node.publisher.unixfs import CID_V0, CID_V1, cid_of
from node.requester.provider import BadProviderUrl, gateway_url
from node.types import Cid

OnBytes = Callable[[int, int | None], None]


class SubmittedResults:
    """Meets the judge's ``Source``. ``peer_dir`` is where the IPFS node that asks keeps its key."""

    def __init__(
        self,
        config: Config,
        contracts: MarketContracts,
        peer_dir: Path,
        *,
        gateways: tuple[str, ...],
        on_bytes: OnBytes = lambda _received, _total: None,
        on_drop: Callable[[str, str], None] = log_drop,
    ) -> None:
        self._config = config
        self._contracts = contracts
        self._gateways = gateways
        self._on_bytes = on_bytes
        self._delivery = GatewayDelivery(config.reach, peer_dir if config.ipfs.enabled else None, on_drop)

    def canonical(self, data_id: str) -> Cid:
        """Return a submitted data id as a CID. Raises InvalidCid."""
        return self._delivery.canonical(data_id)

    async def fetch(self, record: DealRecord, cid: Cid, into: Path) -> None:
        """Download a result, verified. Raises NotHad."""
        provider = await self._provider(record)
        if provider is None and not self._gateways:
            # Not held against the provider: its address may only be one that our settings refuse.
            raise Retryable(
                "the provider has published no address that this node may fetch the result from: name a "
                "gateway in requester.gateways"
            )
        try:
            try:
                await self._delivery.fetch(provider, self._gateways, cid, into, self._on_bytes)
            except TargetOccupied:
                await asyncio.to_thread(shutil.rmtree, into)
                await self._delivery.fetch(provider, self._gateways, cid, into, self._on_bytes)
        except (Unreachable, BadContent) as error:
            if provider is None:
                raise Retryable(f"the result {cid} is not at the gateways asked: {error}") from error
            raise NotHad(f"the result {cid} cannot be had: {error}") from error

    async def _provider(self, record: DealRecord) -> str | None:
        try:
            user = await self._contracts.get_user(record.deal.members.resource_provider)
            return None if user is None else gateway_url(user.url, self._config.reach)
        except (Unreadable, BadProviderUrl):
            return None


def cid_like(directory: Path, like: Cid | None) -> Cid:
    """Return the CID of files on disk, in the version and layout of ``like``. Raises UnpublishableTree."""
    version_0 = like is not None and parse_cid(like).version == 0
    return cid_of(directory, CID_V0 if version_0 else CID_V1)

"""Bringing a submitted result home: download from the provider, recompute the CID, keep the files.

Raises before anything is accepted: what cannot be had is Retryable, what is not as submitted is BadDelivery.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from node.chain.contracts import MarketContracts, Unreadable
from node.destinations import Reach
from node.errors import JobFailed, Retryable
from node.job.deal import Deal
from node.requester.patience import Patience
from node.requester.provider import BadProviderUrl, gateway_url
from node.requester.results import BadDelivery, result_folder, set_aside
from node.requester.steps import Downloading, OnStep, Verified
from node.types import Cid

OnBytes = Callable[[int, int | None], None]
"""Bytes received and verified so far, and of how many, as far as that is known."""


class NotDownloadable(Retryable):
    """The result cannot be had at the moment; it may be later."""

    exit_code = 3


class Delivery(Protocol):
    """The IPFS side, as the requester needs it."""

    def canonical(self, data_id: str) -> Cid:
        """Return a submitted data id as a CID. Raises NodeError if it is none that can be checked."""
        ...

    async def fetch(
        self, provider: str | None, gateways: Sequence[str], cid: Cid, into: Path, on_bytes: OnBytes
    ) -> None:
        """Download a directory to ``into`` from everywhere at once, verifying every block.

        ``provider`` is the address that the provider published, ``gateways`` are the user's own. ``into``
        appears only when complete; what a broken download has had is not loaded again.

        Raises Retryable if trying again may help.
        """
        ...

    def cid_of(self, directory: Path, like: Cid) -> Cid:
        """Compute the CID of files on disk, in the version and layout of ``like``."""
        ...


class Collector:
    """Downloads results and keeps them under the data directory.

    ``gateways`` are asked for a result beside the provider's own, which is used only within ``reach``.
    """

    def __init__(
        self,
        *,
        data_dir: Path,
        contracts: MarketContracts,
        delivery: Delivery,
        patience: Patience,
        on_step: OnStep,
        reach: Reach,
        gateways: Sequence[str] = (),
    ) -> None:
        self._reach = reach
        self._gateways = gateways
        self._data_dir = data_dir
        self._contracts = contracts
        self._delivery = delivery
        self._patience = patience
        self._on_step = on_step

    async def gateway_of(self, deal: Deal) -> str:
        """Return the provider's published address. Raises NotDownloadable if it has none to connect to."""
        provider = deal.members.resource_provider
        try:
            user = await self._contracts.get_user(provider)
        except Unreadable as error:
            raise NotDownloadable(str(error)) from error
        if user is None:
            raise NotDownloadable(f"the provider {provider} has published no address to download from")
        try:
            return gateway_url(user.url, self._reach)
        except BadProviderUrl as error:
            raise NotDownloadable(str(error)) from error

    async def collect(self, deal: Deal, data_id: str) -> tuple[Cid, Path]:
        """Return the CID and the folder of the verified result. What is already there is not loaded again.

        Raises BadDelivery if the CID cannot be checked or the content is not what the CID says, and
        Retryable if the provider's gateway does not deliver it.
        """
        cid = self._delivery.canonical(data_id)
        folder = result_folder(self._data_dir, deal.deal_id)
        if not await self._holds(folder, cid):
            await asyncio.to_thread(set_aside, folder)
            await self._patience.ask(lambda: self._download(deal, cid, folder))
            if not await self._holds(folder, cid):
                raise BadDelivery(f"the files in {folder} do not have the CID {cid} that was submitted")
        self._on_step(Verified(deal.deal_id, cid, folder))
        return cid, folder

    async def _holds(self, folder: Path, cid: Cid) -> bool:
        def look() -> bool:
            try:
                return folder.is_dir() and self._delivery.cid_of(folder, cid) == cid
            except JobFailed:
                return False  # links or devices, which no published directory has

        return await asyncio.to_thread(look)

    async def _download(self, deal: Deal, cid: Cid, folder: Path) -> None:
        provider = await self._provider_of(deal)

        def tell(received_bytes: int, total_bytes: int | None) -> None:
            self._on_step(Downloading(deal.deal_id, received_bytes, total_bytes))

        await self._delivery.fetch(provider, self._gateways, cid, folder, tell)

    async def _provider_of(self, deal: Deal) -> str | None:
        try:
            return await self.gateway_of(deal)
        except NotDownloadable:
            if not self._gateways:
                raise
            return None

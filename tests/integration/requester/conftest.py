"""A requester and a scripted provider on a real development chain."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest_asyncio

from node.chain.devnet import MEDIATOR, PROVIDER, REQUESTER, Devnet, dev_signer
from node.chain.signer import LocalSigner
from node.chain.txmanager import TxManager, TxSettings
from node.clock import SystemClock
from node.destinations import Reach
from node.publisher.cid import parse_cid
from node.publisher.fetch_file import fetch_file
from node.publisher.fetch_limits import FetchLimits
from node.publisher.fetching.download import fetch
from node.publisher.unixfs import CID_V0, CID_V1, cid_of
from node.requester.flow import Requester, RequesterSettings
from node.requester.proposals import Limits
from node.requester.provider import ProviderStatus
from node.requester.runs import RunRecords
from node.requester.steps import Step
from node.types import Address, Cid, Wei
from tests.fakes.checker import ScriptedChecker
from tests.fakes.provider import TOKEN, ScriptedProvider
from tests.fakes.tx_store import MemoryTxStore

TX_SETTINGS = TxSettings(confirmations=0, poll_interval_s=0.02)


class GatewayDelivery:
    """The publisher, as the requester is given it."""

    def canonical(self, data_id: str) -> Cid:
        return parse_cid(data_id).to_cid()

    async def fetch(self, provider, gateways, cid: Cid, into: Path, on_bytes) -> None:
        def tell(progress) -> None:
            on_bytes(progress.received_bytes, progress.total_bytes)

        published = () if provider is None else (provider,)
        limits = FetchLimits(attempts=1)
        await fetch(gateways, cid, into, limits, tell, published=published, reach=Reach.ANY)

    async def fetch_file(self, gateway: str, cid: str, limit_bytes: int) -> bytes:
        return await fetch_file(gateway, cid, limit_bytes, Reach.ANY)

    def cid_of(self, directory: Path, like: Cid) -> Cid:
        return cid_of(directory, CID_V0 if parse_cid(like).version == 0 else CID_V1)


@dataclass
class Market:
    """Everything a test needs: who is who, what was seen, and a way to make a requester."""

    devnet: Devnet
    data_dir: Path
    provider: ScriptedProvider
    gateway: str
    requester_address: Address
    mediator: Address
    transactions: TxManager
    status: ProviderStatus
    steps: list[Step] = field(default_factory=list)

    def requester(self, **changes) -> Requester:
        settings = {
            "data_dir": self.data_dir,
            "limits": Limits(max_price_wei=Wei(5 * TOKEN)),
            "confirmations": 0,
            "reach": Reach.ANY,
            "wait_for_proposals_s": 20.0,
            "gather_s": 0.1,
            "poll_interval_s": 0.05,
        } | changes
        return Requester(
            address=self.requester_address,
            chain=self.devnet.chain,
            contracts=self.devnet.contracts,
            transactions=self.transactions,
            delivery=GatewayDelivery(),
            documents=GatewayDelivery(),
            provider_status=self.status,
            records=RunRecords(self.data_dir),
            checker=ScriptedChecker(self.data_dir),
            settings=RequesterSettings(**settings),
            clock=SystemClock(),
            on_step=self.steps.append,
        )

    def seen(self, kind: type) -> list:
        return [step for step in self.steps if isinstance(step, kind)]

    async def tokens(self, address: Address) -> int:
        return await self.devnet.contracts.token_balance(address)


@pytest_asyncio.fixture
async def market(devnet: Devnet, tmp_path: Path) -> AsyncIterator[Market]:
    async def manager(signer: LocalSigner) -> TxManager:
        await devnet.fund(signer.address, token_wei=100 * TOKEN)
        store, clock = MemoryTxStore(), SystemClock()
        return TxManager(
            devnet.chain, signer, store, settings=TX_SETTINGS, clock=clock, chain_id=devnet.chain_id
        )

    ours, theirs = dev_signer(REQUESTER), dev_signer(PROVIDER)
    provider = ScriptedProvider(devnet.contracts, await manager(theirs), theirs.address, tmp_path / "blocks")
    status = ProviderStatus(Reach.ANY)
    async with provider.gateway() as gateway:
        await provider.register(gateway)
        yield Market(
            devnet,
            tmp_path / "data",
            provider,
            gateway,
            ours.address,
            dev_signer(MEDIATOR).address,
            await manager(ours),
            status,
        )
    await status.close()

"""A provider that follows a script: it proposes, writes a small result, serves it, and submits.

Real transactions on a real development chain and a real gateway; only the rendering is made up.
"""

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from pathlib import Path

import hypercorn.asyncio
from hypercorn.config import Config as HypercornConfig
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from node.chain.contracts import MarketContracts
from node.chain.txmanager import Mined, TxIntent, TxManager
from node.job.deal import Deal, DealMembers, DealPricing, DealTimeout, DealTimeouts, ServiceType, deal_id_for
from node.job.manifest import MANIFEST, Manifest, class_name, digest
from node.job.outputs import FRAMES, expected_outputs
from node.job.spec import JobSpec
from node.job.stages import computed_stages
from node.pipeline.results import describe_output
from node.publisher.blockstore import BlockStore
from node.publisher.gateway import gateway_routes
from node.publisher.unixfs import import_path
from node.types import Address, Wei

TOKEN = 10**18


def write_result(directory: Path, spec: JobSpec, *, exit_code: str = "0", stderr: str = "") -> Path:
    """Write a result directory with every file that the job promises."""
    (directory / "outputs").mkdir(parents=True)
    listed = []
    for path in expected_outputs(spec, FRAMES):
        (directory / path).parent.mkdir(exist_ok=True)
        (directory / path).write_bytes(f"{path} of {spec.prompt} with seed {spec.seed}".encode())
        listed.append(describe_output(path, directory / path))
    (directory / "exitCode").write_text(exit_code)
    (directory / "stdout").write_text("done\n")
    (directory / "stderr").write_text(stderr)
    parts = {"profile": "scripted", "weights": digest({})}
    manifest = Manifest(
        module=spec.module,
        profile="scripted",
        inputs=spec.tunables(),
        notes=spec.notes,
        determinism_class=class_name(parts),
        class_parts=parts,
        weights={},
        stages={stage: digest(stage) for stage in computed_stages(spec)}
        | {output.path: output.sha256 for output in listed},
        outputs=tuple(listed),
    )
    (directory / MANIFEST).write_text(json.dumps(manifest.to_json()))
    return directory


def propose_terms(
    contracts: MarketContracts,
    number: int,
    requester: Address,
    provider: Address,
    *,
    mediators: tuple[Address, ...],
    price_wei: int = TOKEN,
    submit_timeout_s: int = 3600,
    salt: str = "00000001",
) -> Deal:
    """Return a deal with the usual terms."""
    members = DealMembers(contracts.place.job_manager, requester, provider, mediators)
    timeouts = DealTimeouts(
        DealTimeout(600, Wei(0)),
        DealTimeout(submit_timeout_s, Wei(TOKEN)),
        DealTimeout(86400, Wei(TOKEN)),
        DealTimeout(86400, Wei(0)),
    )
    pricing = DealPricing(Wei(price_wei), Wei(price_wei), 1, Wei(TOKEN))
    deal_id = deal_id_for(contracts.place, number, members, timeouts, pricing, salt)
    return Deal(deal_id, members, timeouts, pricing)


class ScriptedProvider:
    """One provider account with a gateway. ``progress`` is what its status page says of every job."""

    def __init__(self, contracts: MarketContracts, transactions: TxManager, address: Address, root: Path):
        self.address = address
        self.progress: object = {"stage": "sampling", "step": 1, "steps": 4, "fraction": 0.25}
        self._contracts = contracts
        self._transactions = transactions
        self._store = BlockStore(root)
        self._count = 0

    @asynccontextmanager
    async def gateway(self):
        """Serve the block store and the status page; yields the address."""
        routes = [*gateway_routes(self._store), Route("/api/v1/jobs/{job_id}", self._status)]
        listening = socket.create_server(("127.0.0.1", 0))
        config = HypercornConfig()
        port = listening.getsockname()[1]
        config.bind = [f"fd://{listening.detach()}"]  # the server closes it
        config.accesslog = config.errorlog = None
        stop = asyncio.Event()
        server = asyncio.create_task(
            hypercorn.asyncio.serve(Starlette(routes=routes), config, shutdown_trigger=stop.wait)
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            stop.set()
            await server

    async def register(self, url: str) -> None:
        await self._send(self._contracts.update_user("", url, [ServiceType.RESOURCE_PROVIDER]))

    async def propose(self, deal: Deal) -> None:
        payments = self._contracts.addresses.payments
        await self._send(self._contracts.approve(payments, Wei(20 * TOKEN)))
        await self._send(self._contracts.agree(deal))

    async def withdraw_proposal(self, deal: Deal) -> None:
        await self._send(self._contracts.timeout_agree(deal.deal_id))

    def publish(self, directory: Path) -> str:
        return import_path(directory, self._store)

    async def submit(self, deal: Deal, data_id: str, instruction_count: int = 1) -> None:
        await self._send(self._contracts.add_result(deal.deal_id, "", data_id, instruction_count))

    async def _status(self, request) -> JSONResponse:
        return JSONResponse({"job_id": request.path_params["job_id"], "progress": self.progress})

    async def _send(self, call) -> None:
        self._count += 1
        outcome = await self._transactions.send(TxIntent(f"{self.address}:{self._count}", call))
        assert isinstance(outcome, Mined), outcome

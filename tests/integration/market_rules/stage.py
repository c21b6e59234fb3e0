"""A real node on one of the two deployments; the job creator is played by hand, or by a real requester."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from eth_abi.abi import decode, encode

from node.app.parties import requester
from node.chain import interface
from node.chain.client import Call
from node.config import load
from node.job.deal import Deal
from node.requester.flow import Requester
from node.types import DealId, Wei
from tests.chaos.harness.arena import Arena, Provider
from tests.chaos.harness.spending import CALLS
from tests.chaos.harness.standing import MODULE, standing_deal
from tests.integration.market_rules.bench import JC, RP, Bench
from tests.winding import drop_blocks


class Stage:
    """One run on the arena's chain. ``provider`` is made by the first ``start``."""

    def __init__(self, place: Arena, directory: Path) -> None:
        self.place = place
        self.bench = Bench(place.market)
        self.contracts = place.market.contracts
        self._directory = directory
        self._provider: Provider | None = None

    @property
    def provider(self) -> Provider:
        if self._provider is None:
            raise RuntimeError("no provider was made yet")
        return self._provider

    async def start(self, *hooks: Any, **sections: dict[str, Any]) -> None:
        """Start the node, with changed settings the first time."""
        if self._provider is None:
            self._provider = self.place.provider(**sections)
        assert await self.provider.start(*hooks), self.provider.tail()

    async def close(self) -> None:
        if self._provider is not None:
            await self._provider.kill()
            shutil.rmtree(self._provider.directory)

    async def allow(self) -> None:
        """Let the market take the job creator's tokens, where it has to be let."""
        if self.contracts.rules.needs_allowance:
            spender = self.contracts.addresses.payments
            await self.bench.send(JC, self.contracts.approve(spender, Wei(2**255)))

    async def post(self, *inputs: str) -> None:
        """Post a job as the job creator."""
        await self.allow()
        await self.bench.send(JC, self.contracts.run_job(MODULE, inputs or ("Prompt=a fox",), JC))

    async def get(self, path: str) -> Any:
        """Return what the node's HTTP port answers, None while it does not."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{self.provider.url}{path}") as answer,
            ):
                return await answer.json() if answer.ok else None
        except aiohttp.ClientError:
            return None

    async def reached(
        self, *phases: str, job: str = "j1", reason: str = "", after: str = ""
    ) -> dict[str, Any]:
        """Wait until a job is in one of the phases (with this reason, after this event), and return it."""
        async with asyncio.timeout(30):
            while True:
                found = await self.get(f"/api/v1/jobs/{job}")
                if (
                    found
                    and found["phase"] in phases
                    and reason in (found["reason"] or "")
                    and (not after or after in {step["event"] for step in found["timeline"]})
                ):
                    return dict(found)
                if not self.provider.node.alive:
                    raise AssertionError(f"the node ended:\n{self.provider.tail()}")
                await asyncio.sleep(0.02)

    async def status(self) -> dict[str, Any]:
        """Return the node's whole state once it has read its wallet."""
        async with asyncio.timeout(30):
            while True:
                found = await self.get("/api/v1/status")
                if found and "accepting" in found:
                    return dict(found)
                await asyncio.sleep(0.02)

    async def told(self, reason: str) -> None:
        """Wait until the node gives this reason for taking nothing."""
        async with asyncio.timeout(30):
            while not any(
                reason in told
                for told in (await self.get("/api/v1/status") or {}).get("not_accepting_because", ())
            ):
                await asyncio.sleep(0.02)

    def standing(self, number: int = 1, *inputs: str) -> Deal:
        """Return the deal that follows from the node's standing terms, whoever agrees to it first."""
        return standing_deal(
            self.provider,
            self.contracts,
            number=number,
            requester=JC,
            inputs=inputs or ("Prompt=a fox",),
        )

    async def hire(self, deal: Deal) -> None:
        """Agree to a deal first, as a job creator that hires this node directly."""
        await self.bench.send(JC, self.contracts.agree(deal))

    async def proposed(self, job: str = "j1") -> Deal:
        """Wait for the node's proposal and return its deal as stored."""
        found = await self.reached("PROPOSED", job=job)
        deal = await self.contracts.get_deal(DealId(found["deal_id"]))
        assert deal is not None
        return deal

    async def read_all(self) -> None:
        """Wait until the node has read every block there is now."""
        last = (await self.place.market.chain.head()).number
        async with asyncio.timeout(30):
            while ((await self.get("/api/v1/status")) or {"chain": {}})["chain"].get("cursor", 0) < last:
                await asyncio.sleep(0.02)

    async def agreed(self) -> Deal:
        """Agree to the node's proposal."""
        deal = await self.proposed()
        await self.bench.send(JC, self.contracts.agree(deal))
        return deal

    async def drop_blocks_from(self, topic: str) -> None:
        """Reorganise the newest log of this kind, and all after it, out of the chain."""
        chain = self.place.market.chain
        head = (await chain.head()).number
        addresses = self.contracts.addresses
        logs = await chain.logs(0, head, (addresses.job_manager, addresses.storage), (topic,))
        await drop_blocks(self.place.market.rpc, above=logs[-1].block_number - 1)

    def under_id(self, deal: Deal, deal_id: bytes) -> Call:
        """Return the call that agrees to a deal under an id of these bytes."""
        agree = interface.AGREE
        terms = decode(agree.types, self.contracts.agree(deal).data[4:])
        data = encode(["bytes", *agree.types[1:]], [deal_id, *terms[1:]])
        return Call(self.contracts.addresses.controller, agree.selector + data, "agree")

    async def pending_from(self, account: str) -> None:
        """Wait until a transaction of the account waits to be mined."""
        async with asyncio.timeout(30):
            while await self.place.market.chain.nonce(account, pending=True) == (
                await self.place.market.chain.nonce(account)
            ):
                await asyncio.sleep(0.01)

    async def sent(self) -> list[str]:
        """Return the names of the provider's mined calls of deals, reverted ones included."""
        return [name for name, _ in await self.mined()]

    async def mined(self, sender: str = RP) -> list[tuple[str, bool]]:
        """Return the mined calls of deals of one party, each with whether it succeeded."""
        chain, found = self.place.market.chain, []
        head = await chain.head()
        for number in range(head.number + 1):
            block = await self.place.market.rpc.call("eth_getBlockByNumber", [hex(number), True])
            for transaction in block["transactions"]:
                name = CALLS.get(bytes.fromhex(transaction["input"][2:10]))
                if transaction["from"] == sender and name is not None:
                    receipt = await chain.receipt(transaction["hash"])
                    assert receipt is not None
                    found.append((name, receipt.ok))
        return found

    @asynccontextmanager
    async def requester(self, **changes: Any) -> AsyncIterator[Requester]:
        """A real requester with the job creator's key."""
        settings = self.place.box.settings("requester", self._directory / "requester")
        usual = {"matching": "propose", "gather_proposals_s": 0.0, "wait_for_proposals_s": 60.0}
        settings["requester"] = usual | changes
        settings["chain"] |= {"poll_interval_s": 0.02}
        async with requester(load(environment={}, overrides=settings), on_step=lambda _: None) as party:
            yield party

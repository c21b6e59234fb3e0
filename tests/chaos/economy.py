"""Accounts that a test owns on a devnet, what they do to a node, and what the chain says it cost the node."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from node.chain import interface
from node.chain.client import Receipt
from node.types import Address, Wei
from tests.chaos.harness.arena import Arena, Provider
from tests.chaos.harness.nodes import Hook

TOKEN = 10**18
MODULE = "sdv-pipeline:v1.1-lilypad2"
CLAIMS = {
    function.selector: function.name
    for function in (
        interface.TIMEOUT_AGREE,
        interface.TIMEOUT_JUDGE_RESULT,
        interface.TIMEOUT_MEDIATE_RESULT,
    )
}


@asynccontextmanager
async def running(arena: Arena, *hooks: Hook, **sections: dict[str, Any]) -> AsyncIterator[Provider]:
    """Give a started provider on a chain wound back to its beginning; it is killed afterwards."""
    await arena.rewind()
    provider = arena.provider(**sections)
    try:
        await provider.start(*hooks)
        yield provider
    finally:
        await provider.kill()
        await arena.market.rpc.call("evm_setAutomine", [True])


async def job(provider: Provider, job_id: str) -> dict[str, Any]:
    """Return the job as the running node tells it, {} while it does not."""
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{provider.url}/api/v1/jobs/{job_id}") as answer,
        ):
            return dict(await answer.json()) if answer.status == 200 else {}
    except aiohttp.ClientError:
        return {}


async def reached(provider: Provider, job_id: str, *phases: str) -> dict[str, Any]:
    """Wait until the job is in one of these phases, and return it."""
    while True:
        found = await job(provider, job_id)
        if found.get("phase") in phases:
            return found
        if not provider.node.alive:
            raise AssertionError(f"the node ended with {provider.node.ended.result()}:\n{provider.tail()}")
        await asyncio.sleep(0.03)


@dataclass(frozen=True, slots=True)
class Claim:
    """A timeout call of the node: which, for which deal, in a block of which time, and whether it held."""

    function: str
    deal_id: str
    at: int
    ok: bool


class Account:
    """A requester. ``post``, ``agree``... each return when mined; Anvil signs."""

    def __init__(self, market, address: Address) -> None:
        self.market = market
        self.address = address

    @classmethod
    async def funded(cls, market, number: int, *, tokens: int = 100, allowance: int = 100) -> "Account":
        account = cls(market, Address("0x" + f"{0xACC0000 + number:040x}"))
        await market.rpc.call("anvil_impersonateAccount", [account.address])
        await market.fund(account.address, ether_wei=10**19, token_wei=tokens * TOKEN)
        if allowance:
            await account.allow(allowance * TOKEN)
        return account

    async def send(self, call, *, value: int = 0) -> Receipt:
        """Send and wait for the block; raises AssertionError if it reverted."""
        request = {"from": self.address, "to": call.to, "data": "0x" + call.data.hex(), "gas": hex(3_000_000)}
        sent = await self.market.rpc.call("eth_sendTransaction", [request])
        receipt = await self.market.chain.receipt(sent)
        if receipt is None:
            await self.market.mine()
            receipt = await self.market.chain.receipt(sent)
        assert receipt is not None, call.what
        assert receipt.ok, call.what
        return receipt

    async def allow(self, amount: int) -> None:
        await self.send(self.market.contracts.approve(self.market.addresses.payments, Wei(amount)))

    async def post(self, *inputs: str) -> None:
        await self.send(self.market.contracts.run_job(MODULE, inputs or ("Prompt=a fox",), self.address))

    async def agree(self, deal_id: str) -> None:
        await self.send(self.market.contracts.agree(await self.market.contracts.get_deal(deal_id)))

    async def accept(self, deal_id: str) -> None:
        await self.send(self.market.contracts.accept_result(deal_id))

    async def dispute(self, deal_id: str) -> None:
        await self.send(self.market.contracts.check_result(deal_id))

    async def give_away_tokens(self) -> None:
        left = await self.market.contracts.token_balance(self.address)
        await self.send(self.market.contracts.transfer(Address("0x" + "de" * 20), left))


async def claims_of(market, account: Address, first: int = 0) -> list[Claim]:
    """Return every timeout call of an account that is in a block, reverted ones included."""
    found = []
    head = await market.chain.head()
    for number in range(first, head.number + 1):
        block = await market.rpc.call("eth_getBlockByNumber", [hex(number), True])
        for transaction in block["transactions"]:
            data = bytes.fromhex(transaction["input"][2:])
            if transaction["from"] != account or data[:4] not in CLAIMS:
                continue
            offset = 4 + int.from_bytes(data[4:36])
            length = int.from_bytes(data[offset : offset + 32])
            deal_id = data[offset + 32 : offset + 32 + length].decode()
            receipt = await market.chain.receipt(transaction["hash"])
            found.append(Claim(CLAIMS[data[:4]], deal_id, int(block["timestamp"], 16), receipt.ok))
    return found

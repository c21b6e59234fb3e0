"""Deals made by hand on a development chain: who sends what, what the market tells, who owns how much."""

import asyncio

from node.chain.client import Call
from node.chain.devnet import DEPLOYER, MEDIATOR, PROVIDER, REQUESTER, DevMarket, dev_signer
from node.chain.events import (
    MARKET_TOPICS,
    DealStateChange,
    JobAdded,
    MediationRequested,
    Payment,
    Undecodable,
    decode,
)
from node.chain.interface import Function
from node.chain.reverts import Meaning, Reverted
from node.job.deal import Deal, DealMembers, DealPricing, DealTimeout, DealTimeouts, deal_id_for
from node.types import Address, Wei

TOKEN = 10**18
JC, RP, JUDGE, OWNER = (dev_signer(account).address for account in (REQUESTER, PROVIDER, MEDIATOR, DEPLOYER))
NAMES = {JC: "JC", RP: "RP", JUDGE: "mediator", OWNER: "owner"}
HOUR = 3600
GAS = 12_000_000


class Bench:
    """The parties of deals, each sending its own transactions from an account that Anvil signs for."""

    def __init__(self, market: DevMarket) -> None:
        self.market = market
        self.contracts = market.contracts
        self.chain = market.chain
        self._before: dict[Address, int] = {}

    async def open(self) -> None:
        """Give both parties a hundred tokens, and the market what it needs to take them."""
        for party in (JC, RP):
            await self.market.fund(party, token_wei=100 * TOKEN)
            if self.contracts.rules.needs_allowance:
                await self.send(party, self.contracts.approve(self.contracts.addresses.payments, Wei(2**255)))
        for account in NAMES:
            self._before[account] = await self.contracts.token_balance(account)

    def deal(self, number: int = 1, **changes) -> Deal:
        """Return a deal with the state table's numbers: P 1, PC 2, K 2, F 1, TS = TJ = 1, an hour each."""
        one = Wei(TOKEN)
        terms = {
            "job_creator": JC,
            "provider": RP,
            "mediators": (JUDGE,),
            "agree_s": HOUR,
            "judge_s": HOUR,
            "submit_collateral": one,
            "judge_collateral": one,
            "price": one,
            "payment_collateral": Wei(2 * TOKEN),
            "multiple": 2,
            "fee": one,
        } | changes
        members = DealMembers(
            self.contracts.addresses.job_manager,
            terms["job_creator"],
            terms["provider"],
            tuple(terms["mediators"]),
        )
        timeouts = DealTimeouts(
            DealTimeout(terms["agree_s"], Wei(0)),
            DealTimeout(HOUR, terms["submit_collateral"]),
            DealTimeout(terms["judge_s"], terms["judge_collateral"]),
            DealTimeout(HOUR, Wei(0)),
        )
        pricing = DealPricing(terms["price"], terms["payment_collateral"], terms["multiple"], terms["fee"])
        deal_id = deal_id_for(self.contracts.place, number, members, timeouts, pricing, "00000001")
        return Deal(deal_id, members, timeouts, pricing)

    async def send(self, sender: Address, call: Call) -> list[tuple]:
        """Send a call and return what the market told about it, in order. It must succeed."""
        request = {"from": sender, "to": call.to, "data": "0x" + call.data.hex(), "gas": hex(GAS)}
        sent = await self.market.rpc.call("eth_sendTransaction", [request])
        # Anvil answers before it mines.
        while (receipt := await self.chain.receipt(sent)) is None:
            await asyncio.sleep(0.005)
        assert receipt.ok, f"{call.what} reverted"
        addresses = self.contracts.addresses
        logs = await self.chain.logs(
            receipt.block_number,
            receipt.block_number,
            (addresses.storage, addresses.payments, addresses.mediation, addresses.job_manager),
            MARKET_TOPICS,
        )
        return [told(decode(log)) for log in logs if log.tx_hash == sent]

    async def refused(self, sender: Address, call: Call) -> Meaning:
        """Return the meaning of a simulated call's revert; it must revert."""
        try:
            await self.chain.call(call, sender)
        except Reverted as refusal:
            return refusal.meaning
        raise AssertionError(f"{call.what} did not revert")

    async def pause(self, *, paused: bool = True) -> None:
        """Have the token's owner stop it, or release it again (Lilypad's token only)."""
        function = Function("pause" if paused else "unpause")
        await self.send(OWNER, Call(self.contracts.addresses.token, function.encode(), function.name))

    async def pass_time(self, seconds: int) -> None:
        await self.market.rpc.call("evm_increaseTime", [hex(seconds)])
        await self.market.mine()

    async def gains(self) -> dict[str, int]:
        """Return what each account gained since ``open``, in wei, without those that gained nothing."""
        now = {account: await self.contracts.token_balance(account) for account in NAMES}
        changed = {NAMES[account]: now[account] - self._before[account] for account in NAMES}
        return {name: wei for name, wei in changed.items() if wei}

    async def agreed(self, deal: Deal) -> None:
        for party in (deal.members.resource_provider, deal.members.job_creator):
            await self.send(party, self.contracts.agree(deal))

    async def submitted(self, deal: Deal, count: int = 1) -> list[tuple]:
        await self.agreed(deal)
        return await self.send(RP, self.contracts.add_result(deal.deal_id, "", "bafyresult", count))

    async def drain(self, account: Address) -> None:
        """Have an account take out its whole escrow by a deal with nobody, as bug 3 allows.

        Where escrow belongs to deals the same steps move only what they locked themselves.
        """
        rules = self.contracts.rules
        everything = Wei(await self.contracts.pooled_escrow(account) if rules.escrow_can_drain else 5 * TOKEN)
        throwaway = self.deal(
            999,
            job_creator=account,
            provider=Address("0x" + "77" * 20),
            agree_s=0,
            submit_collateral=everything,
            judge_collateral=Wei(0),
            payment_collateral=Wei(0),
            price=Wei(0),
        )
        await self.send(account, self.contracts.agree(throwaway))
        await self.pass_time(2)
        await self.send(account, self.contracts.timeout_agree(throwaway.deal_id))


def told(event: object) -> tuple:
    """Return an event as a row of the state table."""
    match event:
        case DealStateChange():
            return ("state", int(event.state))
        case Payment():
            payee = NAMES.get(event.payee, event.payee)
            return (payee, event.amount_wei / TOKEN, int(event.reason), int(event.direction))
        case MediationRequested():
            return ("drawn", NAMES.get(event.mediator, event.mediator))
        case JobAdded():
            return ("job", event.number)
        case Undecodable():
            return ("undecodable", event.event)
        case _:
            raise AssertionError(f"{event} is no event of the market")

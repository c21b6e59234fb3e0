"""One account that sends on a chain in memory: its node, clock, store, signer and manager."""

import asyncio

from node.chain.client import Call, Chain
from node.chain.devnet import dev_signer
from node.chain.txmanager import TxIntent, TxManager, TxSettings
from node.types import Address
from tests.fakes.chain import FakeNode, MiningClock
from tests.fakes.tx_store import MemoryTxStore

CONTRACT = Address("0x" + "c0" * 20)
SIGNER = dev_signer(4)
SETTINGS = TxSettings(confirmations=2, poll_interval_s=1.0, resubmit_after_s=10.0)


def intent(name: str = "j1:agree", data: bytes = b"agree") -> TxIntent:
    return TxIntent(name, Call(CONTRACT, data, name))


class World:
    """A node, its clock, a store that survives, and the manager of the moment."""

    def __init__(self, settings: TxSettings = SETTINGS, signer=SIGNER) -> None:
        self.node = FakeNode()
        self.node.mine(5)
        self.clock = MiningClock(self.node)
        self.store = MemoryTxStore()
        self.settings = settings
        self.signer = signer
        self.manager = self.new_manager()

    def new_manager(self, store=None) -> TxManager:
        return TxManager(
            Chain(self.node),
            self.signer,
            store or self.store,
            settings=self.settings,
            clock=self.clock,
            chain_id=self.node.chain_id,
        )

    @staticmethod
    async def settle_tasks() -> None:
        """Let every other task get as far as it can."""
        for _ in range(50):
            await asyncio.sleep(0)

    def nonces_of_ours_mined(self) -> list[int]:
        return [tx.nonce for tx in self.node.mined() if tx.payload is not None]


class ScriptedSigner:
    """Does what each call's script entry says, then signs."""

    def __init__(self, *script: Exception | str) -> None:
        self.address = SIGNER.address
        self.script = list(script)

    async def sign(self, tx: dict) -> bytes:
        step = self.script.pop(0) if self.script else ""
        if isinstance(step, Exception):
            raise step
        if step == "another account":
            return await dev_signer(5).sign(tx)
        if step == "another nonce":
            return await SIGNER.sign(tx | {"nonce": tx["nonce"] + 1})
        return await SIGNER.sign(tx)

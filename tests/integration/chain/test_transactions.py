"""The tx manager against a real EVM: replacement, crashes, reverts, reorganisations, foreign nonces."""

import asyncio

import pytest

from node.chain.devnet import ETHER, PROVIDER, REQUESTER, DevMarket, dev_signer
from node.chain.txmanager import Failed, Mined, TxIntent, TxManager, TxSettings
from node.clock import SystemClock
from node.job.transactions import TxStatus
from node.types import Wei
from tests.fakes.tx_store import MemoryTxStore
from tests.winding import drop_blocks

pytestmark = pytest.mark.integration
SIGNER = dev_signer(PROVIDER)
HURRIED = TxSettings(confirmations=2, poll_interval_s=0.02, resubmit_after_s=0.05)


class MiningClock(SystemClock):
    """Mines a block whenever somebody waits, unless told to hold still."""

    def __init__(self, devnet: DevMarket) -> None:
        self.devnet = devnet
        self.mining = asyncio.Event()
        self.mining.set()

    async def sleep(self, seconds: float) -> None:
        if self.mining.is_set():
            await self.devnet.mine()
        await super().sleep(seconds)


class WatchedStore(MemoryTxStore):
    """Tells when an intent has that many payloads."""

    def __init__(self, payloads: int) -> None:
        super().__init__()
        self.left = payloads
        self.reached = asyncio.Event()

    async def record_attempt(self, *arguments) -> None:
        await super().record_attempt(*arguments)
        self.left -= 1
        if self.left == 0:
            self.reached.set()


def manager(devnet: DevMarket, store: MemoryTxStore, clock: MiningClock) -> TxManager:
    return TxManager(devnet.chain, SIGNER, store, settings=HURRIED, clock=clock, chain_id=devnet.chain_id)


def approval(devnet: DevMarket, amount: int = 5) -> TxIntent:
    call = devnet.contracts.approve(devnet.addresses.payments, Wei(amount))
    return TxIntent("wallet:approve", call)


async def test_a_transaction_nobody_mines_is_replaced_and_the_dearest_payload_wins(devnet: DevMarket):
    await devnet.rpc.call("evm_setAutomine", [False])
    clock, store = MiningClock(devnet), WatchedStore(payloads=4)
    clock.mining.clear()
    before = await devnet.chain.nonce(SIGNER.address)
    sending = asyncio.create_task(manager(devnet, store, clock).send(approval(devnet)))
    await store.reached.wait()
    clock.mining.set()
    outcome = await sending

    assert isinstance(outcome, Mined)
    attempts = store.rows["wallet:approve"].attempts
    assert len(attempts) >= 4
    assert outcome.tx_hash in {attempt.tx_hash for attempt in attempts[2:]}
    assert await devnet.chain.nonce(SIGNER.address) == before + 1
    assert await devnet.contracts.token_allowance(SIGNER.address, devnet.addresses.payments) == 5


async def test_killed_between_writing_and_broadcast_one_payload_is_mined(devnet: DevMarket):
    class Killed(BaseException):
        pass

    class DyingStore(MemoryTxStore):
        async def record_attempt(self, *arguments) -> None:
            await super().record_attempt(*arguments)
            raise Killed

    clock, dying = MiningClock(devnet), DyingStore()
    before = await devnet.chain.nonce(SIGNER.address)
    with pytest.raises(Killed):
        await manager(devnet, dying, clock).send(approval(devnet))
    assert await devnet.chain.nonce(SIGNER.address, pending=True) == before

    survivor = MemoryTxStore()
    survivor.rows = dying.rows
    restarted = manager(devnet, survivor, clock)
    await restarted.resume()
    outcome = await restarted.send(approval(devnet))

    assert isinstance(outcome, Mined)
    (written,) = survivor.rows["wallet:approve"].attempts
    assert outcome.tx_hash == written.tx_hash
    assert await devnet.chain.nonce(SIGNER.address) == before + 1


async def test_a_call_that_reverts_after_it_was_mined_tells_why(devnet: DevMarket):
    await devnet.fund(SIGNER.address, token_wei=ETHER)
    clock, store = MiningClock(devnet), WatchedStore(payloads=2)
    await devnet.rpc.call("evm_setAutomine", [False])
    clock.mining.clear()
    sender = manager(devnet, store, clock)
    to = dev_signer(REQUESTER).address
    sending = [
        asyncio.create_task(sender.send(TxIntent(f"pay:{n}", devnet.contracts.transfer(to, Wei(ETHER)))))
        for n in range(2)
    ]
    # Both passed the simulation, because neither was mined then; only one of them can be paid.
    await store.reached.wait()
    clock.mining.set()
    outcomes = await asyncio.gather(*sending)

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Failed", "Mined"]
    (failed,) = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    assert failed.reason == "ERC20: transfer amount exceeds balance"
    assert failed.tx_hash is not None
    assert store.rows[failed.intent_id].status is TxStatus.REVERTED


async def test_a_transaction_lost_in_a_reorganisation_is_mined_again(devnet: DevMarket):
    clock, store = MiningClock(devnet), MemoryTxStore()
    clock.mining.clear()
    before = await devnet.chain.nonce(SIGNER.address)
    head = await devnet.chain.head()
    sending = asyncio.create_task(manager(devnet, store, clock).send(approval(devnet)))
    while await devnet.chain.nonce(SIGNER.address) == before:
        await devnet.chain.head()
    await drop_blocks(devnet.rpc, above=head.number)
    clock.mining.set()
    outcome = await sending

    assert isinstance(outcome, Mined)
    assert await devnet.chain.nonce(SIGNER.address) == before + 1
    receipt = await devnet.chain.receipt(outcome.tx_hash)
    assert receipt is not None
    assert receipt.block_number == outcome.block_number


async def send_by_hand(devnet: DevMarket, nonce: int, max_fee: int) -> str:
    """The operator moves money with the same key from elsewhere."""
    raw = await SIGNER.sign(
        {
            "type": 2,
            "chainId": devnet.chain_id,
            "nonce": nonce,
            "to": bytes(19) + b"\x99",
            "value": 1,
            "data": b"",
            "gas": 21_000,
            "maxFeePerGas": max_fee,
            "maxPriorityFeePerGas": max_fee * 4 // 5,
            "accessList": [],
        }
    )
    return await devnet.chain.send_raw(raw)


async def test_a_nonce_that_another_wallet_used_is_given_up_and_the_call_still_happens_once(
    devnet: DevMarket,
):
    clock, store = MiningClock(devnet), WatchedStore(payloads=1)
    clock.mining.clear()
    await devnet.rpc.call("evm_setAutomine", [False])
    before = await devnet.chain.nonce(SIGNER.address)
    sending = asyncio.create_task(manager(devnet, store, clock).send(approval(devnet)))
    await store.reached.wait()
    foreign = await send_by_hand(devnet, before, max_fee=500 * 10**9)
    await devnet.mine()
    clock.mining.set()
    outcome = await sending

    assert isinstance(outcome, Mined)
    assert outcome.tx_hash != foreign
    assert await devnet.chain.nonce(SIGNER.address) == before + 2
    assert store.rows["wallet:approve"].reason == f"nonce {before} was used by {foreign}"


async def test_a_nonce_whose_transaction_vanished_from_the_pool_is_filled(devnet: DevMarket):
    clock, store = MiningClock(devnet), WatchedStore(payloads=1)
    clock.mining.clear()
    await devnet.rpc.call("evm_setAutomine", [False])
    before = await devnet.chain.nonce(SIGNER.address)
    foreign = await send_by_hand(devnet, before, max_fee=500 * 10**9)
    sending = asyncio.create_task(manager(devnet, store, clock).send(approval(devnet)))
    await store.reached.wait()
    assert store.rows["wallet:approve"].nonce == before + 1
    await devnet.rpc.call("anvil_dropTransaction", [foreign])
    clock.mining.set()

    assert isinstance(await sending, Mined)
    assert await devnet.chain.nonce(SIGNER.address) == before + 2
    assert store.rows[f"gap:{before}"].to == SIGNER.address
    assert await devnet.contracts.token_allowance(SIGNER.address, devnet.addresses.payments) == 5


async def test_many_intents_at_once_leave_no_gap(devnet: DevMarket):
    clock, store = MiningClock(devnet), MemoryTxStore()
    sender = manager(devnet, store, clock)
    before = await devnet.chain.nonce(SIGNER.address)
    intents = [
        TxIntent(f"approve:{n}", devnet.contracts.approve(devnet.addresses.payments, Wei(n)))
        for n in range(8)
    ]
    outcomes = await asyncio.gather(*(sender.send(intent) for intent in intents))
    assert all(isinstance(outcome, Mined) for outcome in outcomes)
    assert sorted(row.nonce for row in store.rows.values()) == list(range(before, before + 8))

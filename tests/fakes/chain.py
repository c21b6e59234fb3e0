"""A chain that behaves, spoken to in JSON-RPC: it pools, mines, drops, reorders, reverts and reorganises.

Tests put a real ``Chain`` on top of ``FakeNode``, so that the adapter's parsing is part of what they test.
"""

import asyncio
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from eth_account import Account
from hexbytes import HexBytes

from node.chain.payload import Payload, payload_hash, read_signed
from node.chain.rpc import RpcError
from node.errors import Unreachable
from node.types import Address

GWEI = 10**9
_UPPER = re.compile("[A-Z]")


def fake_hash(*parts: object) -> str:
    return "0x" + hashlib.sha256(repr(parts).encode()).hexdigest()


@dataclass
class PooledTx:
    """A transaction the node has seen; ``payload`` is None for one that another wallet signed."""

    hash: str
    sender: Address
    nonce: int
    max_fee: int
    tip: int
    payload: Payload | None = None
    to: Address | None = None
    data: bytes = b""


@dataclass
class FakeBlock:
    number: int
    hash: str
    parent: str
    txs: list[PooledTx] = field(default_factory=list)
    logs: list[dict[str, Any]] = field(default_factory=list)


class FakeNode:
    """One node and its chain. Attributes steer it; ``broadcasts`` lists every payload that ever arrived."""

    def __init__(self, *, chain_id: int = 31337, base_fee: int = GWEI) -> None:
        self.chain_id = chain_id
        self.base_fee = base_fee
        self.tip = GWEI
        self.needed_fee = 0
        """Transactions that offer less per gas stay in the pool."""
        self.balance = 10**21
        self.call_reverts: Callable[[str], str | None] = lambda _block: None
        """Why an eth_call at a block reverts, or None."""
        self.gas_used = 90_000
        self.mined_reverts = False
        self.forgets = 0
        """This many broadcasts are acknowledged and forgotten."""
        self.dead_calls = 0
        """This many calls are not answered."""
        self.dead_after_send = False
        """Broadcasts arrive, but their answers are lost."""
        self.hidden_receipts = 0
        """This many receipt questions are answered with nothing."""
        self.keeps_stale_receipts = False
        """Receipts of blocks that a reorganisation dropped are still served."""
        self.pending_count: int | None = None
        """What the node says of waiting transactions, when it lags."""
        self.keeps_old_states = True
        self.send_error: str | None = None
        self.logs_per_answer = 10**9
        self.broadcasts: list[Payload] = []
        self.broadcast_seen = asyncio.Event()
        self.asked: list[str] = []
        self.blocks = [FakeBlock(0, fake_hash("genesis"), "0x" + "0" * 64)]
        self.pool: list[PooledTx] = []
        self._forks = 0
        self._stale: list[FakeBlock] = []

    # steering

    def mine(self, count: int = 1) -> None:
        for _ in range(count):
            self._add_block(self._pick())

    def mine_foreign(self, sender: Address, to: Address | None = None, data: bytes = b"") -> str:
        """Mine a transaction of the same account that nobody here signed."""
        nonce = self._count(sender, len(self.blocks) - 1)
        foreign = PooledTx(fake_hash("foreign", nonce), sender, nonce, 10**12, 1, to=to, data=data)
        self._add_block([foreign])
        self._drop_used()
        return foreign.hash

    def reorg(self, depth: int, *, keep_transactions: bool = False) -> None:
        """Replace the newest ``depth`` blocks by as many others."""
        dropped = self.blocks[-depth:]
        self._stale += dropped
        del self.blocks[-depth:]
        self._forks += 1
        if keep_transactions:
            self.pool.extend(tx for block in dropped for tx in block.txs)
        for _ in dropped:
            self._add_block(self._pick() if keep_transactions else [])

    def add_log(self, log: dict[str, Any]) -> None:
        """Put a log into the newest block."""
        block = self.blocks[-1]
        block.logs.append(
            log
            | {
                "blockNumber": hex(block.number),
                "blockHash": block.hash,
                "logIndex": hex(len(block.logs)),
                "transactionHash": fake_hash("log", block.hash, len(block.logs)),
            }
        )

    def mined(self) -> list[PooledTx]:
        return [tx for block in self.blocks for tx in block.txs]

    # JSON-RPC

    async def call(self, method: str, params: Sequence[object]) -> Any:
        self.asked.append(method)
        await asyncio.sleep(0)
        if self.dead_calls:
            self.dead_calls -= 1
            raise Unreachable("the fake endpoint is down")
        answer = getattr(self, "_" + _UPPER.sub(lambda found: "_" + found[0].lower(), method))(*params)
        if self.dead_after_send and method == "eth_sendRawTransaction":
            raise Unreachable("the answer was lost")
        return answer

    def _eth_chain_id(self) -> str:
        return hex(self.chain_id)

    def _eth_get_block_by_number(self, number: str, full: bool) -> Any:
        index = len(self.blocks) - 1 if number == "latest" else int(number, 16)
        if index >= len(self.blocks):
            return None
        block = self.blocks[index]
        return {
            "number": hex(block.number),
            "hash": block.hash,
            "parentHash": block.parent,
            "timestamp": hex(1_700_000_000 + block.number),
            "transactions": [self._shown(tx, block) if full else tx.hash for tx in block.txs],
        }

    def _eth_get_logs(self, query: dict[str, Any]) -> Any:
        first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
        if last >= len(self.blocks):
            raise RpcError(-32000, "block range extends beyond current head block")
        logs = [log for block in self.blocks[first : last + 1] for log in block.logs]
        if len(logs) > self.logs_per_answer:
            raise RpcError(-32005, f"query returned more than {self.logs_per_answer} results")
        return logs

    def _eth_call(self, request: dict[str, str], block: str) -> str:
        reason = self.call_reverts(block)
        if reason is not None:
            text = reason.encode()
            data = "08c379a0" + (32).to_bytes(32).hex() + len(text).to_bytes(32).hex()
            data += text.ljust(-(-len(text) // 32) * 32, b"\0").hex()
            raise RpcError(3, f"execution reverted: {reason}", "0x" + data)
        return "0x"

    def _eth_estimate_gas(self, request: dict[str, str]) -> str:
        return hex(100_000)

    def _eth_fee_history(self, count: str, newest: str, percentiles: list[int]) -> Any:
        return {"baseFeePerGas": [hex(self.base_fee)] * 2, "reward": [[hex(self.tip)]]}

    def _eth_get_balance(self, address: str, block: str) -> str:
        return hex(self.balance)

    def _eth_get_transaction_count(self, address: Address, block: str) -> str:
        head = len(self.blocks) - 1
        if block == "pending" and self.pending_count is not None:
            return hex(self.pending_count)
        if block == "pending":
            count = self._count(address, head)
            waiting = {tx.nonce for tx in self.pool if tx.sender == address}
            while count in waiting:
                count += 1
            return hex(count)
        number = head if block == "latest" else int(block, 16)
        if number < head - 4 and not self.keeps_old_states:
            raise RpcError(-32000, "missing trie node")
        return hex(self._count(address, number))

    def _eth_get_transaction_receipt(self, wanted: str) -> Any:
        if self.hidden_receipts:
            self.hidden_receipts -= 1
            return None
        for block in [*(self._stale if self.keeps_stale_receipts else ()), *self.blocks]:
            for tx in block.txs:
                if tx.hash == wanted:
                    return {
                        "transactionHash": tx.hash,
                        "status": "0x0" if self.mined_reverts else "0x1",
                        "blockNumber": hex(block.number),
                        "blockHash": block.hash,
                        "gasUsed": hex(self.gas_used),
                        "effectiveGasPrice": hex(min(tx.max_fee, self.base_fee + tx.tip)),
                    }
        return None

    def _eth_get_transaction_by_hash(self, wanted: str) -> Any:
        for tx in self.pool:
            if tx.hash == wanted:
                return self._shown(tx, None)
        for block in self.blocks:
            for tx in block.txs:
                if tx.hash == wanted:
                    return self._shown(tx, block)
        return None

    def _eth_send_raw_transaction(self, text: str) -> str:
        raw = bytes.fromhex(text[2:])
        payload = read_signed(raw)
        sender = Address(str(Account.recover_transaction(HexBytes(raw))).lower())
        self.broadcasts.append(payload)
        self.broadcast_seen.set()
        fees = payload.fees
        tx = PooledTx(payload_hash(raw), sender, payload.nonce, fees.max_fee_wei, fees.tip_wei, payload)
        if self.send_error is not None:
            raise RpcError(-32000, self.send_error)
        if self.forgets:
            self.forgets -= 1
            return tx.hash
        if payload.nonce < self._count(sender, len(self.blocks) - 1):
            raise RpcError(-32000, f"nonce too low: next nonce, tx nonce {payload.nonce}")
        for other in self.pool:
            if other.hash == tx.hash:
                raise RpcError(-32000, "already known")
            if (other.sender, other.nonce) == (sender, tx.nonce):
                if tx.max_fee * 100 < other.max_fee * 110 or tx.tip * 100 < other.tip * 110:
                    raise RpcError(-32000, "replacement transaction underpriced")
                self.pool.remove(other)
                break
        self.pool.append(tx)
        return tx.hash

    # the chain itself

    def _add_block(self, txs: list[PooledTx]) -> None:
        parent = self.blocks[-1]
        number = parent.number + 1
        self.blocks.append(FakeBlock(number, fake_hash(number, parent.hash, self._forks), parent.hash, txs))

    def _pick(self) -> list[PooledTx]:
        picked: list[PooledTx] = []
        used = {tx.sender: self._count(tx.sender, len(self.blocks) - 1) for tx in self.pool}
        for tx in sorted(self.pool, key=lambda tx: tx.nonce):
            if tx.nonce == used[tx.sender] and tx.max_fee >= max(self.needed_fee, self.base_fee):
                used[tx.sender] += 1
                picked.append(tx)
        self.pool = [tx for tx in self.pool if tx not in picked]
        return picked

    def _drop_used(self) -> None:
        head = len(self.blocks) - 1
        self.pool = [tx for tx in self.pool if tx.nonce >= self._count(tx.sender, head)]

    def _count(self, sender: Address, number: int) -> int:
        return sum(tx.sender == sender for block in self.blocks[: number + 1] for tx in block.txs)

    def _shown(self, tx: PooledTx, block: FakeBlock | None) -> dict[str, Any]:
        return {
            "hash": tx.hash,
            "from": tx.sender,
            "to": tx.to if tx.payload is None else tx.payload.to,
            "nonce": hex(tx.nonce),
            "input": "0x" + (tx.data if tx.payload is None else tx.payload.data).hex(),
            "blockNumber": None if block is None else hex(block.number),
        }


class MiningClock:
    """Time that passes only while somebody sleeps; the node mines a block each ``block_time_s``."""

    def __init__(self, node: FakeNode, *, block_time_s: float = 1.0) -> None:
        self.node = node
        self.block_time_s = block_time_s
        self.mining = True
        self.elapsed_s = 0.0
        self.at: dict[float, Callable[[], None]] = {}
        """What happens when that much time has passed."""
        self._next_block_s = block_time_s

    def now(self) -> float:
        return 1_700_000_000.0 + self.elapsed_s

    def monotonic(self) -> float:
        return self.elapsed_s

    async def sleep(self, seconds: float) -> None:
        self.elapsed_s += seconds
        for due in sorted(moment for moment in self.at if moment <= self.elapsed_s):
            self.at.pop(due)()
        while self.mining and self._next_block_s <= self.elapsed_s:
            self._next_block_s += self.block_time_s
            self.node.mine()
        await asyncio.sleep(0)

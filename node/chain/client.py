"""Typed reads of one chain: blocks, logs, calls, receipts, fees.

Every answer is checked for shape here, so that a lying or broken endpoint shows as BadReply. Holds no state
and never retries: callers know whether waiting helps. Facts: Ethereum execution API specification.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median_low
from typing import Any, Protocol, runtime_checkable

from node.chain import hexadecimal
from node.chain.completeness import LogFilter, check_complete
from node.chain.hexadecimal import BadReply
from node.chain.reverts import reverted_from
from node.chain.rpc import RpcError
from node.types import Address, BlockHash, BlockNumber, TxHash, Wei

_FEE_HISTORY_BLOCKS = 5


class JsonRpc(Protocol):
    """What a chain needs from its endpoint."""

    async def call(self, method: str, params: Sequence[object]) -> Any:
        """Return the raw result; raises Unreachable, BadReply or RpcError."""
        ...


@runtime_checkable
class Pinned(Protocol):
    """One endpoint of several."""

    async def call(self, method: str, params: Sequence[object]) -> Any:
        """Return the raw result; raises as ``JsonRpc``."""
        ...

    def doubt(self, problem: BadReply) -> None:
        """Hear that answers of the endpoint do not fit together."""
        ...


@runtime_checkable
class Pool(Protocol):
    """Several endpoints that answer as one."""

    def pinned(self) -> Pinned:
        """Return one of them that is sound."""
        ...


@dataclass(frozen=True, slots=True)
class Block:
    """A block's header; ``timestamp`` in seconds."""

    number: BlockNumber
    hash: BlockHash
    timestamp: int


@dataclass(frozen=True, slots=True)
class RawLog:
    """A log as the endpoint gave it; nothing in ``topics`` and ``data`` has been judged yet."""

    address: Address
    topics: tuple[str, ...]
    data: bytes
    block_number: BlockNumber
    block_hash: BlockHash
    tx_hash: TxHash
    log_index: int


@dataclass(frozen=True, slots=True)
class Call:
    """A contract call. ``what`` is short text for people and logs, such as ``agree j17-...``."""

    to: Address
    data: bytes = field(repr=False)
    what: str
    value_wei: Wei = Wei(0)


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction; ``block_number`` is None while it waits, ``to`` is None where a contract is made."""

    hash: TxHash
    sender: Address
    to: Address | None
    nonce: int
    block_number: BlockNumber | None
    data: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Receipt:
    """A mined transaction's outcome; ``ok`` is False when it reverted."""

    tx_hash: TxHash
    ok: bool
    block_number: BlockNumber
    block_hash: BlockHash
    gas_used: int
    effective_gas_price_wei: Wei


@dataclass(frozen=True, slots=True)
class NetworkFees:
    """The next block's base fee and the tip that half of the recent gas paid, in wei per gas."""

    base_fee_wei: Wei
    tip_wei: Wei


class Chain:
    """One chain behind one endpoint, or behind several that answer as one."""

    def __init__(self, rpc: JsonRpc) -> None:
        self._rpc = rpc

    def pinned(self) -> "Chain":
        """Return the chain as one endpoint sees it, for reads whose answers must fit together."""
        return Chain(self._rpc.pinned()) if isinstance(self._rpc, Pool) else self

    async def chain_id(self) -> int:
        """Return the chain id the endpoint serves."""
        return hexadecimal.quantity(await self._rpc.call("eth_chainId", []), "chain id")

    async def head(self) -> Block:
        """Return the newest block."""
        block = await self._rpc.call("eth_getBlockByNumber", ["latest", False])
        if block is None:
            raise BadReply("the RPC endpoint has no latest block")
        return _block(block)

    async def block(self, number: int) -> Block | None:
        """Return a block, or None if the chain is not that long."""
        block = await self._rpc.call("eth_getBlockByNumber", [hex(number), False])
        return None if block is None else _block(block)

    async def block_transactions(self, number: int) -> tuple[Transaction, ...]:
        """Return every transaction of a block; raises BadReply if the endpoint lacks the block."""
        block = _mapping(await self._rpc.call("eth_getBlockByNumber", [hex(number), True]), "block")
        return tuple(_transaction(item) for item in _list(block.get("transactions"), "transactions"))

    async def logs(
        self, first: int, last: int, addresses: Sequence[Address], topics: Sequence[str]
    ) -> list[RawLog]:
        """Return the logs of these contracts whose first topic is one of ``topics``, both blocks included.

        Each log comes once, whatever the endpoint repeats, and for a short range none is left out: see
        ``completeness``. Raises RpcError when the endpoint finds the range or the answer too large, BadReply
        when the logs are not those of the blocks.
        """
        if isinstance(self._rpc, Pool):
            return await self.pinned().logs(first, last, addresses, topics)
        query = {
            "fromBlock": hex(first),
            "toBlock": hex(last),
            "address": list(addresses),
            "topics": [list(topics)],
        }
        found = _list(await self._rpc.call("eth_getLogs", [query]), "logs")
        wanted = LogFilter(frozenset(map(str.lower, addresses)), frozenset(map(str.lower, topics)))
        try:
            logs = _each_once([_log(item, first, last) for item in found], wanted)
            await check_complete(
                self._rpc, wanted, first, last, [(log.block_number, log.log_index) for log in logs]
            )
        except BadReply as problem:
            if isinstance(self._rpc, Pinned):
                self._rpc.doubt(problem)
            raise
        return logs

    async def call(self, call: Call, sender: Address | None = None, at: int | None = None) -> bytes:
        """Execute without a transaction and return the output, at block ``at`` or at the newest.

        Raises Reverted.
        """
        request: dict[str, str] = {
            "to": call.to,
            "data": "0x" + call.data.hex(),
            "value": hex(call.value_wei),
        }
        if sender is not None:
            request["from"] = sender
        try:
            output = await self._rpc.call("eth_call", [request, "latest" if at is None else hex(at)])
        except RpcError as error:
            reverted = reverted_from(error)
            if reverted is not None:
                raise reverted from error
            raise
        return hexadecimal.data(output, "call output")

    async def execute(self, code: bytes) -> bytes:
        """Execute code at the newest block as a creation that is never mined, and return its output.

        Raises Reverted, and RpcError where an endpoint does not do this.
        """
        request = {"data": "0x" + code.hex()}
        try:
            output = await self._rpc.call("eth_call", [request, "latest"])
        except RpcError as error:
            reverted = reverted_from(error)
            if reverted is not None:
                raise reverted from error
            raise
        return hexadecimal.data(output, "output")

    async def estimate_gas(self, call: Call, sender: Address) -> int:
        """Return the gas the call needs now; raises Reverted."""
        request = {
            "from": sender,
            "to": call.to,
            "data": "0x" + call.data.hex(),
            "value": hex(call.value_wei),
        }
        try:
            gas = await self._rpc.call("eth_estimateGas", [request])
        except RpcError as error:
            reverted = reverted_from(error)
            if reverted is not None:
                raise reverted from error
            raise
        return hexadecimal.quantity(gas, "gas estimate")

    async def balance(self, address: Address) -> Wei:
        """Return the gas token balance."""
        return Wei(
            hexadecimal.quantity(await self._rpc.call("eth_getBalance", [address, "latest"]), "balance")
        )

    async def code(self, address: Address) -> bytes:
        """Return the contract code, empty for an account without code."""
        return hexadecimal.data(await self._rpc.call("eth_getCode", [address, "latest"]), "code")

    async def nonce(self, address: Address, *, pending: bool = False, at: int | None = None) -> int:
        """Return how many transactions the account has in blocks up to ``at`` (or the newest, or waiting)."""
        block = "pending" if pending else "latest" if at is None else hex(at)
        return hexadecimal.quantity(
            await self._rpc.call("eth_getTransactionCount", [address, block]), "nonce"
        )

    async def transaction(self, tx_hash: TxHash) -> Transaction | None:
        """Return a transaction the endpoint knows, mined or waiting."""
        found = await self._rpc.call("eth_getTransactionByHash", [tx_hash])
        return None if found is None else _transaction(found)

    async def receipt(self, tx_hash: TxHash) -> Receipt | None:
        """Return the receipt of a mined transaction."""
        found = await self._rpc.call("eth_getTransactionReceipt", [tx_hash])
        return None if found is None else _receipt(found, tx_hash)

    async def send_raw(self, raw: bytes) -> TxHash:
        """Broadcast a signed transaction; raises RpcError when the endpoint refuses it."""
        return hexadecimal.tx_hash(await self._rpc.call("eth_sendRawTransaction", ["0x" + raw.hex()]))

    async def fees(self) -> NetworkFees:
        """Return what the network charges now."""
        history = _mapping(
            await self._rpc.call("eth_feeHistory", [hex(_FEE_HISTORY_BLOCKS), "latest", [50]]), "fee history"
        )
        base_fees = _list(history.get("baseFeePerGas"), "base fees")
        if not base_fees:
            raise BadReply("the RPC endpoint sent no base fee: this node needs a chain with EIP-1559 fees")
        rewards = [
            hexadecimal.quantity(_list(reward, "reward")[0], "reward")
            for reward in _list(history.get("reward") or [], "rewards")
            if reward
        ]
        # The last entry is the base fee of the block after the newest one.
        base_fee = hexadecimal.quantity(base_fees[-1], "base fee")
        return NetworkFees(Wei(base_fee), Wei(median_low(rewards) if rewards else 0))


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadReply(f"the RPC endpoint sent no {name}")
    return value


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise BadReply(f"the RPC endpoint sent no list of {name}")
    return value


def _block(value: Any) -> Block:
    block = _mapping(value, "block")
    return Block(
        BlockNumber(hexadecimal.quantity(block.get("number"), "block number")),
        hexadecimal.block_hash(block.get("hash")),
        hexadecimal.quantity(block.get("timestamp"), "timestamp"),
    )


def _transaction(value: Any) -> Transaction:
    tx = _mapping(value, "transaction")
    to, number = tx.get("to"), tx.get("blockNumber")
    return Transaction(
        hexadecimal.tx_hash(tx.get("hash")),
        hexadecimal.address(tx.get("from"), "sender"),
        None if to is None else hexadecimal.address(to, "recipient"),
        hexadecimal.quantity(tx.get("nonce"), "nonce"),
        None if number is None else BlockNumber(hexadecimal.quantity(number, "block number")),
        hexadecimal.data(tx.get("input"), "transaction input"),
    )


def _receipt(value: Any, tx_hash: TxHash) -> Receipt:
    receipt = _mapping(value, "receipt")
    if hexadecimal.tx_hash(receipt.get("transactionHash")) != tx_hash:
        raise BadReply("the RPC endpoint sent the receipt of another transaction")
    return Receipt(
        tx_hash,
        hexadecimal.quantity(receipt.get("status"), "status") == 1,
        BlockNumber(hexadecimal.quantity(receipt.get("blockNumber"), "block number")),
        hexadecimal.block_hash(receipt.get("blockHash")),
        hexadecimal.quantity(receipt.get("gasUsed"), "gas used"),
        Wei(hexadecimal.quantity(receipt.get("effectiveGasPrice"), "gas price")),
    )


def _each_once(logs: list[RawLog], wanted: LogFilter) -> list[RawLog]:
    once: dict[tuple[int, int], RawLog] = {}
    for log in logs:
        if log.address not in wanted.addresses or (
            wanted.topics and (not log.topics or log.topics[0] not in wanted.topics)
        ):
            raise BadReply("the RPC endpoint sent a log that was not asked for")
        known = once.setdefault((log.block_number, log.log_index), log)
        if known is not log and known != log:
            raise BadReply(f"the RPC endpoint sent two logs {log.log_index} of block {log.block_number}")
    return list(once.values())


def _log(item: Any, first: int, last: int) -> RawLog:
    # Written for speed: one log costs a few microseconds, and whatever is wrong with it ends as BadReply.
    try:
        number = int(item["blockNumber"], 16)
        log = RawLog(
            item["address"].lower(),
            tuple(map(str.lower, item["topics"])),
            bytes.fromhex(item["data"][2:]),
            BlockNumber(number),
            item["blockHash"].lower(),
            item["transactionHash"].lower(),
            int(item["logIndex"], 16),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadReply("the RPC endpoint sent a log that is not one") from error
    if not first <= number <= last:
        raise BadReply(f"the RPC endpoint sent a log of block {number} for blocks {first} to {last}")
    return log

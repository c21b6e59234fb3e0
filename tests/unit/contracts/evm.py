"""An EVM in this process: accounts without keys, transactions without blocks, a clock that tests set.

It executes the committed bytecode under the rules of Cancun and counts gas as a transaction pays it. It owns
no knowledge of the market.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from eth.abc import ComputationAPI
from eth.constants import BLANK_ROOT_HASH
from eth.db.atomic import AtomicDB
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.cancun import CancunVM
from eth.vm.forks.cancun.state import CancunState
from eth.vm.spoof import SpoofTransaction
from eth_abi import decode, encode
from eth_utils import keccak, to_canonical_address

ABI_DIRECTORY = Path(__file__).resolve().parents[3] / "contracts_abi"
GAS_LIMIT = 30_000_000
GENESIS_TIME = 1_700_000_000
READER = b"\x01" * 20


class Reverted(Exception):
    """A call that the contract refused: its reason string, or the raw data in hex when there is none."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reason = data.hex()
        if data[:4] == bytes.fromhex("08c379a0"):
            (self.reason,) = decode(["string"], data[4:])
        super().__init__(self.reason)


@contextmanager
def refused(reason: str) -> Iterator[None]:
    """Expect a revert with exactly this reason; "" is a revert without data."""
    with pytest.raises(Reverted) as caught:
        yield
    assert caught.value.reason == reason


@dataclass(frozen=True, slots=True)
class Event:
    """A decoded log."""

    address: bytes
    name: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A transaction that succeeded."""

    returned: Any
    gas_used: int
    events: tuple[Event, ...]


def type_of(entry: dict[str, Any]) -> str:
    """Return the canonical type of one ABI parameter."""
    if entry["type"].startswith("tuple"):
        inner = ",".join(type_of(component) for component in entry["components"])
        return f"({inner}){entry['type'].removeprefix('tuple')}"
    return str(entry["type"])


def signature(entry: dict[str, Any]) -> str:
    """Return ``name(type,...)`` of a function or an event."""
    return f"{entry['name']}({','.join(type_of(parameter) for parameter in entry['inputs'])})"


class Contract:
    """An address with an ABI."""

    def __init__(self, evm: "Evm", address: bytes, abi: Sequence[dict[str, Any]]) -> None:
        self._evm = evm
        self.address = address
        self._functions = {entry["name"]: entry for entry in abi if entry["type"] == "function"}

    def data(self, function: str, *arguments: Any) -> bytes:
        """Encode a call."""
        entry = self._functions[function]
        types = [type_of(parameter) for parameter in entry["inputs"]]
        return bytes(keccak(text=signature(entry))[:4] + encode(types, arguments))

    def send(self, sender: bytes, function: str, *arguments: Any) -> Outcome:
        """Execute a transaction; raises Reverted."""
        entry = self._functions[function]
        returned, gas_used, events = self._evm.execute(sender, self.address, self.data(function, *arguments))
        values = decode([type_of(output) for output in entry["outputs"]], returned)
        return Outcome(values[0] if len(values) == 1 else values, gas_used, events)

    def read(self, function: str, *arguments: Any) -> Any:
        """Call and keep nothing of what it changes; raises Reverted."""
        entry = self._functions[function]
        returned = self._evm.call(self.address, self.data(function, *arguments))
        values = decode([type_of(output) for output in entry["outputs"]], returned)
        return values[0] if len(values) == 1 else values


class Evm:
    """The chain."""

    def __init__(self) -> None:
        self._db = AtomicDB()
        self._events: dict[bytes, dict[str, Any]] = {}
        self.now = GENESIS_TIME
        self.block_number = 100
        self._state = self._state_at(BLANK_ROOT_HASH)

    def _state_at(self, root: bytes) -> CancunState:
        context = ExecutionContext(
            coinbase=b"\x00" * 20,
            timestamp=self.now,
            block_number=self.block_number,
            difficulty=0,
            mix_hash=keccak(self.block_number.to_bytes(32, "big")),
            gas_limit=GAS_LIMIT,
            prev_hashes=[keccak(b"block%d" % self.block_number)],
            chain_id=31337,
            base_fee_per_gas=0,
            excess_blob_gas=0,
        )
        return CancunState(self._db, context, root)

    def snapshot(self) -> tuple[bytes, int, int]:
        """Return a mark to which ``revert`` can go back."""
        self._state.persist()
        return self._state.state_root, self.now, self.block_number

    def revert(self, mark: tuple[bytes, int, int]) -> None:
        """Forget everything since the mark."""
        root, self.now, self.block_number = mark
        self._state = self._state_at(root)

    @contextmanager
    def undone(self) -> Iterator[None]:
        """At the end of this context the chain is as it was before."""
        mark = self.snapshot()
        try:
            yield
        finally:
            self.revert(mark)

    def pass_time(self, seconds: int) -> None:
        """Let the clock go on and begin a new block."""
        root, _, _ = self.snapshot()
        self.now += seconds
        self.block_number += 1
        self._state = self._state_at(root)

    def _apply(self, sender: bytes, to: bytes, data: bytes, gas: int = GAS_LIMIT) -> ComputationAPI:
        transaction = CancunVM.create_unsigned_transaction(
            nonce=self._state.get_nonce(sender), gas_price=0, gas=gas, to=to, value=0, data=data
        )
        return self._state.apply_transaction(SpoofTransaction(transaction, from_=sender))

    def call(self, to: bytes, data: bytes) -> bytes:
        """Execute and undo: only what it returned remains."""
        mark = self._state.snapshot()
        computation = self._apply(READER, to, data)
        self._state.revert(mark)
        if computation.is_error:
            raise Reverted(computation.output)
        return computation.output

    def execute(
        self, sender: bytes, to: bytes, data: bytes, gas: int = GAS_LIMIT
    ) -> tuple[bytes, int, tuple[Event, ...]]:
        """Execute one transaction with that gas limit: what it returned, the gas it paid, its logs."""
        computation = self._apply(sender, to, data, gas)
        self._state.lock_changes()
        if computation.is_error:
            raise Reverted(computation.output)
        spent = gas - computation.get_gas_remaining()
        gas_used = spent - min(computation.get_gas_refund(), spent // 5)
        output = computation.msg.storage_address if to == b"" else computation.output
        events = tuple(self._decode(*entry) for entry in computation.get_log_entries())
        return output, gas_used, events

    def _decode(self, address: bytes, topics: Sequence[int], data: bytes) -> Event:
        entry = self._events[topics[0].to_bytes(32, "big")]
        plain = iter(decode([type_of(i) for i in entry["inputs"] if not i["indexed"]], data))
        indexed = iter(topics[1:])
        arguments = [
            decode([type_of(i)], next(indexed).to_bytes(32, "big"))[0] if i["indexed"] else next(plain)
            for i in entry["inputs"]
        ]
        return Event(address, entry["name"], tuple(arguments))

    def deploy(self, sender: bytes, artefact: dict[str, Any], *arguments: Any) -> Contract:
        """Create a contract from an artefact (``abi`` and ``bytecode``)."""
        abi = artefact["abi"]
        for entry in abi:
            if entry["type"] == "event":
                self._events[keccak(text=signature(entry))] = entry
        constructor = next((entry for entry in abi if entry["type"] == "constructor"), {"inputs": []})
        encoded = encode([type_of(parameter) for parameter in constructor["inputs"]], arguments)
        code = bytes.fromhex(artefact["bytecode"].removeprefix("0x")) + encoded
        address, _, _ = self.execute(sender, b"", code)
        return Contract(self, address, abi)


def artefact(name: str) -> dict[str, Any]:
    """Return the committed artefact of one market contract."""
    loaded: dict[str, Any] = json.loads((ABI_DIRECTORY / "market" / f"{name}.json").read_text())
    return loaded


def account(number: int) -> bytes:
    """Return the address of a test account."""
    return bytes(to_canonical_address("0x" + f"{number:02x}" * 20))

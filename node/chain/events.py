"""The market's events, decoded from raw logs: facts of the chain that other people wrote.

``decode`` never raises: whatever is malformed, oversized or not clean text comes back as Undecodable with the
reason, so that one hostile log cannot stop the reader. Limits and event signatures: the market's interface.
"""

from collections.abc import Callable
from dataclasses import dataclass

from node.chain import abi
from node.chain.abi import Malformed
from node.chain.client import RawLog
from node.job.deal import AgreementState, PaymentDirection, PaymentReason
from node.types import Address, BlockHash, BlockNumber, DealId, TxHash, Wei

JOB_ADDED = abi.topic("JobAdded(uint256,address,address,string,string[])")
DEAL_STATE_CHANGE = abi.topic("DealStateChange(string,uint8)")
PAYMENT = abi.topic("Payment(string,address,uint256,uint8,uint8)")
MEDIATION_REQUESTED = abi.topic("MediationRequested(string,address)")

MAX_DEAL_ID_BYTES = 64
MAX_MODULE_BYTES = 200
MAX_CID_BYTES = 128
MAX_INPUTS = 64
MAX_INPUT_BYTES = 2048
MAX_INPUTS_BYTES = 16 * 1024
"""All inputs of one job together."""


@dataclass(frozen=True, slots=True)
class LogRef:
    """Which log an event came from; (block_hash, tx_hash, log_index) is unique."""

    block_number: BlockNumber
    block_hash: BlockHash
    tx_hash: TxHash
    log_index: int


@dataclass(frozen=True, slots=True)
class JobAdded:
    """Somebody posted a job. ``payee`` is only a claim until the transaction's sender confirms it."""

    ref: LogRef
    number: int
    calling_contract: Address
    payee: Address
    module: str
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DealStateChange:
    """A deal reached ``state``; the first one is DEAL_AGREED, proposals emit none."""

    ref: LogRef
    deal_id: DealId
    state: AgreementState


@dataclass(frozen=True, slots=True)
class Payment:
    """Money of a deal moved. ``payee`` is the payer for PAID_IN and the punished party for SLASHED."""

    ref: LogRef
    deal_id: DealId
    payee: Address
    amount_wei: Wei
    reason: PaymentReason
    direction: PaymentDirection


@dataclass(frozen=True, slots=True)
class MediationRequested:
    """``mediator`` was drawn to rule on a deal."""

    ref: LogRef
    deal_id: DealId
    mediator: Address


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A hostile or broken log. ``number`` is the job's number when a ``JobAdded`` still shows it."""

    ref: LogRef
    event: str
    problem: str
    number: int | None


MarketEvent = JobAdded | DealStateChange | Payment | MediationRequested | Undecodable

_STATES = tuple(AgreementState)
_REASONS = tuple(PaymentReason)
_DIRECTIONS = tuple(PaymentDirection)


def decode(log: RawLog) -> MarketEvent | None:
    """Return the event in a log, or None if it is none of the market's. Never raises."""
    topics = log.topics
    decoder = _DECODERS.get(topics[0]) if topics else None
    if decoder is None:
        return None
    ref = LogRef(log.block_number, log.block_hash, log.tx_hash, log.log_index)
    name, read = decoder
    if len(topics) != 1:
        return Undecodable(ref, name, f"{len(topics) - 1} indexed fields, expected none", None)
    try:
        return read(ref, log.data)
    except Malformed as problem:
        return Undecodable(ref, name, str(problem), _job_number(name, log.data))


def _job_added(ref: LogRef, data: bytes) -> JobAdded:
    number = abi.small_uint(data, 0, "job number")
    caller = abi.address(data, 32)
    payee = abi.address(data, 64)
    module = abi.text(data, abi.offset(data, 96, 0, 160), MAX_MODULE_BYTES, "module")
    array = abi.offset(data, 128, 0, 160)
    heads = array + 32
    inputs: list[str] = []
    left = MAX_INPUTS_BYTES
    length = abi.count(data, array, MAX_INPUTS, "inputs")
    for index in range(length):
        position = abi.offset(data, heads + 32 * index, heads, 32 * length)
        value = abi.text(data, position, MAX_INPUT_BYTES, "input")
        left -= int.from_bytes(data[position : position + 32])
        if left < 0:
            raise Malformed(f"inputs are longer than {MAX_INPUTS_BYTES} bytes together")
        inputs.append(value)
    return JobAdded(ref, number, caller, payee, module, tuple(inputs))


def _deal_state_change(ref: LogRef, data: bytes) -> DealStateChange:
    deal_id = _deal_id(data, 2)
    state = abi.uint(data, 32)
    if state >= len(_STATES):
        raise Malformed("unknown agreement state")
    return DealStateChange(ref, deal_id, _STATES[state])


def _payment(ref: LogRef, data: bytes) -> Payment:
    deal_id = _deal_id(data, 5)
    payee = abi.address(data, 32)
    amount = Wei(abi.uint(data, 64))
    reason, direction = abi.uint(data, 96), abi.uint(data, 128)
    if reason >= len(_REASONS):
        raise Malformed("unknown payment reason")
    if direction >= len(_DIRECTIONS):
        raise Malformed("unknown payment direction")
    return Payment(ref, deal_id, payee, amount, _REASONS[reason], _DIRECTIONS[direction])


def _mediation_requested(ref: LogRef, data: bytes) -> MediationRequested:
    return MediationRequested(ref, _deal_id(data, 2), abi.address(data, 32))


def _deal_id(data: bytes, fields: int) -> DealId:
    deal_id = abi.text(data, abi.offset(data, 0, 0, 32 * fields), MAX_DEAL_ID_BYTES, "deal id")
    if not deal_id:
        raise Malformed("deal id is empty")
    return DealId(deal_id)


def _job_number(name: str, data: bytes) -> int | None:
    if name != "JobAdded":
        return None
    try:
        return abi.small_uint(data, 0, "job number")
    except Malformed:
        return None


_DECODERS: dict[str, tuple[str, Callable[[LogRef, bytes], MarketEvent]]] = {
    JOB_ADDED: ("JobAdded", _job_added),
    DEAL_STATE_CHANGE: ("DealStateChange", _deal_state_change),
    PAYMENT: ("Payment", _payment),
    MEDIATION_REQUESTED: ("MediationRequested", _mediation_requested),
}
MARKET_TOPICS = tuple(_DECODERS)
"""What a log reader has to ask for."""

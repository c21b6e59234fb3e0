"""The facts that move a job. Times are block timestamps in seconds, never the wall clock."""

from dataclasses import dataclass

from node.job.deal import AgreementState, Deal
from node.job.spec import JobSpec
from node.types import Address, BlockNumber, Cid, TxHash


@dataclass(frozen=True, slots=True)
class Offer:
    """A ``JobAdded`` of a module we serve, with inputs that parse."""

    number: int
    requester: Address
    calling_contract: Address
    tx_hash: TxHash
    block_number: BlockNumber
    posted_at: int
    spec: JobSpec


@dataclass(frozen=True, slots=True)
class OfferSeen:
    """An offer young enough to be worth a look."""

    offer: Offer


@dataclass(frozen=True, slots=True)
class Admitted:
    """Admission said yes: these are the terms that we propose until ``propose_until``."""

    deal: Deal
    propose_until: int


@dataclass(frozen=True, slots=True)
class Declined:
    """Admission said no for good."""

    reason: str


@dataclass(frozen=True, slots=True)
class ProposalRefused:
    """Our ``agree`` cannot be or was not accepted by the contract; nothing of ours is locked."""

    reason: str


@dataclass(frozen=True, slots=True)
class ProposalMined:
    """The confirmed log that our collateral is locked and the proposal stands."""

    at: int


@dataclass(frozen=True, slots=True)
class ProposalWindowPassed:
    """Chain time went past the proposal's own deadline."""

    at: int


@dataclass(frozen=True, slots=True)
class DealMoved:
    """A confirmed ``DealStateChange`` with what it paid us (``Payment`` logs of the same transaction)."""

    state: AgreementState
    at: int
    tx_hash: TxHash
    paid_wei: int = 0


@dataclass(frozen=True, slots=True)
class MediatorDrawn:
    """A confirmed ``MediationRequested``: the mediator's time runs from here."""

    mediator: Address
    at: int


@dataclass(frozen=True, slots=True)
class RenderStarted:
    """A worker took the job."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """Files and manifest are on disk."""

    outputs: tuple[str, ...]
    determinism_class: str


@dataclass(frozen=True, slots=True)
class Published:
    """The result is stored under this CID and was read back."""

    cid: Cid


@dataclass(frozen=True, slots=True)
class CannotDeliver:
    """This job cannot be completed; the requester gets an honest failure instead of silence."""

    reason: str


@dataclass(frozen=True, slots=True)
class SubmissionRefused:
    """The contract does not take our result any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class JudgeWindowPassed:
    """The requester neither accepted nor challenged in time."""

    at: int


@dataclass(frozen=True, slots=True)
class MediationWindowPassed:
    """The drawn mediator did not rule in time."""

    at: int


@dataclass(frozen=True, slots=True)
class ClaimRefused:
    """The contract refused our timeout call and the deal did not move: nothing more can be claimed."""

    reason: str


JobEvent = (
    OfferSeen
    | Admitted
    | Declined
    | ProposalRefused
    | ProposalMined
    | ProposalWindowPassed
    | DealMoved
    | MediatorDrawn
    | RenderStarted
    | Rendered
    | Published
    | CannotDeliver
    | SubmissionRefused
    | JudgeWindowPassed
    | MediationWindowPassed
    | ClaimRefused
)

"""The facts that move a job. Times are block timestamps in seconds, never the wall clock."""

from dataclasses import dataclass

from node.job.copies import Copy
from node.job.deal import Agreement, AgreementState, Deal
from node.job.spec import JobSpec
from node.types import Address, BlockNumber, Cid, DealId, TxHash


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
class HireSeen:
    """A confirmed deal that names us as its provider and that its job creator agreed to first.

    The deal's id binds to the offer's number and to its terms; whether the terms are ours is for admission.
    """

    offer: Offer
    deal: Deal
    at: int
    block_number: BlockNumber


@dataclass(frozen=True, slots=True)
class Admitted:
    """Admission said yes: these are the terms that we propose until ``propose_until``."""

    deal: Deal
    propose_until: int


@dataclass(frozen=True, slots=True)
class Declined:
    """Admission said no for good; ``rule`` is the name it is counted under, empty for one of old."""

    reason: str
    rule: str = ""


@dataclass(frozen=True, slots=True)
class ProposalRefused:
    """Our ``agree`` cannot be or was not accepted by the contract; nothing of ours is locked."""

    reason: str


@dataclass(frozen=True, slots=True)
class DealIdTaken:
    """Somebody created the deal's id with other terms first: another salt gives another id."""

    reason: str


@dataclass(frozen=True, slots=True)
class ProposalMined:
    """The confirmed log that our collateral is locked and the proposal stands."""

    at: int
    block_number: BlockNumber = BlockNumber(0)


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
    block_number: BlockNumber = BlockNumber(0)


@dataclass(frozen=True, slots=True)
class MediatorDrawn:
    """A confirmed ``MediationRequested``: the mediator's time runs from here."""

    mediator: Address
    at: int
    block_number: BlockNumber = BlockNumber(0)


@dataclass(frozen=True, slots=True)
class BlocksDropped:
    """A reorganisation dropped every block above ``ancestor``.

    ``agreement`` is what the chain says at that block of the deal that the job had when it was asked, which
    is ``deal_id``; None for a job without one. By the time this is taken in, the job may have another.
    Facts of the blocks that took the dropped ones' place follow as events of their own.
    """

    ancestor: BlockNumber
    agreement: Agreement | None
    deal_id: DealId | None = None


@dataclass(frozen=True, slots=True)
class RenderStarted:
    """A worker took the job."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """Files and manifest are on disk. Seconds are those of the rendering, None where nothing was rendered."""

    outputs: tuple[str, ...]
    determinism_class: str
    expected_s: float | None = None
    taken_s: float | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """The result is stored under this CID and was read back.

    ``copies`` tells where it was kept and read at that moment, by the wall clock, and ``lacking`` what the
    settings asked for beyond that when the deadline came near: both for people only.
    """

    cid: Cid
    copies: tuple[Copy, ...] = ()
    lacking: str | None = None


@dataclass(frozen=True, slots=True)
class CannotDeliver:
    """This job cannot be completed; the requester gets an honest failure instead of silence."""

    reason: str


@dataclass(frozen=True, slots=True)
class EscrowDrained:
    """The requester took out of escrow what it owes: the result is withheld, the deal failed honestly."""

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


@dataclass(frozen=True, slots=True)
class NoRemedy:
    """This deployment has no working call against a silent requester: only waiting is left."""

    reason: str


JobEvent = (
    OfferSeen
    | HireSeen
    | Admitted
    | Declined
    | ProposalRefused
    | DealIdTaken
    | ProposalMined
    | ProposalWindowPassed
    | DealMoved
    | MediatorDrawn
    | BlocksDropped
    | RenderStarted
    | Rendered
    | Published
    | CannotDeliver
    | EscrowDrained
    | SubmissionRefused
    | JudgeWindowPassed
    | MediationWindowPassed
    | ClaimRefused
    | NoRemedy
)

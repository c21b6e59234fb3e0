"""What happens while a job is requested, as facts for whoever shows them: the command line, the demo, tests.

Owns no decision. Text that came from a provider is already made safe to print (``printable``).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from node.job.deal import AgreementState
from node.job.progress import Progress
from node.requester.track_record import TrackRecord
from node.types import Address, Cid, DealId, TxHash, Wei

SHOWN_REASONS = 3


@dataclass(frozen=True, slots=True)
class Started:
    """The run is written down, nothing is sent yet. ``run_id`` is what it is resumed with from here on."""

    run_id: str


@dataclass(frozen=True, slots=True)
class JobPosted:
    """The job is on chain."""

    number: int
    tx_hash: TxHash


@dataclass(frozen=True, slots=True)
class Resumed:
    """What stands of a run that is picked up: ``state`` is the deal's, None while our half is not agreed."""

    run_id: str
    number: int | None
    deal_id: DealId | None
    provider: Address | None
    state: AgreementState | None
    locked_wei: Wei


@dataclass(frozen=True, slots=True)
class OfferFound:
    """A provider's published, signed and fresh offer is within our limits."""

    provider: Address
    price_wei: Wei
    locked_wei: Wei
    record: TrackRecord | None = None


@dataclass(frozen=True, slots=True)
class OfferIgnored:
    """A listed provider, and why it is not hired."""

    provider: Address
    reason: str


@dataclass(frozen=True, slots=True)
class ProposalSeen:
    """A provider offers to do the job on terms within our limits."""

    deal_id: DealId
    provider: Address
    price_wei: Wei
    locked_wei: Wei
    record: TrackRecord | None = None


@dataclass(frozen=True, slots=True)
class ProposalIgnored:
    """A deal that names our job, and why it is not taken."""

    deal_id: DealId
    provider: Address
    reason: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """The proposal or offer that is agreed next."""

    deal_id: DealId
    provider: Address
    price_wei: Wei
    out_of: int


@dataclass(frozen=True, slots=True)
class Hired:
    """We agreed first: ``locked_wei`` of ours waits for the provider, until block time ``closes_at``."""

    deal_id: DealId
    provider: Address
    locked_wei: Wei
    closes_at: int


@dataclass(frozen=True, slots=True)
class HireRefused:
    """The provider says that it does not take the hire; when its time to agree is over, all comes back."""

    provider: Address
    reason: str


@dataclass(frozen=True, slots=True)
class HireLapsed:
    """The provider did not agree in time; ``returned_wei`` came back."""

    deal_id: DealId
    provider: Address
    returned_wei: Wei


@dataclass(frozen=True, slots=True)
class DealAgreed:
    """Both sides are bound; ``locked_wei`` of ours lies in escrow."""

    deal_id: DealId
    locked_wei: Wei


@dataclass(frozen=True, slots=True)
class Rendering:
    """What the provider says of itself; nothing depends on it."""

    deal_id: DealId
    progress: Progress
    left_s: float | None = None


@dataclass(frozen=True, slots=True)
class Publishing:
    """The provider says that the result is rendered, and that it sees to it that it can be fetched."""

    deal_id: DealId


@dataclass(frozen=True, slots=True)
class ResultSubmitted:
    """The provider says that it is done. ``data_id`` is empty if it delivers nothing."""

    deal_id: DealId
    data_id: str
    instruction_count: int


@dataclass(frozen=True, slots=True)
class Downloading:
    """Bytes of the result that were received and verified so far, and of how many, if that is known yet."""

    deal_id: DealId
    received_bytes: int
    total_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """The CID was recomputed from the files in ``directory`` and is the one that was submitted."""

    deal_id: DealId
    cid: Cid
    directory: Path


@dataclass(frozen=True, slots=True)
class CheckDrawn:
    """Of the runs of which a share is checked, whether this one is."""

    checked: bool


@dataclass(frozen=True, slots=True)
class Checking:
    """The job is computed again here, before its result is accepted."""

    deal_id: DealId


@dataclass(frozen=True, slots=True)
class CheckedHere:
    """What computing the job again found; ``evidence`` is the folder it rests on."""

    deal_id: DealId
    reason: str
    evidence: Path


@dataclass(frozen=True, slots=True)
class Disputed:
    """A mediator was asked for, whose fee of ``fee_wei`` we pay whatever the ruling."""

    deal_id: DealId
    reason: str
    fee_wei: Wei


@dataclass(frozen=True, slots=True)
class MediatorAwaited:
    """This mediator was drawn and may rule until block time ``over_at``."""

    deal_id: DealId
    mediator: Address | None
    over_at: int


@dataclass(frozen=True, slots=True)
class MediatorSilent:
    """A mediator did not rule in time and was passed over."""

    deal_id: DealId
    mediator: Address | None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The result is accepted on chain and the provider is paid."""

    deal_id: DealId
    tx_hash: TxHash | None
    paid_wei: Wei


@dataclass(frozen=True, slots=True)
class SourceDropped:
    """A download goes on without this source."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something does not answer; it is tried again."""

    what: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The run ends without a paid result. ``next_step`` says what to do."""

    reason: str
    next_step: str


Step = (
    Started
    | Resumed
    | OfferFound
    | OfferIgnored
    | JobPosted
    | ProposalSeen
    | ProposalIgnored
    | Chosen
    | Hired
    | HireRefused
    | HireLapsed
    | DealAgreed
    | Rendering
    | Publishing
    | ResultSubmitted
    | Downloading
    | Verified
    | CheckDrawn
    | Checking
    | CheckedHere
    | Disputed
    | MediatorAwaited
    | MediatorSilent
    | Accepted
    | SourceDropped
    | Waiting
    | Failed
)
OnStep = Callable[[Step], None]


def reasons(ignored: Sequence[ProposalIgnored | OfferIgnored]) -> str:
    """Return why the first few of them could not be taken, in one line."""
    return printable("; ".join(f"{step.provider}: {step.reason}" for step in ignored[:SHOWN_REASONS]))


def printable(text: str, limit: int = 400) -> str:
    """Return foreign text in one line of at most ``limit`` characters, without anything a terminal obeys.

    Controls, invisible format characters (bidirectional overrides among them) and odd spaces become spaces.
    """
    cut = text[: 4 * limit]
    safe = " ".join("".join(letter if letter.isprintable() else " " for letter in cut).split())
    return safe if len(safe) <= limit else safe[: limit - 3] + "..."

"""What happens while a job is requested, as facts for whoever shows them: the command line, the demo, tests.

Owns no decision. Text that came from a provider is already made safe to print (``printable``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from node.job.progress import Progress
from node.types import Address, Cid, DealId, TxHash, Wei


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
class ProposalSeen:
    """A provider offers to do the job on terms within our limits."""

    deal_id: DealId
    provider: Address
    price_wei: Wei
    locked_wei: Wei


@dataclass(frozen=True, slots=True)
class ProposalIgnored:
    """A deal that names our job, and why it is not taken."""

    deal_id: DealId
    provider: Address
    reason: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """The proposal that is agreed next."""

    deal_id: DealId
    provider: Address
    price_wei: Wei
    out_of: int


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


@dataclass(frozen=True, slots=True)
class ResultSubmitted:
    """The provider says that it is done. ``data_id`` is empty if it delivers nothing."""

    deal_id: DealId
    data_id: str
    instruction_count: int


@dataclass(frozen=True, slots=True)
class Downloading:
    """Bytes of the result that were received and verified so far."""

    deal_id: DealId
    received_bytes: int


@dataclass(frozen=True, slots=True)
class Verified:
    """The CID was recomputed from the files in ``directory`` and is the one that was submitted."""

    deal_id: DealId
    cid: Cid
    directory: Path


@dataclass(frozen=True, slots=True)
class Accepted:
    """The result is accepted on chain and the provider is paid."""

    deal_id: DealId
    tx_hash: TxHash | None
    paid_wei: Wei


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
    | JobPosted
    | ProposalSeen
    | ProposalIgnored
    | Chosen
    | DealAgreed
    | Rendering
    | ResultSubmitted
    | Downloading
    | Verified
    | Accepted
    | Waiting
    | Failed
)
OnStep = Callable[[Step], None]


def printable(text: str, limit: int = 400) -> str:
    """Return foreign text in one line of at most ``limit`` characters, without anything a terminal obeys.

    Controls, invisible format characters (bidirectional overrides among them) and odd spaces become spaces.
    """
    cut = text[: 4 * limit]
    safe = " ".join("".join(letter if letter.isprintable() else " " for letter in cut).split())
    return safe if len(safe) <= limit else safe[: limit - 3] + "..."

"""What the HTTP interface answers, as types: the source of the schemas in /api/v1/openapi.json.

The public documents are complete: what is not named here does not go out. The operator's grow with the node:
what is named here stays, and further fields may stand beside it. Amounts are whole numbers of wei in text,
because a browser's numbers lose digits after 2^53; moments are seconds since the Unix epoch.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Wei = Annotated[str, Field(pattern=r"^-?[0-9]+$", description="whole wei")]
Address = Annotated[str, Field(pattern=r"^0x[0-9a-f]{40}$")]
Moment = Annotated[float, Field(description="seconds since the Unix epoch")]


class Complete(BaseModel):
    """A document in which every field is named."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Growing(BaseModel):
    """A document that may hold more than is named."""

    model_config = ConfigDict(extra="allow", strict=True)


class Error(Complete):
    """A refusal, in one sentence that says what to do."""

    error: str


class Check(Complete):
    """One thing that health depends on."""

    name: str
    ok: bool
    why: str


class HealthAnswer(Complete):
    """Whether the node is well, and why not."""

    ok: bool
    reasons: list[str]
    checks: list[Check]


class Progress(Complete):
    """How far a rendering is. ``fraction`` is of the whole job."""

    stage: str
    step: int
    steps: int
    fraction: float


class Estimate(Growing):
    """How long a rendering takes, in seconds."""

    expected_s: float
    upper_s: float
    left_s: float
    measured: bool


class PublicChain(Complete):
    """Which market the node works on."""

    chain_id: int
    controller: Address
    job_manager: Address
    token: Address
    symbol: str


class PublicWorker(Complete):
    """What is rendered with."""

    profile: str
    determinism_class: str | None


class PublicOffer(Complete):
    """What became of the node's offer document."""

    state: str
    cid: str | None


class PublicIpfs(Complete):
    """Where the node's IPFS peer is."""

    enabled: bool
    peer_id: str | None = None
    addresses: list[str] = []


class PublicCounts(Complete):
    """Agreed deals by how they ended; all of it stands on chain."""

    open: int
    paid: int
    rejected: int
    unpaid: int
    failed: int


class Limits(Complete):
    """What the node takes on at a time."""

    max_open_deals: int
    max_open_proposals_per_requester: int


class PublicStatus(Complete):
    """What anybody may know of a node. Parts are empty while the node is starting."""

    view: Literal["public"]
    version: str
    started_at: Moment
    accepting: bool | None = None
    draining: bool = False
    modules: list[str]
    price_wei: Wei
    gateway_url: str
    public_gateway: str | None
    limits: Limits
    provider: Address | None
    chain: PublicChain | dict[str, Any]
    worker: PublicWorker
    offer: PublicOffer | dict[str, Any]
    ipfs: PublicIpfs | dict[str, Any]
    jobs: PublicCounts


class PublicJob(Complete):
    """What anybody may know of a job, such as the requester that waits for it."""

    view: Literal["public"]
    job_id: str
    deal_id: str | None
    phase: str
    terminal: bool
    module: str
    cid: str | None
    reason: str | None = Field(description="why it was declined, of a job in phase REFUSED")
    determinism_class: str | None
    deadline: Moment | None
    seen_at: Moment
    updated_at: Moment
    progress: Progress | None
    estimate: Estimate | None


class Wallet(Growing):
    """The node's account."""

    address: Address
    gas_wei: Wei
    token_wei: Wei
    allowance_wei: Wei


class Worker(Growing):
    """All workers together; ``slots`` tells of each."""

    ready: bool
    profile: str
    state: str
    determinism_class: str | None
    slots: list[dict[str, Any]]


class Disk(Growing):
    """The file system of the data directory."""

    path: str
    free_bytes: int


class Counts(Growing):
    """Jobs by phase."""

    by_phase: dict[str, int]


class Earnings(Growing):
    """What came in, for jobs, and what is still out."""

    paid_wei: Wei
    day_wei: Wei
    week_wei: Wei
    month_wei: Wei
    net_wei: Wei
    gas_wei: Wei
    locked_wei: Wei
    claimable_wei: Wei
    last_paid_at: Moment | None = Field(description="block time of the last payment for a job")


class Status(Growing):
    """The whole state of a node. The parts without a value here come once the chain was read."""

    version: str
    started_at: Moment
    modules: list[str]
    price_wei: Wei
    gateway_url: str
    public_gateway: str | None
    limits: Limits
    worker: Worker
    disk: Disk
    jobs: Counts
    accepting: bool | None = None
    not_accepting_because: list[str] = []
    draining: bool = False
    wallet: Wallet | None = None
    chain: dict[str, Any] | None = None
    earnings: Earnings | None = None
    offer: dict[str, Any] | None = None
    ipfs: dict[str, Any] | None = None
    gpus: list[dict[str, Any]] | None = None
    offers: dict[str, Any]
    explorer: str | None = None


class Output(Complete):
    """A file of a result, below ``/ipfs/{cid}/``."""

    path: str
    media_type: str
    bytes: int | None


class Step(Complete):
    """A step of a job's history."""

    at: Moment
    event: str
    phase: str
    detail: str | None
    block_number: int | None
    tx_hash: str | None


class Transaction(Growing):
    """A transaction that a job caused."""

    what: str
    status: str
    tx_hash: str | None
    nonce: int | None
    gas_used: int | None
    fee_wei: Wei


class Job(Growing):
    """A job. In a list ``timeline``, ``transactions`` and ``copies`` are empty and ``money`` is not there."""

    job_id: str
    deal_id: str | None
    phase: str
    terminal: bool
    module: str
    prompt: str
    inputs: dict[str, str]
    notes: list[str]
    requester: Address
    price_wei: Wei | None
    paid_wei: Wei
    gas_wei: Wei | None = None
    cid: str | None
    reason: str | None
    determinism_class: str | None
    deadline: Moment | None = None
    seen_at: Moment
    updated_at: Moment
    progress: Progress | None
    stills: list[int] = []
    estimate: Estimate | None
    run_time: dict[str, float] | None
    outputs: list[Output]
    copies: list[dict[str, Any]] = []
    timeline: list[Step]
    transactions: list[Transaction]
    money: dict[str, Any] | None = None


class Jobs(Complete):
    """A page of jobs, newest first. ``next_before`` asks for the next page, None on the last."""

    jobs: list[Job]
    next_before: str | None


class Drained(Growing):
    """What a drain still waits for."""

    draining: bool
    undelivered: int


class SignIn(Complete):
    """The token, or a code that ``sdv-node dashboard`` printed."""

    token: str


class Session(Complete):
    """Whether this browser has a session now."""

    signed_in: bool


class Nothing(Complete):
    """An empty object."""


class Module(Complete):
    """A module that can be hired, as a deal names it."""

    repo: str
    tag: str
    commit: str
    path: str


class Offer(Growing):
    """The signed offer document. The signature is over the document without it, by the provider's account."""

    version: int
    chain_id: int
    controller: Address
    resource_provider: Address
    modules: list[Module]
    mediators: list[Address]
    valid_until: int
    contact_url: str
    determinism_class: str
    signature: str

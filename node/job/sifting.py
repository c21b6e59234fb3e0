"""What becomes of offers before they are jobs: taken, or left with a reason that is counted by its kind."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from node.types import JobId


class Refused(StrEnum):
    """Why an offer never became a job; the name under which it is counted."""

    STALE = "stale"
    UNREADABLE = "unreadable"
    INPUTS = "inputs"
    MODULE = "module"
    FORGED = "forged"
    DENIED = "denied"
    INSOLVENT = "insolvent"
    REQUESTER_LIMIT = "requester_limit"
    CROWDED = "crowded"
    HIRE = "hire"


@dataclass(frozen=True, slots=True)
class Left:
    """An offer that is left alone for good."""

    kind: Refused
    reason: str


@dataclass(frozen=True, slots=True)
class Sifted:
    """Which of some offers are left and why, by position, and which waiting jobs make room for the others."""

    left: Mapping[int, Left] = field(default_factory=dict)
    displaced: Mapping[JobId, str] = field(default_factory=dict)

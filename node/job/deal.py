"""Deals as the contracts hold them, and the id that binds a deal to its job and its terms.

Field order is ABI order (contracts ``LilypadController.agree``, ``LilypadStorage.getDeal``).
"""

import hashlib
import json
from dataclasses import dataclass
from enum import IntEnum

import base58

from node.types import Address, DealId, Wei

ZERO_ADDRESS = Address("0x" + "0" * 40)


class AgreementState(IntEnum):
    """``SharedStructs.AgreementState``; a separate type from our own phases."""

    DEAL_NEGOTIATING = 0
    DEAL_AGREED = 1
    RESULTS_SUBMITTED = 2
    RESULTS_ACCEPTED = 3
    RESULTS_CHECKED = 4
    MEDIATION_ACCEPTED = 5
    MEDIATION_REJECTED = 6
    TIMEOUT_AGREE = 7
    TIMEOUT_SUBMIT_RESULTS = 8
    TIMEOUT_JUDGE_RESULTS = 9
    TIMEOUT_MEDIATE_RESULTS = 10


class PaymentReason(IntEnum):
    """``SharedStructs.PaymentReason``."""

    PAYMENT_COLLATERAL = 0
    RESULTS_COLLATERAL = 1
    TIMEOUT_COLLATERAL = 2
    JOB_PAYMENT = 3
    MEDIATION_FEE = 4


class PaymentDirection(IntEnum):
    """``SharedStructs.PaymentDirection``."""

    PAID_IN = 0
    PAID_OUT = 1
    REFUNDED = 2
    SLASHED = 3


class ServiceType(IntEnum):
    """``SharedStructs.ServiceType`` (Solidity numbers; Lilypad's Go code differs)."""

    SOLVER = 0
    MEDIATOR = 1
    RESOURCE_PROVIDER = 2
    JOB_CREATOR = 3


@dataclass(frozen=True, slots=True)
class DealMembers:
    """Who takes part. ``solver`` is the job manager's address in direct matching."""

    solver: Address
    job_creator: Address
    resource_provider: Address
    mediators: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class DealTimeout:
    """One deadline in seconds and the collateral in wei that answers for it."""

    timeout_s: int
    collateral_wei: Wei


@dataclass(frozen=True, slots=True)
class DealTimeouts:
    """The four deadlines of a deal."""

    agree: DealTimeout
    submit_results: DealTimeout
    judge_results: DealTimeout
    mediate_results: DealTimeout


@dataclass(frozen=True, slots=True)
class DealPricing:
    """Prices in wei; ``results_collateral_multiple`` is a plain integer."""

    instruction_price_wei: Wei
    payment_collateral_wei: Wei
    results_collateral_multiple: int
    mediation_fee_wei: Wei


@dataclass(frozen=True, slots=True)
class Deal:
    """A deal with its id."""

    deal_id: DealId
    members: DealMembers
    timeouts: DealTimeouts
    pricing: DealPricing


@dataclass(frozen=True, slots=True)
class Agreement:
    """``LilypadStorage.getAgreement``: the state and when each step happened (block time, 0 = never)."""

    state: AgreementState
    resource_provider_agreed_at: int = 0
    job_creator_agreed_at: int = 0
    deal_created_at: int = 0
    deal_agreed_at: int = 0
    results_submitted_at: int = 0
    results_accepted_at: int = 0
    results_checked_at: int = 0
    mediation_accepted_at: int = 0
    mediation_rejected_at: int = 0
    timeout_agree_at: int = 0
    timeout_submit_results_at: int = 0
    timeout_judge_results_at: int = 0
    timeout_mediate_results_at: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """``LilypadStorage.getResult``."""

    deal_id: DealId
    results_id: str
    data_id: str
    instruction_count: int


@dataclass(frozen=True, slots=True)
class MarketPlace:
    """Which market a deal lives on: the parts of a deal's id that are not its own terms."""

    chain_id: int
    controller: Address
    job_manager: Address


def deal_id_for(
    market: MarketPlace,
    job_number: int,
    members: DealMembers,
    timeouts: DealTimeouts,
    pricing: DealPricing,
    salt: str,
) -> DealId:
    """Return ``j<job>-<base58 of 16 hash bytes>``, at most 31 bytes for job numbers below 10^7.

    The hash is SHA-256 over canonical JSON of every term, so a deal whose id does not match its terms is
    forged or squatted and both sides can see it.
    """
    terms = {
        "chain_id": market.chain_id,
        "controller": market.controller.lower(),
        "job_manager": market.job_manager.lower(),
        "job_id": job_number,
        "solver": members.solver.lower(),
        "job_creator": members.job_creator.lower(),
        "resource_provider": members.resource_provider.lower(),
        "mediators": [mediator.lower() for mediator in members.mediators],
        "timeouts": [
            [str(timeout.timeout_s), str(timeout.collateral_wei)]
            for timeout in (
                timeouts.agree,
                timeouts.submit_results,
                timeouts.judge_results,
                timeouts.mediate_results,
            )
        ],
        "pricing": [
            str(pricing.instruction_price_wei),
            str(pricing.payment_collateral_wei),
            str(pricing.results_collateral_multiple),
            str(pricing.mediation_fee_wei),
        ],
        "salt": salt,
    }
    canonical = json.dumps(terms, sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(canonical).digest()[:16]
    return DealId(f"j{job_number}-{base58.b58encode(digest).decode()}")

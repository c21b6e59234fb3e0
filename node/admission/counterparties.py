"""Whom to trust with how much: the deny list, what an account's record says, and exposure caps.

Pure, in the manner of ``rules``: facts in, a refusal with its number and its setting out. Exposure is what
this node has promised to an account, or delivered to it, and has not been paid for.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from node.admission.rules import Refusal
from node.config import AdmissionSection
from node.job.amounts import tokens
from node.job.job import Job
from node.job.phase import OPEN_DEAL, Phase
from node.journal.ledger_rows import PaymentRecord
from node.types import Address, Wei

PROMISED = OPEN_DEAL - {Phase.FAILING}
"""Phases in which the account owes us, or will once we deliver; a deal that we fail costs it nothing."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands between us and one account at the moment an offer of it is looked at."""

    requester: Address
    record: PaymentRecord
    unpaid_deals: int
    unpaid_wei: Wei
    price_wei: Wei


def unpaid_by(requester: Address, jobs: Iterable[Job]) -> tuple[int, Wei]:
    """Return in how many open deals, and for how much, this account owes us or will on delivery."""
    prices = [
        job.terms.pricing.instruction_price_wei
        for job in jobs
        if job.offer.requester == requester and job.deal is not None and job.phase in PROMISED
    ]
    return len(prices), Wei(sum(prices))


Rule = Callable[[Standing, AdmissionSection], Refusal | None]


def denied(standing: Standing, limits: AdmissionSection) -> Refusal | None:
    """The operator wants nothing to do with some accounts."""
    if standing.requester in limits.deny:
        return Refusal("denied", f"{standing.requester} is on the list admission.deny")
    return None


def paid_before(standing: Standing, limits: AdmissionSection) -> Refusal | None:
    """An account that took results or reservations and did not pay gets no further ones."""
    record = standing.record
    if 0 < limits.max_bad_deals <= record.bad:
        return Refusal(
            "paid_before",
            f"this account did not pay for {record.bad} of its {record.deals} deals with this node, "
            f"admission.max_bad_deals is {limits.max_bad_deals}",
        )
    return None


def unpaid_deals(standing: Standing, limits: AdmissionSection) -> Refusal | None:
    """Not too many deals at once with one account, fewer with one that never paid us."""
    name, limit = ("max_unpaid_deals_per_requester", limits.max_unpaid_deals_per_requester)
    if standing.record.unknown:
        name, limit = min(
            (name, limit),
            ("max_unpaid_deals_unknown", limits.max_unpaid_deals_unknown),
            key=lambda cap: cap[1],
        )
    if standing.unpaid_deals >= limit:
        return Refusal(
            "unpaid_deals",
            f"{standing.unpaid_deals} deals with this account are not paid yet, admission.{name} is {limit}",
            final=False,
        )
    return None


def unpaid_amount(standing: Standing, limits: AdmissionSection) -> Refusal | None:
    """Not too much at once with one account, less with one that never paid us."""
    limit, name = (limits.max_unpaid_per_requester, "max_unpaid_per_requester")
    if standing.record.unknown:
        limit, name = min((limit, name), (limits.max_unpaid_unknown, "max_unpaid_unknown"))
    if standing.unpaid_wei + standing.price_wei <= limit:
        return None
    return Refusal(
        "unpaid_amount",
        f"{tokens(standing.unpaid_wei)} tokens of this account are not paid yet and this job adds "
        f"{tokens(standing.price_wei)}, admission.{name} is {tokens(limit)}",
        final=standing.price_wei > limit,
    )


ACCOUNT_RULES: tuple[Rule, ...] = (denied, paid_before)
RULES: tuple[Rule, ...] = (*ACCOUNT_RULES, unpaid_deals, unpaid_amount)


def unwelcome(requester: Address, record: PaymentRecord, limits: AdmissionSection) -> Refusal | None:
    """Return why this account gets no deal whatever it offers: known before the chain is asked anything."""
    standing = Standing(requester, record, 0, Wei(0), Wei(0))
    return next((found for rule in ACCOUNT_RULES if (found := rule(standing, limits)) is not None), None)


def refusals(standing: Standing, limits: AdmissionSection) -> list[Refusal]:
    """Return what speaks against a deal with this account."""
    return [refusal for rule in RULES if (refusal := rule(standing, limits)) is not None]

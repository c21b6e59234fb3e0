"""What a deal may cost this node at worst: gas and collateral, each capped in its own token.

Pure, in the manner of ``rules``. The gas token and the payment token are never converted: no price of one in
the other is known on chain, so the cap on gas is an amount of the gas token, chosen by the operator.
"""

from node.admission.rules import GAS_PER_DEAL, Facts, Refusal
from node.config import AdmissionSection
from node.job.amounts import tokens
from node.types import Wei


def gas_cost(facts: Facts, limits: AdmissionSection) -> Refusal | None:
    """A deal whose gas would cost more than the operator allows waits until gas is cheaper. 0: no cap."""
    told = _gas_over_cap(facts.gas_price_wei, limits)
    return None if told is None else Refusal("gas_cost", told, final=False)


def collateral(facts: Facts, limits: AdmissionSection) -> Refusal | None:
    """No deal may lock, and thereby lose, more than the operator allows."""
    told = _collateral_over_cap(max(facts.timeout_collateral_wei, facts.results_collateral_wei), limits)
    return None if told is None else Refusal("collateral", told)


def refusals(facts: Facts, limits: AdmissionSection) -> list[Refusal]:
    """Return which caps the deal would break."""
    return [refusal for rule in (collateral, gas_cost) if (refusal := rule(facts, limits)) is not None]


def in_the_way(
    limits: AdmissionSection, *, price_wei: Wei, collateral_wei: Wei, gas_price_wei: Wei
) -> list[str]:
    """Return which caps refuse even a usual job of an account that is new here: people should hear of it."""
    owed = min(
        (limits.max_unpaid_per_requester, "max_unpaid_per_requester"),
        (limits.max_unpaid_unknown, "max_unpaid_unknown"),
    )
    told = (
        _collateral_over_cap(collateral_wei, limits),
        _gas_over_cap(gas_price_wei, limits),
        f"a job costs {tokens(price_wei)} tokens, admission.{owed[1]} is {tokens(owed[0])}"
        if price_wei > owed[0]
        else None,
    )
    return [text for text in told if text is not None]


def _gas_over_cap(gas_price_wei: Wei, limits: AdmissionSection) -> str | None:
    expected = GAS_PER_DEAL * gas_price_wei
    if not 0 < limits.max_gas_per_deal < expected:
        return None
    return (
        f"a deal would cost about {tokens(expected)} in gas, "
        f"admission.max_gas_per_deal is {tokens(limits.max_gas_per_deal)} (in the gas token)"
    )


def _collateral_over_cap(locked_wei: Wei, limits: AdmissionSection) -> str | None:
    if locked_wei <= limits.max_collateral_per_deal:
        return None
    return (
        f"the deal would lock {tokens(locked_wei)} tokens of ours, "
        f"admission.max_collateral_per_deal is {tokens(limits.max_collateral_per_deal)}"
    )

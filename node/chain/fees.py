"""What we pay for gas: EIP-1559 fees between the operator's floor and cap, and their replacement rule.

Pure arithmetic in wei per gas. Facts: EIP-1559 (``maxFeePerGas``, ``maxPriorityFeePerGas``) and the pool rule
of Ethereum clients that a replacement must raise both fields by at least 10 %.
"""

from dataclasses import dataclass

from node.chain.client import NetworkFees
from node.errors import Misconfigured, Retryable
from node.job.amounts import gwei
from node.types import Wei

GWEI = 10**9


class FeesAboveCap(Retryable):
    """The network charges more than the operator allows: nothing was signed, try when it is cheaper."""


@dataclass(frozen=True, slots=True)
class TxSettings:
    """How transactions are paid for and followed.

    A transaction is final when ``confirmations`` blocks stand on top of its own. Fees are wei per gas:
    never below the floors, never above ``max_fee_cap_wei``.
    """

    confirmations: int = 1
    poll_interval_s: float = 1.0
    resubmit_after_s: float = 30.0
    tip_floor_wei: Wei = Wei(1)
    max_fee_floor_wei: Wei = Wei(GWEI // 10)
    max_fee_cap_wei: Wei = Wei(200 * GWEI)
    bump_percent: int = 12
    gas_margin_percent: int = 30

    def __post_init__(self) -> None:
        if self.bump_percent < 10:
            raise Misconfigured(f"bump_percent is {self.bump_percent}: a replacement needs at least 10")
        if not 0 < self.tip_floor_wei <= self.max_fee_floor_wei <= self.max_fee_cap_wei:
            raise Misconfigured(
                "fees must satisfy 0 < tip_floor_wei <= max_fee_floor_wei <= max_fee_cap_wei, not "
                f"{self.tip_floor_wei}, {self.max_fee_floor_wei}, {self.max_fee_cap_wei}"
            )
        if self.confirmations < 0 or self.poll_interval_s <= 0 or self.resubmit_after_s <= 0:
            raise Misconfigured(
                "confirmations must not be negative; the two intervals must be above 0 seconds"
            )


@dataclass(frozen=True, slots=True)
class Fees:
    """The two fee fields of a transaction, wei per gas; the tip is never above the maximum."""

    max_fee_wei: Wei
    tip_wei: Wei


def first_fees(network: NetworkFees, settings: TxSettings) -> Fees:
    """Return the fees of a first attempt: room for six full blocks of rising base fee, within the cap.

    Raises FeesAboveCap when the cap does not even cover the next block.
    """
    tip = max(network.tip_wei, settings.tip_floor_wei)
    if network.base_fee_wei + settings.tip_floor_wei > settings.max_fee_cap_wei:
        raise FeesAboveCap(
            f"the network's base fee of {gwei(network.base_fee_wei)} gwei is above the cap of "
            f"{gwei(settings.max_fee_cap_wei)}: wait, or raise chain.max_fee_gwei"
        )
    wanted = max(2 * network.base_fee_wei + tip, settings.max_fee_floor_wei)
    max_fee = min(wanted, settings.max_fee_cap_wei)
    return Fees(Wei(max_fee), Wei(min(tip, max_fee)))


def replacement_fees(previous: Fees, network: NetworkFees, settings: TxSettings) -> Fees | None:
    """Return fees that replace ``previous`` in every pool, or None when the cap forbids it."""
    least_max_fee = _raised(previous.max_fee_wei, settings.bump_percent)
    least_tip = _raised(previous.tip_wei, settings.bump_percent)
    if least_max_fee > settings.max_fee_cap_wei:
        return None
    max_fee = max(least_max_fee, min(2 * network.base_fee_wei + least_tip, settings.max_fee_cap_wei))
    tip = max(least_tip, min(network.tip_wei, max_fee))
    return Fees(Wei(max_fee), Wei(tip))


def _raised(value: int, percent: int) -> int:
    # Rounded up, and at least 1 more: pools refuse a replacement that raises nothing.
    return max(value + 1, -(-value * (100 + percent) // 100))

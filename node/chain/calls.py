"""Market calls as data: pure functions from what should happen to the Call that makes it happen.

Sends nothing and asks nothing; which account may send which call is the contracts' rule.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from node.chain import interface
from node.chain.client import Call
from node.chain.interface import Function
from node.job.deal import Deal, DealTimeout, ServiceType
from node.types import Address, DealId, Wei


@dataclass(frozen=True, slots=True)
class MarketAddresses:
    """Where a market's contracts are; all in lower case."""

    controller: Address
    payments: Address
    storage: Address
    users: Address
    mediation: Address
    job_manager: Address
    token: Address


class MarketCalls:
    """The calls of one deployed market."""

    def __init__(self, addresses: MarketAddresses) -> None:
        self.addresses = addresses

    def agree(self, deal: Deal) -> Call:
        """Propose a deal, or agree to the one stored with exactly these terms."""
        members, timeouts, pricing = deal.members, deal.timeouts, deal.pricing
        data = interface.AGREE.encode(
            deal.deal_id,
            (
                members.solver,
                members.job_creator,
                members.resource_provider,
                list(members.mediators),
            ),
            tuple(
                _deadline(timeout)
                for timeout in (
                    timeouts.agree,
                    timeouts.submit_results,
                    timeouts.judge_results,
                    timeouts.mediate_results,
                )
            ),
            (
                pricing.instruction_price_wei,
                pricing.payment_collateral_wei,
                pricing.results_collateral_multiple,
                pricing.mediation_fee_wei,
            ),
        )
        return Call(self.addresses.controller, data, f"agree {deal.deal_id}")

    def add_result(self, deal_id: DealId, results_id: str, data_id: str, instruction_count: int) -> Call:
        """Submit a result; a count of 0 is the honest failure that costs nobody anything."""
        data = interface.ADD_RESULT.encode(deal_id, results_id, data_id, instruction_count)
        return Call(self.addresses.controller, data, f"addResult {deal_id}")

    def accept_result(self, deal_id: DealId) -> Call:
        """Accept and pay."""
        return self._of_deal(interface.ACCEPT_RESULT, deal_id)

    def check_result(self, deal_id: DealId) -> Call:
        """Ask for mediation."""
        return self._of_deal(interface.CHECK_RESULT, deal_id)

    def timeout_agree(self, deal_id: DealId) -> Call:
        """Take back a proposal that was not answered in time."""
        return self._of_deal(interface.TIMEOUT_AGREE, deal_id)

    def timeout_submit_result(self, deal_id: DealId) -> Call:
        """End a deal whose provider was silent."""
        return self._of_deal(interface.TIMEOUT_SUBMIT_RESULT, deal_id)

    def timeout_judge_result(self, deal_id: DealId) -> Call:
        """End a deal whose job creator never judged."""
        return self._of_deal(interface.TIMEOUT_JUDGE_RESULT, deal_id)

    def timeout_mediate_result(self, deal_id: DealId) -> Call:
        """End, or redraw, a mediation whose mediator was silent."""
        return self._of_deal(interface.TIMEOUT_MEDIATE_RESULT, deal_id)

    def mediation_accept_result(self, deal_id: DealId) -> Call:
        """Rule for the provider; only the drawn mediator may."""
        data = interface.MEDIATION_ACCEPT_RESULT.encode(deal_id)
        return Call(self.addresses.mediation, data, f"mediationAcceptResult {deal_id}")

    def mediation_reject_result(self, deal_id: DealId) -> Call:
        """Rule for the job creator; only the drawn mediator may."""
        data = interface.MEDIATION_REJECT_RESULT.encode(deal_id)
        return Call(self.addresses.mediation, data, f"mediationRejectResult {deal_id}")

    def run_job(self, module: str, inputs: Sequence[str], payee: Address) -> Call:
        """Post a job; ``inputs`` are ``Key=Value``."""
        data = interface.RUN_JOB.encode(module, list(inputs), payee)
        return Call(self.addresses.job_manager, data, f"runJob {module}")

    def approve(self, spender: Address, amount_wei: Wei) -> Call:
        """Allow ``spender`` to pull payment tokens; deals need the Payments contract as spender."""
        data = interface.APPROVE.encode(spender, amount_wei)
        return Call(self.addresses.token, data, f"approve {spender}")

    def transfer(self, to: Address, amount_wei: Wei) -> Call:
        """Send payment tokens."""
        data = interface.TRANSFER.encode(to, amount_wei)
        return Call(self.addresses.token, data, f"transfer to {to}")

    def withdraw(self, payee: Address) -> Call:
        """Pay out what a transfer that failed left as credit (our contracts only)."""
        return Call(self.addresses.payments, interface.WITHDRAW.encode(payee), f"withdraw {payee}")

    def update_user(self, metadata_cid: str, url: str, roles: Iterable[ServiceType]) -> Call:
        """Publish who the sender is; replaces the whole record."""
        data = interface.UPDATE_USER.encode(metadata_cid, url, [int(role) for role in roles])
        return Call(self.addresses.users, data, "updateUser")

    def add_user_to_list(self, service: ServiceType) -> Call:
        """Be listed for a service."""
        data = interface.ADD_USER_TO_LIST.encode(int(service))
        return Call(self.addresses.users, data, f"addUserToList {service.name.lower()}")

    def remove_user_from_list(self, service: ServiceType) -> Call:
        """Be listed no longer."""
        data = interface.REMOVE_USER_FROM_LIST.encode(int(service))
        return Call(self.addresses.users, data, f"removeUserFromList {service.name.lower()}")

    def _of_deal(self, function: Function, deal_id: DealId) -> Call:
        return Call(self.addresses.controller, function.encode(deal_id), f"{function.name} {deal_id}")


def _deadline(timeout: DealTimeout) -> tuple[int, int]:
    return timeout.timeout_s, timeout.collateral_wei

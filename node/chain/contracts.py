"""Reads of the market contracts, and how they are found from the Controller's address alone.

Whatever other people stored is read as bytes first: text that is not clean UTF-8 within our limits raises
Unreadable and goes no further. Struct layouts: the market's interface, ABI order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from node.chain import abi, interface
from node.chain.abi import Malformed
from node.chain.balances import token_balances
from node.chain.calls import MarketAddresses, MarketCalls
from node.chain.client import Call, Chain
from node.chain.events import MAX_CID_BYTES, MAX_DEAL_ID_BYTES
from node.chain.hexadecimal import BadReply
from node.chain.interface import Function
from node.chain.reverts import Reverted
from node.chain.rules import DeploymentRules
from node.errors import JobFailed, Misconfigured
from node.job.deal import (
    ZERO_ADDRESS,
    Agreement,
    AgreementState,
    Deal,
    DealMembers,
    DealPricing,
    DealTimeout,
    DealTimeouts,
    MarketPlace,
    Result,
    ServiceType,
)
from node.types import Address, DealId, Wei

__all__ = ["MarketAddresses", "MarketContracts", "Unreadable", "User", "discover"]

MAX_MEDIATORS = 64
MAX_URL_BYTES = 512
MAX_SYMBOL_BYTES = 32
MAX_LISTED_USERS = 10_000

_AGREEMENT_WORDS = 14
_DEAL_HEAD = 32 * (1 + 1 + 8 + 4)
"""Bytes of a Deal before its dynamic parts: two pointers, four deadlines, four prices."""

Answer = TypeVar("Answer")


class Unreadable(JobFailed):
    """A deal, result or user record holds something this node does not accept; the text says what."""


@dataclass(frozen=True, slots=True)
class User:
    """A record of the Users contract: a claim by its owner, nothing more."""

    address: Address
    metadata_cid: str
    url: str
    roles: tuple[ServiceType, ...]


async def discover(chain: Chain, controller: Address) -> MarketAddresses:
    """Ask a Controller for the other contracts.

    Raises Misconfigured in one sentence if there is no contract at the address or it is no Controller.
    """
    if not await chain.code(controller):
        chain_id = await chain.chain_id()
        raise Misconfigured(
            f"there is no contract at {controller} on chain {chain_id}: check controller address and network"
        )

    async def ask(contract: Address, function: Function) -> Address:
        output = await _output(chain, contract, function)
        found = abi.address(output, 0)
        if found == ZERO_ADDRESS:
            raise Malformed(f"{function.name} is the zero address")
        return found

    try:
        payments = await ask(controller, interface.GET_PAYMENTS)
        return MarketAddresses(
            controller=Address(controller.lower()),
            payments=payments,
            storage=await ask(controller, interface.GET_STORAGE),
            users=await ask(controller, interface.GET_USERS),
            mediation=await ask(controller, interface.GET_MEDIATION),
            job_manager=await ask(controller, interface.GET_JOB_CREATOR),
            token=await ask(payments, interface.GET_TOKEN),
        )
    except (Reverted, Malformed) as error:
        raise Misconfigured(
            f"the contract at {controller} is not a market Controller ({error}): check the controller address"
        ) from error


class MarketContracts(MarketCalls):
    """One deployed market: its calls (inherited, pure) and its reads.

    Reads take ``at``, a block number, or None for the newest block. They raise Unreachable when the endpoint
    fails or answers nonsense.
    """

    def __init__(
        self, chain: Chain, addresses: MarketAddresses, chain_id: int, rules: DeploymentRules
    ) -> None:
        super().__init__(addresses)
        self._chain = chain
        self.rules = rules
        self.place = MarketPlace(chain_id, addresses.controller, addresses.job_manager)

    async def get_deal(self, deal_id: DealId, at: int | None = None) -> Deal | None:
        """Return the stored terms, or None for an unknown id; raises Unreadable."""
        output = await self._ask(self.addresses.storage, interface.GET_DEAL, deal_id, at=at)
        deal = _readable(f"deal {deal_id}", lambda: _deal(output))
        return _checked_id(deal_id, deal.deal_id, deal)

    async def get_agreement(self, deal_id: DealId, at: int | None = None) -> Agreement:
        """Return the state and its times; an unknown id is DEAL_NEGOTIATING with no times."""
        storage, function = self.addresses.storage, interface.GET_AGREEMENT
        output = await _output(self._chain, storage, function, deal_id, at=at)
        if not output:
            # A block older than the contract: nothing had been agreed there. If it does not answer now
            # either, the endpoint knows no such contract.
            await self._ask(storage, function, deal_id, at=None)
            return Agreement(AgreementState.DEAL_NEGOTIATING)
        return _sound(interface.GET_AGREEMENT, lambda: _agreement(output))

    async def get_result(self, deal_id: DealId, at: int | None = None) -> Result | None:
        """Return the submitted result, or None while there is none; raises Unreadable."""
        output = await self._ask(self.addresses.storage, interface.GET_RESULT, deal_id, at=at)
        result = _readable(f"the result of deal {deal_id}", lambda: _result(output))
        return _checked_id(deal_id, result.deal_id, result)

    async def get_mediator(self, deal_id: DealId, at: int | None = None) -> Address | None:
        """Return who was drawn to rule, or None."""
        mediator = await self._address(self.addresses.mediation, interface.GET_MEDIATOR, deal_id, at=at)
        return None if mediator == ZERO_ADDRESS else mediator

    async def drawn_at(self, deal_id: DealId, at: int | None = None) -> int:
        """Return the block time of a deal's last draw (our contracts only; Reverted on others)."""
        return await self._uint(self.addresses.mediation, interface.GET_DRAWN_AT, deal_id, at=at)

    async def deal_escrow(self, deal_id: DealId, at: int | None = None) -> Wei:
        """Return what a deal has locked (our contracts only; Reverted on others)."""
        return Wei(await self._uint(self.addresses.payments, interface.GET_ESCROW, deal_id, at=at))

    async def escrow_behind(self, deal: Deal, at: int | None = None) -> Wei:
        """Return what backs the job creator's part of a deal: the deal's own escrow, or its whole pool."""
        if self.rules.escrow_can_drain:
            return await self.pooled_escrow(deal.members.job_creator, at)
        return await self.deal_escrow(deal.deal_id, at)

    async def credit(self, address: Address, at: int | None = None) -> Wei:
        """Return what ``withdraw`` would pay out (our contracts only; Reverted on others)."""
        return Wei(await self._uint(self.addresses.payments, interface.GET_CREDIT, address, at=at))

    async def get_user(self, address: Address, at: int | None = None) -> User | None:
        """Return an account's public record, or None; raises Unreadable."""
        output = await self._ask(self.addresses.users, interface.GET_USER, address, at=at)
        user = _readable(f"the user record of {address}", lambda: _user(output))
        return None if user.address == ZERO_ADDRESS else user

    async def show_users_in_list(self, service: ServiceType, at: int | None = None) -> tuple[Address, ...]:
        """Return who is listed for a service; being listed proves nothing."""
        output = await self._ask(self.addresses.users, interface.SHOW_USERS_IN_LIST, int(service), at=at)
        return _readable(
            "the list of users", lambda: _addresses(output, abi.offset(output, 0, 0, 32), MAX_LISTED_USERS)
        )

    async def token_balance(self, address: Address, at: int | None = None) -> Wei:
        """Return an account's payment tokens."""
        return Wei(await self._uint(self.addresses.token, interface.BALANCE_OF, address, at=at))

    async def token_balances(self, addresses: Sequence[Address]) -> dict[Address, Wei]:
        """Return the payment tokens of many accounts at the newest block, in few requests.

        Raises RpcError or Reverted where an endpoint does not execute code without a recipient.
        """
        return await token_balances(self._chain, self.addresses.token, addresses)

    async def token_allowance(self, owner: Address, spender: Address, at: int | None = None) -> Wei:
        """Return how much ``spender`` may pull from ``owner``."""
        return Wei(await self._uint(self.addresses.token, interface.ALLOWANCE, owner, spender, at=at))

    async def pooled_escrow(self, address: Address, at: int | None = None) -> Wei:
        """Return what an account has locked over all its deals (pooled escrow only; Reverted on others)."""
        return Wei(await self._uint(self.addresses.token, interface.ESCROW_BALANCE_OF, address, at=at))

    async def token_paused(self) -> bool:
        """Tell whether the token's owner stopped every movement of it; False for tokens without a pause."""
        try:
            return bool(await self._uint(self.addresses.token, interface.PAUSED, at=None))
        except Reverted:
            return False

    async def token_symbol(self) -> str:
        """Return the payment token's symbol; raises Unreadable."""
        output = await self._ask(self.addresses.token, interface.SYMBOL, at=None)
        return _readable(
            "the token's symbol",
            lambda: abi.text(output, abi.offset(output, 0, 0, 32), MAX_SYMBOL_BYTES, "symbol"),
        )

    async def required_deposit(self, at: int | None = None) -> Wei:
        """Return the allowance that ``runJob`` asks of the payee."""
        return Wei(await self._uint(self.addresses.job_manager, interface.GET_REQUIRED_DEPOSIT, at=at))

    async def _ask(self, contract: Address, function: Function, *arguments: Any, at: int | None) -> bytes:
        output = await _output(self._chain, contract, function, *arguments, at=at)
        if not output:
            raise BadReply(
                f"{function.name} of {contract} answered nothing: no such contract on this endpoint"
            )
        return output

    async def _uint(self, contract: Address, function: Function, *arguments: Any, at: int | None) -> int:
        output = await self._ask(contract, function, *arguments, at=at)
        return _sound(function, lambda: abi.uint(output, 0))

    async def _address(
        self, contract: Address, function: Function, *arguments: Any, at: int | None
    ) -> Address:
        output = await self._ask(contract, function, *arguments, at=at)
        return _sound(function, lambda: abi.address(output, 0))


async def _output(
    chain: Chain, contract: Address, function: Function, *arguments: Any, at: int | None = None
) -> bytes:
    return await chain.call(Call(contract, function.encode(*arguments), function.name), at=at)


def _readable(what: str, read: Callable[[], Answer]) -> Answer:
    """Run a reader over what other people wrote."""
    try:
        return read()
    except Malformed as problem:
        raise Unreadable(f"{what} cannot be read: {problem}") from problem


def _sound(function: Function, read: Callable[[], Answer]) -> Answer:
    """Run a reader over what only the contract itself can have written."""
    try:
        return read()
    except Malformed as problem:
        raise BadReply(f"the RPC endpoint's answer to {function.name} makes no sense: {problem}") from problem


def _checked_id(asked: DealId, found: str, answer: Answer) -> Answer | None:
    if not found:
        return None
    if found != asked:
        raise BadReply("the RPC endpoint answered for another deal than it was asked for")
    return answer


def _deal(data: bytes) -> Deal:
    at = abi.offset(data, 0, 0, 32)
    deal_id = abi.text(data, abi.offset(data, at, at, _DEAL_HEAD), MAX_DEAL_ID_BYTES, "deal id")
    members = abi.offset(data, at + 32, at, _DEAL_HEAD)
    deadlines = [
        DealTimeout(abi.uint(data, at + 64 + 64 * index), Wei(abi.uint(data, at + 96 + 64 * index)))
        for index in range(4)
    ]
    pricing = at + 64 + 4 * 64
    return Deal(
        DealId(deal_id),
        DealMembers(
            abi.address(data, members),
            abi.address(data, members + 32),
            abi.address(data, members + 64),
            _addresses(data, abi.offset(data, members + 96, members, 128), MAX_MEDIATORS),
        ),
        DealTimeouts(*deadlines),
        DealPricing(
            Wei(abi.uint(data, pricing)),
            Wei(abi.uint(data, pricing + 32)),
            abi.uint(data, pricing + 64),
            Wei(abi.uint(data, pricing + 96)),
        ),
    )


def _agreement(data: bytes) -> Agreement:
    state = abi.uint(data, 0)
    if state >= len(AgreementState):
        raise Malformed(f"unknown agreement state {state}")
    times = [abi.small_uint(data, 32 * index, "time") for index in range(1, _AGREEMENT_WORDS)]
    return Agreement(AgreementState(state), *times)


def _result(data: bytes) -> Result:
    at = abi.offset(data, 0, 0, 32)
    return Result(
        DealId(abi.text(data, abi.offset(data, at, at, 128), MAX_DEAL_ID_BYTES, "deal id")),
        abi.text(data, abi.offset(data, at + 32, at, 128), MAX_CID_BYTES, "results id"),
        abi.text(data, abi.offset(data, at + 64, at, 128), MAX_CID_BYTES, "data id"),
        abi.uint(data, at + 96),
    )


def _user(data: bytes) -> User:
    at = abi.offset(data, 0, 0, 32)
    roles = abi.offset(data, at + 96, at, 128)
    numbers = [
        abi.uint(data, roles + 32 + 32 * index)
        for index in range(abi.count(data, roles, len(ServiceType) * 4, "roles"))
    ]
    return User(
        abi.address(data, at),
        abi.text(data, abi.offset(data, at + 32, at, 128), MAX_CID_BYTES, "metadata CID"),
        abi.text(data, abi.offset(data, at + 64, at, 128), MAX_URL_BYTES, "url"),
        tuple(ServiceType(number) for number in numbers if number < len(ServiceType)),
    )


def _addresses(data: bytes, at: int, limit: int) -> tuple[Address, ...]:
    length = abi.count(data, at, limit, "addresses")
    return tuple(abi.address(data, at + 32 + 32 * index) for index in range(length))

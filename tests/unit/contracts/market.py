"""The market deployed on the in-process EVM, and deals to make on it.

Deploys in the order a private network uses. Every amount is in wei; ``TOKEN`` is one whole token.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from tests.unit.contracts.evm import Contract, Event, Evm, Outcome, account, artefact

TOKEN = 10**18
SUPPLY = 10**27
ZERO = b"\x00" * 20

ADMIN = account(0xA0)
SOLVER = account(0xA1)
JC = account(0xA2)
RP = account(0xA3)
MEDIATOR = account(0xB0)
SECOND_MEDIATOR = account(0xB1)
THIRD_MEDIATOR = account(0xB2)
STRANGER = account(0xC0)
JOB_CREATOR_DAEMON = account(0xC1)


@dataclass(frozen=True, slots=True)
class Terms:
    """A deal. The defaults are the state table's: P 1, PC 2, K 2, F 1, TS = TJ = 1, an hour for each step."""

    deal_id: str = "j17-cYZxj948rSU6ks48VRVzB"
    job_creator: bytes = JC
    resource_provider: bytes = RP
    solver: bytes = SOLVER
    mediators: tuple[bytes, ...] = (MEDIATOR,)
    timeouts: tuple[int, int, int, int] = (3600, 3600, 3600, 3600)
    submit_collateral: int = TOKEN
    judge_collateral: int = TOKEN
    other_collaterals: tuple[int, int] = (0, 0)
    price: int = TOKEN
    payment_collateral: int = 2 * TOKEN
    multiple: int = 2
    fee: int = TOKEN

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What ``agree`` takes."""
        agree_collateral, mediate_collateral = self.other_collaterals
        collaterals = (agree_collateral, self.submit_collateral, self.judge_collateral, mediate_collateral)
        return (
            self.deal_id,
            (self.solver, self.job_creator, self.resource_provider, self.mediators),
            tuple(zip(self.timeouts, collaterals, strict=True)),
            (self.price, self.payment_collateral, self.multiple, self.fee),
        )


@dataclass(slots=True)
class Market:
    """Every contract of one deployment."""

    evm: Evm
    token: Contract
    payments: Contract
    storage: Contract
    users: Contract
    mediation: Contract
    job_manager: Contract
    controller: Contract
    terms: Terms = field(default_factory=Terms)

    def agree(self, party: bytes, **changes: Any) -> Outcome:
        return self.controller.send(party, "agree", *replace(self.terms, **changes).arguments)

    def call(self, sender: bytes, function: str, *arguments: Any) -> Outcome:
        """Call the Controller about the market's deal."""
        return self.controller.send(sender, function, self.terms.deal_id, *arguments)

    def rule(self, sender: bytes, function: str) -> Outcome:
        """Call MediationRandom about the market's deal."""
        return self.mediation.send(sender, function, self.terms.deal_id)

    def negotiated(self, first: bytes = RP, **changes: Any) -> None:
        """Bring the deal to where one side has agreed."""
        self.terms = replace(self.terms, **changes)
        self.agree(first)

    def agreed(self, **changes: Any) -> None:
        self.negotiated(**changes)
        self.agree(self.terms.job_creator)

    def submitted(self, count: int = 1, **changes: Any) -> None:
        self.agreed(**changes)
        self.call(self.terms.resource_provider, "addResult", "", "bafyresult", count)

    def checked(self, count: int = 1, **changes: Any) -> None:
        self.submitted(count, **changes)
        self.call(self.terms.job_creator, "checkResult")

    def drawn(self) -> bytes:
        """Return the mediator of the market's deal."""
        return bytes.fromhex(self.mediation.read("getMediator", self.terms.deal_id)[2:])

    def state(self) -> int:
        return int(self.agreement()[0])

    def agreement(self) -> tuple[int, ...]:
        return tuple(self.storage.read("getAgreement", self.terms.deal_id))

    def balance(self, holder: bytes) -> int:
        return int(self.token.read("balanceOf", holder))

    def escrow(self, deal_id: str | None = None) -> int:
        return int(self.payments.read("getEscrow", deal_id or self.terms.deal_id))


def movements(outcome: Outcome) -> list[tuple[Any, ...]]:
    """Return the market's events in order; a payment is (payee, wei, reason, direction)."""
    seen: list[tuple[Any, ...]] = []
    for event in outcome.events:
        if event.name == "DealStateChange":
            seen.append(("state", event.arguments[1]))
        elif event.name == "Payment":
            _, payee, amount, reason, direction = event.arguments
            seen.append((bytes.fromhex(payee[2:]), amount, reason, direction))
        elif event.name == "MediationRequested":
            seen.append(("mediator", bytes.fromhex(event.arguments[1][2:])))
    return seen


def named(events: tuple[Event, ...], name: str) -> list[tuple[Any, ...]]:
    """Return the arguments of every event of that name."""
    return [event.arguments for event in events if event.name == name]


def deploy(evm: Evm, token: Contract | None = None) -> Market:
    """Deploy and wire a market in the order of a private network."""
    if token is None:
        token = evm.deploy(ADMIN, artefact("Token"), "Lilypad Token", "LP", SUPPLY)
    payments = evm.deploy(ADMIN, artefact("Payments"))
    payments.send(ADMIN, "initialize", token.address)
    storage = evm.deploy(ADMIN, artefact("Storage"))
    users = evm.deploy(ADMIN, artefact("Users"))
    mediation = evm.deploy(ADMIN, artefact("MediationRandom"))
    for contract in (storage, users, mediation):
        contract.send(ADMIN, "initialize")
    job_manager = evm.deploy(ADMIN, artefact("OnChainJobCreator"))
    job_manager.send(ADMIN, "initialize", token.address)
    job_manager.send(ADMIN, "setControllerAddress", JOB_CREATOR_DAEMON)
    controller = evm.deploy(ADMIN, artefact("Controller"))
    inner = [contract.address for contract in (storage, users, payments, mediation, job_manager)]
    controller.send(ADMIN, "initialize", *inner, account(0x99))
    for contract in (storage, payments, mediation):
        contract.send(ADMIN, "setControllerAddress", controller.address)
    return Market(evm, token, payments, storage, users, mediation, job_manager, controller)


def fund(market: Market, *holders: bytes, amount: int = 100 * TOKEN) -> None:
    """Give each account tokens and let Payments take them."""
    for holder in holders:
        market.token.send(ADMIN, "transfer", holder, amount)
        market.token.send(holder, "approve", market.payments.address, 2**256 - 1)

"""A market in memory as the requester sees it: chain, contracts, transactions and a gateway in one.

It keeps state like the contracts do, refuses what they refuse, forgets no transaction, and can be told to
lose connections or to break off a run at any transaction.
"""

from dataclasses import replace
from pathlib import Path

from eth_abi.abi import decode, encode

from node.chain import interface
from node.chain.calls import MarketAddresses, MarketCalls
from node.chain.client import Block, RawLog
from node.chain.contracts import User
from node.chain.events import JOB_ADDED, PAYMENT
from node.chain.outcomes import Failed, Mined, TxIntent, TxOutcome
from node.chain.rules import SOUND_RULES
from node.errors import NodeError, Unreachable
from node.job.deal import (
    Agreement,
    AgreementState,
    Deal,
    DealMembers,
    DealPricing,
    DealTimeout,
    DealTimeouts,
    MarketPlace,
    PaymentDirection,
    PaymentReason,
    Result,
)
from node.job.transactions import TxRow, TxStatus
from node.types import Address, BlockHash, BlockNumber, Cid, DealId, TxHash, Wei

TOKEN = 10**18
REQUESTER = Address("0x" + "b2" * 20)
PROVIDER = Address("0x" + "a1" * 20)
MEDIATOR = Address("0x" + "c3" * 20)
ADDRESSES = MarketAddresses(*(Address("0x" + f"{number:02x}" * 20) for number in range(16, 23)))


class BrokenOff(BaseException):
    """The process dies here."""


def _deal_in(intent: TxIntent) -> Deal:
    deal_id, members, timeouts, pricing = decode(interface.AGREE.types, intent.call.data[4:])
    return Deal(
        DealId(deal_id),
        DealMembers(*members[:3], tuple(members[3])),
        DealTimeouts(*(DealTimeout(*timeout) for timeout in timeouts)),
        DealPricing(*pricing),
    )


class FakeDelivery:
    """Published directories by CID. ``down``: nothing answers; ``lying``: something else is delivered."""

    def __init__(self) -> None:
        self.published: dict[str, dict[str, bytes]] = {}
        self.documents: dict[str, bytes] = {}
        self.down = False
        self.lying = False
        self.downloads = 0
        self.asked: list[tuple[str, ...]] = []

    def canonical(self, data_id: str) -> Cid:
        if not data_id.startswith("bafy"):
            raise NodeError(f"{data_id!r} is no CID")
        return Cid(data_id)

    async def fetch(self, provider, gateways, cid: Cid, into: Path, on_bytes) -> None:
        self.asked.append((provider, *gateways))
        if self.down or cid not in self.published:
            raise Unreachable(f"{provider} does not answer")
        self.downloads += 1
        for name, data in self.published[cid].items():
            path = into / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data + b"!" if self.lying else data)
            on_bytes(len(data), None)

    async def fetch_file(self, gateway: str, cid: str, limit_bytes: int) -> bytes:
        if self.down or cid not in self.documents:
            raise Unreachable("the gateway does not answer")
        return self.documents[cid]

    def cid_of(self, directory: Path, like: Cid) -> Cid:
        found = {
            str(path.relative_to(directory)): path.read_bytes()
            for path in directory.rglob("*")
            if path.is_file()
        }
        return next((Cid(cid) for cid, files in self.published.items() if files == found), Cid("bafy-other"))

    def publish(self, directory: Path) -> str:
        cid = f"bafy-{len(self.published)}"
        self.published[cid] = {
            str(path.relative_to(directory)): path.read_bytes()
            for path in directory.rglob("*")
            if path.is_file()
        }
        return cid


class FakeMarket(MarketCalls):
    """Meets what the requester uses of Chain, MarketContracts and TxManager. One block per event."""

    def __init__(self) -> None:
        super().__init__(ADDRESSES)
        self.place = MarketPlace(31337, ADDRESSES.controller, ADDRESSES.job_manager)
        self.now = 1_700_000_000
        self.gas_wei = TOKEN
        self.deposit_wei = 0
        self.tokens: dict[Address, int] = {REQUESTER: 100 * TOKEN, PROVIDER: 100 * TOKEN}
        self.allowance = 0
        self.deals: dict[DealId, Deal] = {}
        self.agreements: dict[DealId, Agreement] = {}
        self.results: dict[DealId, Result] = {}
        self.rules = SOUND_RULES
        self.url = "http://provider.example"
        self.offers: dict[Address, str] = {}
        self.jobs: list[tuple[str, tuple[str, ...]]] = []
        self.mined: dict[str, TxOutcome] = {}
        self.unreachable = 0
        self.refuse: dict[str, str] = {}
        self.reverts: dict[str, int] = {}
        """How many more transactions of an action are mined and reverted."""
        self.break_off_at: tuple[int, bool] | None = None
        self.sends = 0
        self.refunds_work = True
        self.draws: dict[DealId, list[tuple[Address, int]]] = {}
        self._logs: list[list[RawLog]] = [[]]

    # What a provider does

    def propose(self, deal: Deal) -> None:
        self.deals[deal.deal_id] = deal
        self.agreements[deal.deal_id] = Agreement(
            AgreementState.DEAL_NEGOTIATING, resource_provider_agreed_at=self.now, deal_created_at=self.now
        )
        collateral_wei = deal.timeouts.submit_results.collateral_wei
        self._pay(deal.members.resource_provider, deal, -collateral_wei)
        self._mine([self._payment(deal, deal.members.resource_provider, collateral_wei, 2, 0)])

    def answer_hire(self, deal_id: DealId) -> None:
        """Agree to a deal that the requester agreed to first."""
        self._change(
            deal_id,
            state=AgreementState.DEAL_AGREED,
            resource_provider_agreed_at=self.now,
            deal_agreed_at=self.now,
        )
        deal = self.deals[deal_id]
        collateral_wei = deal.timeouts.submit_results.collateral_wei
        self._pay(deal.members.resource_provider, deal, -collateral_wei)
        self._mine([self._payment(deal, deal.members.resource_provider, collateral_wei, 2, 0)])

    def submit(self, deal: Deal, data_id: str, count: int = 1) -> None:
        self.results[deal.deal_id] = Result(deal.deal_id, "", data_id, count)
        self._change(deal.deal_id, state=AgreementState.RESULTS_SUBMITTED, results_submitted_at=self.now)
        self._mine([])

    def withdraw(self, deal: Deal) -> None:
        self._change(deal.deal_id, state=AgreementState.TIMEOUT_AGREE, timeout_agree_at=self.now)
        self._mine([])

    def rule(self, deal: Deal, *, accept: bool) -> None:
        """Rule as the drawn mediator."""
        if accept:
            self._settle(deal)
        else:
            self._pay(REQUESTER, deal, deal.pricing.payment_collateral_wei)
        ruled = AgreementState.MEDIATION_ACCEPTED if accept else AgreementState.MEDIATION_REJECTED
        self._change(deal.deal_id, state=ruled)
        self._mine([])

    def pass_time(self, seconds: int) -> None:
        self.now += seconds
        self._mine([])

    # Chain

    def pinned(self):
        return self

    async def head(self) -> Block:
        self._line()
        return self._block(len(self._logs) - 1)

    async def block(self, number: int) -> Block | None:
        self._line()
        return self._block(number) if number < len(self._logs) else None

    async def balance(self, address: Address) -> Wei:
        self._line()
        return Wei(self.gas_wei)

    async def logs(self, first: int, last: int, addresses, topics) -> list[RawLog]:
        self._line()
        found = [log for block in self._logs[first : last + 1] for log in block]
        return [log for log in found if log.address in addresses and log.topics[0] in topics]

    # Contracts

    async def get_deal(self, deal_id: DealId) -> Deal | None:
        self._line()
        return self.deals.get(deal_id)

    async def get_agreement(self, deal_id: DealId) -> Agreement:
        self._line()
        return self.agreements.get(deal_id, Agreement(AgreementState.DEAL_NEGOTIATING))

    async def get_result(self, deal_id: DealId) -> Result | None:
        self._line()
        return self.results.get(deal_id)

    async def get_mediator(self, deal_id: DealId) -> Address | None:
        self._line()
        return self.draws[deal_id][-1][0] if deal_id in self.draws else None

    async def drawn_at(self, deal_id: DealId) -> int:
        self._line()
        return self.draws[deal_id][-1][1]

    async def get_user(self, address: Address) -> User | None:
        self._line()
        return User(address, self.offers.get(address, ""), self.url, ()) if self.url else None

    async def show_users_in_list(self, service) -> tuple[Address, ...]:
        self._line()
        return tuple(self.offers)

    async def token_balance(self, address: Address) -> Wei:
        self._line()
        return Wei(self.tokens[address])

    async def token_allowance(self, owner: Address, spender: Address) -> Wei:
        self._line()
        return Wei(self.allowance)

    async def token_symbol(self) -> str:
        return "tLP"

    async def required_deposit(self) -> Wei:
        return Wei(self.deposit_wei)

    # Transactions

    async def send(self, intent: TxIntent) -> TxOutcome:
        if intent.intent_id in self.mined:
            return self.mined[intent.intent_id]
        action, _, deal_id = intent.intent_id.split(":", 2)[2].partition(":")
        self.sends += 1
        if self.break_off_at == (self.sends, False):
            raise BrokenOff
        reverted = self.reverts.get(action, 0) > 0
        if reverted:
            self.reverts[action] -= 1
            self._mine([])
        else:
            refused = self.refuse.pop(action, None)
            reason = refused or self._apply(action, intent, DealId(deal_id.split(":")[0]))
            if reason is not None:
                return Failed(intent.intent_id, reason, None)
        number = len(self._logs) - 1
        outcome: TxOutcome = Mined(
            intent.intent_id, self._tx_hash(number), BlockNumber(number), 100_000, Wei(1)
        )
        if reverted:
            outcome = Failed(intent.intent_id, "the token is paused", self._tx_hash(number))
        self.mined[intent.intent_id] = outcome
        if self.break_off_at == (self.sends, True):
            raise BrokenOff
        return outcome

    async def row(self, intent_id: str) -> TxRow | None:
        outcome = self.mined.get(intent_id)
        if outcome is None:
            return None
        status = TxStatus.MINED if isinstance(outcome, Mined) else TxStatus.REVERTED
        return TxRow(intent_id, "a call", ADDRESSES.controller, b"", Wei(0), 0, status)

    def _apply(self, action: str, intent: TxIntent, deal_id: DealId) -> str | None:
        state = self.agreements.get(deal_id, Agreement(AgreementState.DEAL_NEGOTIATING)).state
        match action:
            case "run_job":
                self.jobs.append(("", ()))
                text = (len(self.jobs), REQUESTER, REQUESTER, b"m", [])
                data = encode(["uint256", "address", "address", "bytes", "bytes[]"], text)
                self._mine([(ADDRESSES.job_manager, JOB_ADDED, data)])
            case "approve" | "approve_fee":
                self.allowance = int.from_bytes(intent.call.data[-32:])
                self._mine([])
            case "agree":
                deal = self.deals.get(deal_id) or _deal_in(intent)
                locked = deal.pricing.payment_collateral_wei + deal.timeouts.judge_results.collateral_wei
                if state is not AgreementState.DEAL_NEGOTIATING:
                    return "DealNegotiating"
                if self.allowance < locked:
                    return "Insufficient allowance"
                self.allowance -= locked
                self._pay(REQUESTER, deal, -locked)
                if deal_id not in self.deals:
                    self.deals[deal_id] = deal
                    self.agreements[deal_id] = Agreement(
                        state, job_creator_agreed_at=self.now, deal_created_at=self.now
                    )
                    self._mine([self._payment(deal, REQUESTER, deal.pricing.payment_collateral_wei, 0, 0)])
                    return None
                self._change(
                    deal_id,
                    state=AgreementState.DEAL_AGREED,
                    job_creator_agreed_at=self.now,
                    deal_agreed_at=self.now,
                )
                self._mine([])
            case "accept":
                if state is not AgreementState.RESULTS_SUBMITTED:
                    return "ResultsSubmitted"
                self._settle(self.deals[deal_id])
            case "refund" | "take_back":
                deal = self.deals[deal_id]
                if self.refunds_work and state is AgreementState.DEAL_NEGOTIATING:
                    locked = deal.pricing.payment_collateral_wei + deal.timeouts.judge_results.collateral_wei
                    self._pay(REQUESTER, deal, locked)
                    self._change(deal_id, state=AgreementState.TIMEOUT_AGREE, timeout_agree_at=self.now)
                    self._mine([])
                    return None
                if not self.refunds_work or state is not AgreementState.DEAL_AGREED:
                    return "Not correct state"
                self._pay(REQUESTER, deal, deal.pricing.payment_collateral_wei + 2 * TOKEN)
                self._change(deal_id, state=AgreementState.TIMEOUT_SUBMIT_RESULTS)
                self._mine([])
            case "check":
                if state is not AgreementState.RESULTS_SUBMITTED:
                    return "ResultsSubmitted"
                fee_wei = self.deals[deal_id].pricing.mediation_fee_wei
                if self.rules.needs_allowance and self.allowance < fee_wei:
                    return "Insufficient allowance"
                self._change(deal_id, state=AgreementState.RESULTS_CHECKED)
                self.draws[deal_id] = [(self.deals[deal_id].members.mediators[0], self.now)]
                self._mine([])
            case "pass_over":
                deal, draws = self.deals[deal_id], self.draws[deal_id]
                if state is not AgreementState.RESULTS_CHECKED:
                    return "ResultsChecked"
                if self.now <= draws[-1][1] + deal.timeouts.mediate_results.timeout_s:
                    return "Not timed out"
                if len(draws) < len(deal.members.mediators):
                    draws.append((deal.members.mediators[len(draws)], self.now))
                else:
                    self._settle(deal)
                    self._change(deal_id, state=AgreementState.TIMEOUT_MEDIATE_RESULTS)
                self._mine([])
        return None

    def _settle(self, deal: Deal) -> None:
        count = self.results[deal.deal_id].instruction_count
        locked = deal.pricing.payment_collateral_wei
        paid = min(deal.pricing.instruction_price_wei * count, locked)
        self._pay(deal.members.resource_provider, deal, paid)
        self._pay(REQUESTER, deal, locked - paid + deal.timeouts.judge_results.collateral_wei)
        self._change(deal.deal_id, state=AgreementState.RESULTS_ACCEPTED, results_accepted_at=self.now)
        job_payment = self._payment(deal, deal.members.resource_provider, paid, 3, 1)
        self._mine([job_payment, self._payment(deal, REQUESTER, TOKEN, 2, 2)])

    def _pay(self, address: Address, deal: Deal, amount_wei: int) -> None:
        self.tokens[address] += amount_wei

    def _change(self, deal_id: DealId, **changes) -> None:
        self.agreements[deal_id] = replace(self.agreements[deal_id], **changes)

    def _payment(self, deal: Deal, payee: Address, amount_wei: int, reason: int, direction: int):
        PaymentReason(reason), PaymentDirection(direction)
        values = (deal.deal_id.encode(), payee, amount_wei, reason, direction)
        data = encode(["bytes", "address", "uint256", "uint8", "uint8"], values)
        return (ADDRESSES.payments, PAYMENT, data)

    def _mine(self, logs: list[tuple[Address, str, bytes]]) -> None:
        self.now += 1
        number = len(self._logs)
        block = self._block(number)
        self._logs.append(
            [
                RawLog(address, (topic,), data, block.number, block.hash, self._tx_hash(number), index)
                for index, (address, topic, data) in enumerate(logs)
            ]
        )

    def _block(self, number: int) -> Block:
        def block_hash(at: int) -> BlockHash:
            return BlockHash(f"0x{at:064x}")

        return Block(BlockNumber(number), block_hash(number), self.now)

    def _tx_hash(self, number: int) -> TxHash:
        return TxHash(f"0x{number + 10**6:064x}")

    def _line(self) -> None:
        if self.unreachable:
            self.unreachable -= 1
            raise Unreachable("the RPC endpoint did not answer")

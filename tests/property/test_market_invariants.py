"""Whatever anybody calls, in any order and at any time, every deal owes what its own calls made it owe.

A state machine drives the compiled contracts on the in-process EVM beside ``deal_model``. ``SDV_FUZZ_STEPS``
is the number of calls to make (about 2000 unless set).
"""

import os
from copy import deepcopy
from functools import cache
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.contracts.deal_model import FINAL_STATES, ModelDeal, ModelMarket
from tests.unit.contracts.evm import Evm, Reverted, account
from tests.unit.contracts.market import ADMIN, STRANGER, TOKEN, Market, Terms, deploy, fund

STEPS = int(os.environ.get("SDV_FUZZ_STEPS", "2000"))
STEPS_OF_ONE_RUN = 40

ACTORS = tuple(account(number) for number in range(0xD0, 0xD5))
CALLERS = (*ACTORS, STRANGER, ADMIN)
DEAL_IDS = ("j1-a", "j1-b", "j2-" + "c" * 60)

payable = st.sampled_from((0, 1, 7, TOKEN, 3 * TOKEN))
amounts = st.one_of(payable, payable, st.sampled_from((40 * TOKEN, 2**128 - 1)))
seconds = st.sampled_from((60, 3600, 3600, 0))
counts = st.sampled_from((0, 1, 2, 1000, 2**64 - 1, 2**64, 2**256 - 1))
deal_ids = st.sampled_from(DEAL_IDS)
callers = st.sampled_from(CALLERS)


@st.composite
def terms(draw: st.DrawFn, amounts: st.SearchStrategy[int] = amounts) -> Terms:
    """Any deal that the contracts accept, whether or not its parties can pay for it."""
    job_creator, resource_provider, *others = draw(st.permutations(ACTORS))
    return Terms(
        deal_id=draw(deal_ids),
        job_creator=job_creator,
        resource_provider=resource_provider,
        mediators=tuple(others[: draw(st.integers(1, len(others)))]),
        timeouts=(draw(seconds), draw(seconds), draw(seconds), draw(seconds)),
        submit_collateral=draw(amounts),
        judge_collateral=draw(amounts),
        price=draw(amounts),
        payment_collateral=draw(amounts),
        multiple=draw(st.sampled_from((1, 3, 0, 2**64 - 1))),
        fee=draw(amounts),
    )


@cache
def deployed() -> tuple[Market, Any]:
    market = deploy(Evm())
    fund(market, *ACTORS, STRANGER)
    return market, market.evm.snapshot()


DEAL_CALLS = {
    "addResult": ModelMarket.add_result,
    "acceptResult": ModelMarket.accept_result,
    "checkResult": ModelMarket.check_result,
    "timeoutAgree": ModelMarket.timeout_agree,
    "timeoutSubmitResult": ModelMarket.timeout_submit_result,
    "timeoutJudgeResult": ModelMarket.timeout_judge_result,
    "timeoutMediateResult": ModelMarket.timeout_mediate_result,
}
RULINGS = {"mediationAcceptResult": True, "mediationRejectResult": False}
FUNCTIONS = (*DEAL_CALLS, *RULINGS)
TIMEOUTS = {0: "timeoutAgree", 1: "timeoutSubmitResult", 2: "timeoutJudgeResult", 4: "timeoutMediateResult"}


class MarketMachine(RuleBasedStateMachine):
    """The contracts and the model, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.market, mark = deployed()
        self.market.evm.revert(mark)
        wallets = {holder: self.market.balance(holder) for holder in CALLERS}
        self.model = ModelMarket(self.market.evm.now, ADMIN, wallets)
        self.donated = 0

    # Making a call on both sides

    def attempt(self, call: Any) -> bool:
        try:
            call()
        except Reverted:
            return False
        return True

    def call_agree(self, sender: bytes, deal_terms: Terms) -> None:
        allowed = self.model.agree(sender, deal_terms)
        done = self.attempt(lambda: self.market.controller.send(sender, "agree", *deal_terms.arguments))
        assert done == allowed

    def call_deal(self, sender: bytes, deal: ModelDeal, function: str, count: int = 1) -> bool:
        deal_id = deal.terms.deal_id
        before = deepcopy(deal)
        if function in RULINGS:
            allowed = self.model.rule(sender, deal, accept=RULINGS[function])
            done = self.attempt(lambda: self.market.mediation.send(sender, function, deal_id))
        else:
            arguments = ("", "bafyresult", count) if function == "addResult" else ()
            allowed = DEAL_CALLS[function](self.model, sender, deal, *arguments[2:])
            done = self.attempt(lambda: self.market.controller.send(sender, function, deal_id, *arguments))
        assert done == allowed, (function, before)
        if deal.state == 4 and allowed:
            mediator = bytes.fromhex(self.market.mediation.read("getMediator", deal_id)[2:])
            assert mediator in set(deal.terms.mediators) - set(deal.drawn)
            deal.drawn.append(mediator)
        return allowed

    def open_deals(self, *states: int) -> list[ModelDeal]:
        return [deal for deal in self.model.deals.values() if deal.state in states]

    def wait(self, duration: int) -> None:
        self.market.evm.pass_time(duration)
        self.model.now += duration

    # What people do

    @initialize(deals=st.lists(terms(payable), min_size=1, max_size=3), steps=st.sampled_from((3, 2, 1, 0)))
    def some_deals_are_under_way(self, deals: list[Terms], steps: int) -> None:
        for deal_terms in deals:
            if deal_terms.deal_id in self.model.deals:
                continue
            parties = (deal_terms.job_creator, deal_terms.resource_provider)
            for party in parties[: 1 + steps]:
                self.call_agree(party, deal_terms)
            if steps > 1:
                self.call_deal(parties[1], self.model.deals[deal_terms.deal_id], "addResult")
            if steps > 2:
                self.call_deal(parties[0], self.model.deals[deal_terms.deal_id], "checkResult")

    @rule(deal_terms=terms(), as_provider=st.booleans())
    def propose(self, deal_terms: Terms, as_provider: bool) -> None:
        sender = deal_terms.resource_provider if as_provider else deal_terms.job_creator
        self.call_agree(sender, deal_terms)

    @precondition(lambda self: self.open_deals(0))
    @rule(data=st.data())
    def agree_to_a_proposal(self, data: st.DataObject) -> None:
        deal = data.draw(st.sampled_from(self.open_deals(0)))
        self.call_agree(data.draw(st.sampled_from(deal.parties)), deal.terms)

    @precondition(lambda self: self.open_deals(1, 2, 4))
    @rule(data=st.data())
    def those_concerned_move_on(self, data: st.DataObject) -> None:
        for _ in range(data.draw(st.sampled_from((3, 2, 1)))):
            live = self.open_deals(1, 2, 4)
            if live:
                self.move_on(data.draw(st.sampled_from(live)), data)

    def move_on(self, deal: ModelDeal, data: st.DataObject) -> None:
        job_creator, resource_provider = deal.parties
        choices = {
            1: [(resource_provider, "addResult")],
            2: [(job_creator, "checkResult"), (job_creator, "acceptResult")],
            4: [(mediator, ruling) for mediator in deal.drawn[-1:] for ruling in RULINGS],
        }[deal.state]
        choices.append((data.draw(st.sampled_from(deal.parties)), TIMEOUTS[deal.state]))
        if deal.state == 4:
            choices.append((data.draw(st.sampled_from(deal.terms.mediators)), "mediationRejectResult"))
        sender, function = data.draw(st.sampled_from(choices))
        self.call_deal(sender, deal, function, data.draw(st.sampled_from((1, 2, 0))))

    @rule(sender=callers, deal_id=deal_ids, function=st.sampled_from(FUNCTIONS), count=counts)
    def anybody_calls_anything(self, sender: bytes, deal_id: str, function: str, count: int) -> None:
        if deal_id in self.model.deals:
            self.call_deal(sender, self.model.deals[deal_id], function, count)
            return
        contract = self.market.mediation if function in RULINGS else self.market.controller
        arguments = ("", "", count) if function == "addResult" else ()
        assert not self.attempt(lambda: contract.send(sender, function, deal_id, *arguments))

    @rule(sender=callers, deal_id=deal_ids, victim=st.sampled_from(ACTORS), data=st.data())
    def a_thief_tries_everything_else(
        self, sender: bytes, deal_id: str, victim: bytes, data: st.DataObject
    ) -> None:
        market = self.market
        for theft in (
            lambda: market.payments.send(sender, "agreeResourceProvider", deal_id, victim, 1),
            lambda: market.payments.send(sender, "timeoutAgreeResourceProvider", deal_id, sender, 1),
            lambda: market.payments.send(sender, "withdraw", sender),
            lambda: market.payments.send(sender, "setControllerAddress", sender),
            lambda: market.storage.send(sender, "end", deal_id, 3),
            lambda: market.mediation.send(sender, "mediationRequest", deal_id, (sender,)),
            lambda: market.controller.send(sender, "mediationAcceptResult", deal_id),
            lambda: market.token.send(sender, "transferFrom", market.payments.address, sender, 1),
        ):
            assert not self.attempt(theft)
        # The terms of a deal are public: anybody may try to agree to them, or to others under the same id.
        for deal in self.open_deals(0):
            self.call_agree(sender, data.draw(terms()) if sender == victim else deal.terms)

    @rule(sender=st.sampled_from(ACTORS), receiver=callers, share=st.sampled_from((10, 2, 1)))
    def tokens_move_elsewhere(self, sender: bytes, receiver: bytes, share: int) -> None:
        amount = self.model.wallets[sender] // share
        if receiver == ADMIN:
            receiver = self.market.payments.address
            self.donated += amount
        else:
            self.model.wallets[receiver] += amount
        self.market.token.send(sender, "transfer", receiver, amount)
        self.model.wallets[sender] -= amount

    @rule(duration=st.sampled_from((1, 1, 59, 60, 61, 3600, 3601)))
    def time_passes(self, duration: int) -> None:
        self.wait(duration)

    # What must hold

    def finish_alone(self, deal: ModelDeal, party: bytes) -> None:
        """The party ends the deal with nothing but its own calls and time, and with an empty wallet."""
        balance = self.model.wallets[party]
        self.market.token.send(party, "transfer", STRANGER, balance)
        self.model.wallets[STRANGER] += balance
        self.model.wallets[party] = 0
        for _ in range(len(deal.terms.mediators) + 1):
            if deal.state in FINAL_STATES:
                break
            self.wait(3601)
            assert self.call_deal(party, deal, TIMEOUTS[deal.state])
        assert deal.state in FINAL_STATES
        assert deal.locked == 0
        self.everything_is_as_the_model_says()

    def can_finish_alone(self, deal: ModelDeal, party: bytes) -> None:
        kept = self.model
        self.model = deepcopy(kept)
        with self.market.evm.undone():
            self.finish_alone(self.model.deals[deal.terms.deal_id], party)
        self.model = kept

    @precondition(lambda self: self.open_deals(1, 2, 4))
    @rule(data=st.data())
    def a_party_can_finish_alone(self, data: st.DataObject) -> None:
        deal = data.draw(st.sampled_from(self.open_deals(1, 2, 4)))
        self.can_finish_alone(deal, data.draw(st.sampled_from(deal.parties)))

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        market = self.market
        locked = 0
        for deal_id, deal in self.model.deals.items():
            locked += deal.locked
            assert market.escrow(deal_id) == deal.locked
            assert market.storage.read("isState", deal_id, deal.state)
        for holder, amount in self.model.wallets.items():
            assert market.balance(holder) == amount
        assert market.balance(market.payments.address) == locked + self.donated

    def teardown(self) -> None:
        for deal in self.open_deals(0, 1, 2, 4):
            for party in deal.parties:
                self.can_finish_alone(deal, party)


MarketMachine.TestCase.settings = settings(
    max_examples=max(1, STEPS // STEPS_OF_ONE_RUN),
    stateful_step_count=STEPS_OF_ONE_RUN,
    deadline=None,
    derandomize="SDV_FUZZ_STEPS" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
TestMarketInvariants = MarketMachine.TestCase

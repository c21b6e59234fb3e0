"""Random lives of a job on a chain that forgets: whatever is dropped, the job is where the chain is."""

from dataclasses import dataclass, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from node.job import events
from node.job.deal import Agreement
from node.job.deal import AgreementState as State
from node.job.effects import EffectKind
from node.job.phase import Phase
from node.job.transition import open_job, transition
from tests.fakes.jobs import POSTED_AT, TOKEN, make_deal, make_offer

TX = "0x" + "33" * 32
FIRST_BLOCK = 10
PATH = ("offer", "agree", "deal", "result", "accept")
STATES = {"deal": State.DEAL_AGREED, "result": State.RESULTS_SUBMITTED, "accept": State.RESULTS_ACCEPTED}
WORKING = {Phase.AGREED, Phase.RENDERING, Phase.PUBLISHING, Phase.SUBMITTING}
STANDS = {
    "offer": {Phase.SEEN, Phase.PROPOSING},
    "agree": {Phase.PROPOSED},
    "deal": WORKING,
    "result": {Phase.SUBMITTED},
    "accept": {Phase.PAID},
}


@dataclass(frozen=True)
class Fact:
    """One step of the deal in one block."""

    step: str
    block: int


class RewoundLife(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.height = FIRST_BLOCK
        self.chain = [Fact("offer", FIRST_BLOCK)]
        self.job, effects = open_job(events.OfferSeen(self.offer(FIRST_BLOCK)))
        self.due = {effect.kind for effect in effects}
        self.computed = []

    def offer(self, block):
        return replace(make_offer(), block_number=block)

    def feed(self, event):
        self.job, effects = transition(self.job, event)
        self.due |= {effect.kind for effect in effects}

    def tell(self, fact):
        match fact.step:
            case "offer":
                self.feed(events.OfferSeen(self.offer(fact.block)))
            case "agree":
                self.feed(events.ProposalMined(POSTED_AT + fact.block, fact.block))
            case step:
                paid = TOKEN if step == "accept" else 0
                at = POSTED_AT + fact.block
                self.feed(events.DealMoved(STATES[step], at, TX, paid, fact.block))

    def last(self):
        return self.chain[-1].step if self.chain else None

    def can_follow(self):
        step = PATH[PATH.index(self.last()) + 1] if self.last() else "offer"
        mine = {"agree": Phase.PROPOSING, "result": Phase.SUBMITTING}
        return step if self.job.phase == mine.get(step, self.job.phase) else None

    @precondition(lambda self: self.last() != "accept" and self.can_follow())
    @rule(blocks=st.integers(1, 4))
    def the_chain_goes_on(self, blocks):
        step = self.can_follow()
        self.height += blocks
        self.chain.append(Fact(step, self.height))
        self.tell(self.chain[-1])

    @precondition(lambda self: self.job.phase is Phase.SEEN)
    @rule()
    def admission_says_yes(self):
        self.feed(events.Admitted(make_deal(), POSTED_AT + 600))

    @precondition(lambda self: EffectKind.RENDER in self.due)
    @rule()
    def rendering_ends(self):
        self.due -= {EffectKind.RENDER}
        if not self.job.outputs:
            self.computed.append(self.job.rewinds)
        if self.job.phase is Phase.AGREED:
            self.feed(events.RenderStarted())
        self.feed(events.Rendered(("outputs/a",), "class"))

    @precondition(lambda self: EffectKind.PUBLISH in self.due)
    @rule()
    def publishing_ends(self):
        self.due -= {EffectKind.PUBLISH}
        self.feed(events.Published("bafy"))

    @precondition(lambda self: len(self.chain) > 0)
    @rule(depth=st.integers(1, 12), back=st.integers(0, 5))
    def blocks_are_dropped_and_some_facts_come_again(self, depth, back):
        ancestor = max(FIRST_BLOCK - 1, self.height - depth)
        dropped = [fact for fact in self.chain if fact.block > ancestor]
        self.chain = [fact for fact in self.chain if fact.block <= ancestor]
        self.feed(events.BlocksDropped(ancestor, self.agreement() if self.job.deal else None))
        self.height = ancestor
        for fact in dropped[:back]:
            self.height += 1
            self.chain.append(replace(fact, block=self.height))
            self.tell(self.chain[-1])

    def agreement(self):
        at = {fact.step: POSTED_AT + fact.block for fact in self.chain}
        reached = [STATES[fact.step] for fact in self.chain if fact.step in STATES]
        return Agreement(
            max(reached, default=State.DEAL_NEGOTIATING),
            resource_provider_agreed_at=at.get("agree", 0),
            job_creator_agreed_at=at.get("deal", 0),
            deal_created_at=at.get("agree", 0),
            deal_agreed_at=at.get("deal", 0),
            results_submitted_at=at.get("result", 0),
        )

    @invariant()
    def the_job_stands_where_the_chain_stands(self):
        if not hasattr(self, "job"):
            return
        if self.last() is None:
            assert self.job.phase in {Phase.LAPSED, Phase.PROPOSING}
            assert self.job.orphaned
        else:
            assert self.job.phase in STANDS[self.last()]
            assert not self.job.orphaned

    @invariant()
    def money_is_counted_once_and_only_while_its_block_stands(self):
        if hasattr(self, "job"):
            assert self.job.paid_wei == (TOKEN if self.last() == "accept" else 0)

    @invariant()
    def nothing_is_computed_twice(self):
        assert len(getattr(self, "computed", [])) <= 1

    @invariant()
    def whatever_the_phase_waits_for_is_ordered_or_done(self):
        if getattr(self, "job", None) is None:
            return
        if self.job.phase in {Phase.AGREED, Phase.RENDERING}:
            assert EffectKind.RENDER in self.due
        if self.job.phase is Phase.PUBLISHING:
            assert EffectKind.PUBLISH in self.due


RewoundLife.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestRewoundLife = RewoundLife.TestCase

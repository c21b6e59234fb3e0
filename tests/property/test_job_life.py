"""Random lives of a job: facts arrive early, late, twice and out of order."""

from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from node.errors import IllegalTransition
from node.job import events
from node.job.deal import AgreementState as State
from node.job.phase import Phase
from node.job.transition import due, open_job, transition
from node.journal.codec import decode_event, decode_job, encode_event, encode_job
from tests.fakes.jobs import MEDIATOR, POSTED_AT, TOKEN, make_deal, make_offer

TX = "0x" + "22" * 32
MONEY = {
    Phase.AGREED: State.DEAL_AGREED,
    Phase.SUBMITTED: State.RESULTS_SUBMITTED,
    Phase.DISPUTED: State.RESULTS_CHECKED,
}
PAYING = {
    State.RESULTS_ACCEPTED,
    State.MEDIATION_ACCEPTED,
    State.TIMEOUT_JUDGE_RESULTS,
    State.TIMEOUT_MEDIATE_RESULTS,
}


class JobLife(RuleBasedStateMachine):
    @initialize()
    def begin(self):
        self.history = [events.OfferSeen(make_offer())]
        self.job, effects = open_job(self.history[0])
        self.orders = [effect.effect_id for effect in effects]
        self.states = set()
        self.ended = None
        self.clock = POSTED_AT

    def feed(self, event):
        try:
            job, effects = transition(self.job, event)
        except IllegalTransition:
            return
        if job == self.job:
            assert effects == (), "a step that changes nothing orders nothing"
            return
        if isinstance(event, events.DealMoved):
            self.states.add(event.state)
        self.history.append(event)
        self.orders += [effect.effect_id for effect in effects]
        self.job = job
        if job.phase.terminal:
            self.ended = self.ended or job

    @rule()
    def admission_says_yes(self):
        self.feed(events.Admitted(make_deal(), POSTED_AT + 600))

    @rule()
    def admission_says_no(self):
        self.feed(events.Declined("no"))

    @rule(state=st.sampled_from(State), paid=st.sampled_from([0, TOKEN]))
    def the_deal_moves(self, state, paid):
        assume(self.job.deal is not None)
        self.feed(events.DealMoved(state, self.clock, TX, paid if state in PAYING else 0))

    @rule(
        event=st.sampled_from(
            [
                events.ProposalMined(POSTED_AT + 1),
                events.ProposalRefused("no"),
                events.RenderStarted(),
                events.Rendered(("outputs/a",), "class"),
                events.Published("bafy"),
                events.CannotDeliver("broken"),
                events.SubmissionRefused("late"),
                events.ClaimRefused("no"),
            ]
        )
    )
    def something_happens_here(self, event):
        self.feed(event)

    @rule()
    def a_mediator_is_drawn(self):
        assume(self.job.deal is not None)
        self.feed(events.MediatorDrawn(MEDIATOR, self.clock))

    @rule(seconds=st.sampled_from([1, 700, 90_000]))
    def time_passes(self, seconds):
        self.clock += seconds
        event = due(self.job, self.clock)
        if event is not None:
            self.feed(event)

    @rule(data=st.data())
    def an_old_event_comes_again(self, data):
        event = data.draw(st.sampled_from(self.history[1:] or [events.RenderStarted()]))
        before = self.orders.copy()
        self.feed(event)
        assert len(self.orders) == len(set(self.orders)), "no order is ever given twice"
        assert self.orders[: len(before)] == before

    @invariant()
    def no_money_phase_without_its_confirmed_log(self):
        if self.job.phase in MONEY:
            assert MONEY[self.job.phase] in self.states
        if self.job.phase is Phase.PAID:
            assert self.states & PAYING

    @invariant()
    def an_ended_job_stays_as_it_ended(self):
        assert self.ended is None or self.job == self.ended

    @invariant()
    def the_history_alone_gives_the_job(self):
        decoded = [decode_event(*encode_event(event)) for event in self.history]
        job, _ = open_job(decoded[0])
        for event in decoded[1:]:
            job, _ = transition(job, event)
        assert job == self.job == decode_job(encode_job(self.job))

    @invariant()
    def no_order_is_given_twice(self):
        assert len(self.orders) == len(set(self.orders))


JobLife.TestCase.settings = settings(max_examples=120, stateful_step_count=30, deadline=None)
TestJobLife = JobLife.TestCase

"""A requester on a market in memory, driven by a clock that only sleeping moves."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from node.destinations import Reach
from node.job.deal import Deal, DealMembers, deal_id_for
from node.job.progress import Progress
from node.job.spec import JobSpec, parse_inputs
from node.requester.flow import Requester, RequesterSettings
from node.requester.proposals import Limits
from node.requester.provider import Report
from node.requester.runs import RunRecords
from node.requester.steps import Step
from node.types import Wei
from tests.fakes.checker import ScriptedChecker
from tests.fakes.clock import FakeClock
from tests.fakes.provider import propose_terms, write_result
from tests.fakes.requester_market import MEDIATOR, PROVIDER, REQUESTER, TOKEN, FakeDelivery, FakeMarket

MODULE = "sdv-pipeline:v1.1-lilypad2"
INPUTS = ("Prompt=a red fox", "Steps=5")


class EventfulClock(FakeClock):
    """Runs what a test planned at a moment when somebody sleeps past it."""

    def __init__(self) -> None:
        super().__init__()
        self.plans = []

    def at(self, seconds: float, action) -> None:
        self.plans.append((self.time + seconds, action))

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        due = [plan for plan in self.plans if plan[0] <= self.time]
        self.plans = [plan for plan in self.plans if plan[0] > self.time]
        for _, action in due:
            action()


class ProgressReport:
    """What the provider's node says; None is silence."""

    def __init__(self) -> None:
        self.answer: Progress | None = Progress("sampling", 1, 4, 0.25)
        self.publishing = False
        self.refused: dict[str, str] = {}

    async def report(self, url: str, job_id: str, deal_id: str) -> Report | None:
        if job_id in self.refused:
            return Report(None, self.refused[job_id])
        if self.publishing:
            return Report(None, publishing=True)
        return None if self.answer is None else Report(self.answer)


@dataclass
class Scene:
    tmp_path: Path
    market: FakeMarket = field(default_factory=FakeMarket)
    delivery: FakeDelivery = field(default_factory=FakeDelivery)
    clock: EventfulClock = field(default_factory=EventfulClock)
    steps: list[Step] = field(default_factory=list)
    status: ProgressReport = field(default_factory=ProgressReport)
    checker: ScriptedChecker = field(default_factory=ScriptedChecker)

    @property
    def data_dir(self) -> Path:
        return self.tmp_path / "data"

    @property
    def spec(self) -> JobSpec:
        return parse_inputs(MODULE, INPUTS)

    def requester(self, **changes) -> Requester:
        settings = {
            "data_dir": self.data_dir,
            "limits": Limits(Wei(5 * TOKEN)),
            "confirmations": 0,
            "reach": Reach.PUBLIC,
        }
        return Requester(
            address=REQUESTER,
            chain=self.market,
            contracts=self.market,
            transactions=self.market,
            delivery=self.delivery,
            documents=self.delivery,
            provider_status=self.status,
            records=RunRecords(self.data_dir),
            checker=self.checker,
            settings=RequesterSettings(**settings | changes),
            clock=self.clock,
            on_step=self.steps.append,
        )

    def deal(self, number: int = 1, **terms) -> Deal:
        return propose_terms(self.market, number, REQUESTER, PROVIDER, mediators=(MEDIATOR,), **terms)

    def deal_with(self, members: DealMembers) -> Deal:
        """Return a deal with other members, and the id that follows."""
        usual = self.deal()
        deal_id = deal_id_for(self.market.place, 1, members, usual.timeouts, usual.pricing, "00000001")
        return Deal(deal_id, members, usual.timeouts, usual.pricing)

    def result(self, name: str = "result", **content) -> str:
        return self.delivery.publish(write_result(self.tmp_path / name, self.spec, **content))

    def seen(self, kind: type) -> list:
        return [step for step in self.steps if isinstance(step, kind)]

    def provider_serves(self, *, count: int = 1, data_id: str | None = None, **content) -> Deal:
        """Plan a proposal after 3 seconds and its result after 60."""
        deal = self.deal()
        cid = self.result(**content)
        self.clock.at(3, lambda: self.market.propose(deal))
        self.clock.at(60, lambda: self.market.submit(deal, cid if data_id is None else data_id, count))
        return deal


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)

"""A mediator on both deployments: what it rules, what it declines, and that it rules once."""

import asyncio
import json
import shutil
from dataclasses import replace

import pytest
import pytest_asyncio

from node.chain.client import Call
from node.chain.deal_record import read_deal
from node.chain.devnet import MEDIATOR, dev_signer
from node.chain.fees import TxSettings
from node.chain.txmanager import TxManager
from node.clock import SystemClock
from node.errors import Retryable
from node.job.case import CasePhase, Decision
from node.job.deal import AgreementState
from node.job.manifest import class_name
from node.job.spec import parse_inputs
from node.journal.cases import CaseLog
from node.journal.database import Database
from node.journal.transactions import TransactionLog
from node.mediation.draws import DrawFollower
from node.mediation.examiner import Examiner
from node.mediation.judge import EVIDENCE, Judge, NotHad
from node.mediation.mediator import Bench as Means
from node.mediation.mediator import Mediator
from node.publisher.cid import parse_cid
from node.publisher.unixfs import cid_of
from tests.fakes.cheating import CHEATS, fake_render
from tests.integration.market_rules.bench import HOUR, JC, JUDGE, RP, TOKEN, Bench

pytestmark = pytest.mark.integration
MODULE = "sdv-pipeline:v1.1-lilypad2"
INPUTS = ("Prompt=a fox", "ImageSeed=7")
SPEC = parse_inputs(MODULE, INPUTS)


class Court:
    """A mediator with its journal, and the results that anybody can have from the shelf."""

    def __init__(self, bench: Bench, folder) -> None:
        self.bench = bench
        self.contracts = bench.contracts
        self._folder = folder
        self.shelf: dict[str, object] = {}
        self.rendered: list[str] = []
        self.render_problem: Exception | None = None
        self.unrepeatable = False
        self.obstacle: str | None = None
        self.busy = False
        self.least_fee_wei = 0
        self.open()

    def open(self) -> None:
        """Start, or start again after ``close``."""
        self.database = Database(self._folder / "data")
        clock = SystemClock()
        self.cases = CaseLog(self.database, clock)
        settings = TxSettings(confirmations=0, poll_interval_s=0.01)
        self.transactions = TxManager(
            self.bench.chain,
            dev_signer(MEDIATOR),
            TransactionLog(self.database),
            settings=settings,
            clock=clock,
            chain_id=self.contracts.place.chain_id,
        )
        self.draws = DrawFollower(
            self.bench.chain,
            self.contracts.addresses.mediation,
            JUDGE,
            self.cases,
            confirmations=0,
            start_block=0,
            clock=clock,
        )
        self.judge = judge = Judge(self, Examiner(self.render, lambda directory, _like: cid_of(directory)))
        self.mediator = Mediator(
            JUDGE,
            market=self.contracts,
            heads=self.bench.chain,
            cases=self.cases,
            transactions=self.transactions,
            bench=Means(
                read=lambda deal_id: read_deal(self.bench.chain, self.contracts, deal_id),
                opinion=judge.opinion,
                obstacle=lambda: self.obstacle,
                unserved=lambda module: None if module == MODULE else f"{module} is not served",
                expected_s=lambda _spec: 60.0,
                busy=lambda: self.busy,
                least_fee_wei=self.least_fee_wei,
            ),
            folder=self._folder / "cases",
            margin_s=10.0,
            clock=clock,
        )

    async def close(self) -> None:
        await self.transactions.close()
        self.database.close()

    def canonical(self, data_id):
        return parse_cid(data_id).to_cid()

    async def fetch(self, record, cid, into):
        if not into.exists():
            if cid not in self.shelf:
                raise NotHad(f"{cid} cannot be had")
            copy = shutil.copytree if self.shelf[cid].is_dir() else shutil.copy
            into.parent.mkdir(parents=True, exist_ok=True)
            copy(self.shelf[cid], into)

    async def render(self, spec, job_dir):
        if self.render_problem is not None:
            raise self.render_problem
        self.rendered.append(job_dir.name)
        fake_render(spec, job_dir)
        if self.unrepeatable:
            (job_dir / "result" / "stdout").write_text(job_dir.name)

    async def disputed(self, data_id, count=1, **terms):
        """Play a deal up to the draw of the mediator."""
        await self.bench.send(JC, self.contracts.run_job(MODULE, INPUTS, JC))
        deal = self.bench.deal(**terms)
        await self.bench.agreed(deal)
        await self.bench.send(RP, self.contracts.add_result(deal.deal_id, "", data_id, count))
        await self.bench.send(JC, self.contracts.check_result(deal.deal_id))
        return deal

    def put(self, directory):
        """Make a result fetchable; returns its CID."""
        cid = cid_of(directory)
        self.shelf[cid] = directory
        return cid

    async def look(self):
        """Read the draws and carry the cases on; returns the one case."""
        while await self.draws.read():
            pass
        await self.mediator.look()
        (row,) = await self.cases.recent(5)
        return row.case

    def evidence(self, deal):
        return json.loads((self._folder / "cases" / deal.deal_id / EVIDENCE).read_text())


@pytest_asyncio.fixture
async def court(bench, tmp_path):
    made = Court(bench, tmp_path)
    yield made
    await made.close()


async def state_of(court, deal):
    return (await court.contracts.get_agreement(deal.deal_id)).state


async def test_an_honest_provider_is_paid_and_the_mediator_gets_its_fee(court, tmp_path):
    deal = await court.disputed(court.put(fake_render(SPEC, tmp_path / "rp")))
    case = await court.look()
    assert (case.phase, case.decision) == (CasePhase.RULED, Decision.ACCEPT)
    assert await state_of(court, deal) is AgreementState.MEDIATION_ACCEPTED
    gains = await court.bench.gains()
    assert gains == {"RP": TOKEN, "mediator": TOKEN, "JC": -2 * TOKEN}
    assert court.rendered == [f"{deal.deal_id}-first"]
    assert court.evidence(deal)["report"]["verdict"] == "identical"


@pytest.mark.parametrize("cheat", CHEATS.values(), ids=CHEATS)
async def test_a_cheating_provider_is_slashed_and_its_customer_gets_the_money_back(court, tmp_path, cheat):
    deal = await court.disputed(court.put(cheat(SPEC, tmp_path / "rp", fake_render)))
    case = await court.look()
    assert (case.phase, case.decision) == (CasePhase.RULED, Decision.REJECT), case.reason
    assert await state_of(court, deal) is AgreementState.MEDIATION_REJECTED
    gains = await court.bench.gains()
    assert gains["RP"] == -2 * TOKEN
    assert gains["JC"] == -TOKEN
    assert gains["mediator"] == TOKEN


@pytest.mark.parametrize(("data_id", "count"), [("bafyresult", 1), ("../../etc/passwd", 1), ("", 1)])
async def test_what_is_no_cid_is_no_result(court, data_id, count):
    await court.disputed(data_id, count)
    case = await court.look()
    assert (case.phase, case.decision) == (CasePhase.RULED, Decision.REJECT)
    assert "no CID" in case.reason


async def test_an_inflated_count_is_rejected_and_an_honest_failure_is_accepted(court, tmp_path):
    cid = court.put(fake_render(SPEC, tmp_path / "rp"))
    await court.disputed(cid, count=2)
    case = await court.look()
    assert case.decision is Decision.REJECT
    assert "counts 2" in case.reason


async def test_an_honest_failure_costs_the_provider_nothing(court):
    await court.disputed("", count=0)
    assert (await court.look()).decision is Decision.ACCEPT
    assert "RP" not in await court.bench.gains()


async def test_a_result_that_cannot_be_had_over_most_of_the_time_is_held_against_its_provider(
    court, tmp_path
):
    result = fake_render(SPEC, tmp_path / "rp")
    deal = await court.disputed(cid_of(result))
    for _ in range(5):
        court.mediator._not_before.clear()
        case = await court.look()
        assert case.phase is CasePhase.OPEN
    assert case.missed == 5
    await court.bench.pass_time(HOUR - 60)
    case = await court.look()
    assert (case.phase, case.decision) == (CasePhase.RULED, Decision.REJECT)
    assert "nobody handed out the result in 6 tries" in case.reason
    assert await state_of(court, deal) is AgreementState.MEDIATION_REJECTED


async def test_a_mediator_that_came_late_holds_nothing_against_the_provider(court, tmp_path):
    result = fake_render(SPEC, tmp_path / "rp")
    deal = await court.disputed(cid_of(result))
    await court.bench.pass_time(HOUR - 60)
    for _ in range(8):
        assert (await court.look()).phase is CasePhase.OPEN
    await court.bench.pass_time(60)
    assert (await court.look()).phase is CasePhase.DECLINED
    assert await state_of(court, deal) is AgreementState.RESULTS_CHECKED


async def test_a_missing_result_is_asked_for_again_after_longer_and_longer_pauses(court, tmp_path):
    await court.disputed(cid_of(fake_render(SPEC, tmp_path / "rp")))
    assert (await court.look()).missed == 1
    assert (await court.look()).missed == 1
    court.mediator._not_before.clear()
    assert (await court.look()).missed == 2


async def test_a_result_that_drips_in_for_ever_is_one_that_cannot_be_had(court, tmp_path):
    deal = await court.disputed(cid_of(fake_render(SPEC, tmp_path / "rp")))

    async def drips(record, cid, into):
        await asyncio.sleep(3600)

    court.fetch = drips
    record = await read_deal(court.bench.chain, court.contracts, deal.deal_id)
    with pytest.raises(NotHad, match="did not come within"):
        await court.judge.opinion(record, tmp_path / "case", 0.05)


async def test_a_provider_that_drips_until_the_time_is_nearly_over_is_ruled_against(court, tmp_path):
    deal = await court.disputed(cid_of(fake_render(SPEC, tmp_path / "rp")))
    tries = iter((HOUR - 120, 40, 20, 10, 5))

    async def drips(record, cid, into):
        await court.bench.pass_time(next(tries))
        raise NotHad("it did not come in time")

    court.fetch = drips
    for _ in range(4):
        assert (await court.look()).phase is CasePhase.OPEN
    case = await court.look()
    assert (case.phase, case.decision, case.missed) == (CasePhase.RULED, Decision.REJECT, 5)
    assert await state_of(court, deal) is AgreementState.MEDIATION_REJECTED


async def test_a_file_instead_of_a_directory_is_no_result(court, tmp_path):
    (tmp_path / "file").write_text("a film, believe me")
    await court.disputed(court.put(tmp_path / "file"))
    case = await court.look()
    assert (case.phase, case.decision) == (CasePhase.RULED, Decision.REJECT)
    assert "not a directory" in case.reason


async def test_trouble_with_the_mediators_own_disk_waits_and_ends_nothing(court, tmp_path):
    await court.disputed(court.put(fake_render(SPEC, tmp_path / "rp")))
    court.render_problem = OSError(28, "No space left on device")
    assert (await court.look()).phase is CasePhase.OPEN
    court.render_problem = None
    assert (await court.look()).phase is CasePhase.RULED


async def test_a_fee_below_what_the_mediator_asks_is_declined(court, tmp_path):
    court.least_fee_wei = TOKEN + 1
    await court.close()
    court.open()
    await court.disputed(court.put(fake_render(SPEC, tmp_path / "rp")))
    case = await court.look()
    assert case.phase is CasePhase.DECLINED
    assert "its fee is 1" in case.reason
    assert court.rendered == []


async def test_a_result_that_comes_late_is_judged_like_any_other(court, tmp_path):
    result = fake_render(SPEC, tmp_path / "rp")
    await court.disputed(cid_of(result))
    await court.look()
    court.put(result)
    court.mediator._not_before.clear()
    assert (await court.look()).decision is Decision.ACCEPT


async def test_a_machine_that_does_not_repeat_itself_judges_nobody(court, tmp_path):
    court.unrepeatable = True
    deal = await court.disputed(court.put(fake_render(SPEC, tmp_path / "rp")))
    case = await court.look()
    assert case.phase is CasePhase.DECLINED
    assert "differ from each other" in case.reason
    assert await state_of(court, deal) is AgreementState.RESULTS_CHECKED
    assert len(court.rendered) == 2


async def test_another_class_is_declined_with_the_parts_that_differ(court, tmp_path):
    result = fake_render(SPEC, tmp_path / "rp")
    manifest = json.loads((result / "manifest.json").read_text())
    manifest["class_parts"]["device"] = "another card"
    manifest["determinism_class"] = class_name(manifest["class_parts"])
    (result / "manifest.json").write_text(json.dumps(manifest))
    deal = await court.disputed(court.put(result))
    case = await court.look()
    assert case.phase is CasePhase.DECLINED
    assert "device" in case.reason
    assert await state_of(court, deal) is AgreementState.RESULTS_CHECKED


async def test_a_case_waits_while_nothing_can_be_computed_or_own_jobs_come_first(court, tmp_path):
    await court.disputed(court.put(fake_render(SPEC, tmp_path / "rp")))
    court.obstacle = "the worker is loading its models"
    assert (await court.look()).phase is CasePhase.OPEN
    court.obstacle, court.busy = None, True
    assert (await court.look()).phase is CasePhase.OPEN
    court.busy, court.render_problem = False, Retryable("the GPU is too hot")
    assert (await court.look()).phase is CasePhase.OPEN
    court.render_problem = None
    assert (await court.look()).phase is CasePhase.RULED


async def test_own_jobs_wait_when_the_time_to_rule_runs_out(court, tmp_path):
    await court.disputed(court.put(fake_render(SPEC, tmp_path / "rp")))
    court.busy = True
    await court.look()
    await court.bench.pass_time(HOUR - 240)
    assert (await court.look()).phase is CasePhase.RULED


async def test_a_case_whose_time_is_over_is_declined(court, tmp_path):
    await court.disputed(court.put(fake_render(SPEC, tmp_path / "rp")))
    await court.bench.pass_time(HOUR)
    assert (await court.look()).phase is CasePhase.DECLINED
    assert court.rendered == []


async def test_a_ruling_decided_before_a_kill_is_sent_once_afterwards(court, tmp_path):
    deal = await court.disputed(court.put(fake_render(SPEC, tmp_path / "rp")))

    async def killed(intent):
        raise Retryable("killed here")

    send, court.transactions.send = court.transactions.send, killed
    assert (await court.look()).phase is CasePhase.DECIDED
    court.transactions.send = send
    await court.close()
    court.open()
    court.shelf.clear()
    assert (await court.look()).phase is CasePhase.RULED
    assert court.rendered == [f"{deal.deal_id}-first"]
    await court.look()
    assert await state_of(court, deal) is AgreementState.MEDIATION_ACCEPTED
    assert (await court.bench.gains())["mediator"] == TOKEN


async def test_a_case_that_was_ruled_by_other_means_lapses(court, tmp_path):
    deal = await court.disputed(court.put(fake_render(SPEC, tmp_path / "rp")))
    court.obstacle = "busy"
    await court.look()
    await court.bench.send(JUDGE, court.contracts.mediation_accept_result(deal.deal_id))
    court.obstacle = None
    case = await court.look()
    assert case.phase is CasePhase.LAPSED
    assert "mediation_accepted" in case.reason


async def test_a_deal_whose_job_cannot_be_told_is_declined(court, tmp_path):
    await court.bench.send(JC, court.contracts.run_job(MODULE, INPUTS, JC))
    deal = replace(court.bench.deal(), deal_id="Qmc-my-own-id")
    await court.bench.agreed(deal)
    cid = court.put(fake_render(SPEC, tmp_path / "rp"))
    await court.bench.send(RP, court.contracts.add_result(deal.deal_id, "", cid, 1))
    await court.bench.send(JC, court.contracts.check_result(deal.deal_id))
    case = await court.look()
    assert case.phase is CasePhase.DECLINED
    assert "does not follow" in case.reason


async def test_a_ruling_that_cannot_settle_waits_and_costs_no_gas(court, tmp_path):
    deal = await court.disputed(court.put(fake_render(SPEC, tmp_path / "rp")))
    await court.bench.drain(JC)
    nonce = await court.bench.chain.nonce(JUDGE)
    case = await court.look()
    if court.contracts.rules.escrow_can_drain:
        assert case.phase is CasePhase.DECIDED
        assert await court.bench.chain.nonce(JUDGE) == nonce
        assert await state_of(court, deal) is AgreementState.RESULTS_CHECKED
    else:
        assert case.phase is CasePhase.RULED
        assert await state_of(court, deal) is AgreementState.MEDIATION_ACCEPTED


async def test_the_mediation_contract_is_called_and_never_the_controller(court, tmp_path):
    deal = await court.disputed(court.put(fake_render(SPEC, tmp_path / "rp")))
    call = court.contracts.mediation_accept_result(deal.deal_id)
    wrong = Call(court.contracts.addresses.controller, call.data, call.what)
    await court.bench.refused(JUDGE, wrong)
    assert (await court.look()).phase is CasePhase.RULED

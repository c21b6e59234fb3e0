from dataclasses import replace

import pytest

from node.chain.rules import POOLED_RULES, SOUND_RULES
from node.errors import Retryable
from node.job.deal import Agreement, AgreementState, Result
from node.job.effects import Effect, EffectKind
from node.job.events import SubmissionRefused
from node.job.phase import Phase
from node.settlement.submission import MAX_REVERTED_RESULTS, Submission, write_failure
from tests.fakes.deals import Deals, Wallet
from tests.fakes.jobs import POSTED_AT, make_deal, make_job

SUBMIT = Effect("j1", EffectKind.SUBMIT_RESULT)
FAIL = Effect("j1", EffectKind.SUBMIT_FAILURE)
SUBMITTING = make_job(Phase.SUBMITTING, cid="bafyresult", deadline=POSTED_AT + 3600)
AGREED = Agreement(AgreementState.DEAL_AGREED)


class Shelf:
    """A publisher that keeps what it is given."""

    def __init__(self):
        self.stderr = None

    async def publish(self, job_id, directory):
        self.stderr = (directory / "stderr").read_text()
        return "bafyfailure"


def submission(deals, wallet, tmp_path, shelf=None, rules=SOUND_RULES):
    return Submission(deals, wallet, deals, shelf or Shelf(), tmp_path, rules=rules)


async def test_a_result_is_submitted_with_one_instruction(tmp_path):
    wallet = Wallet()
    assert await submission(Deals(), wallet, tmp_path).submit_result(SUBMITTING, SUBMIT) is None
    assert wallet.sent[0].call.data == b"bafyresult/1"


async def test_a_failure_is_submitted_with_none_and_its_reason_can_be_read(tmp_path):
    wallet, shelf = Wallet(), Shelf()
    job = make_job(Phase.FAILING, reason="out of memory", deadline=POSTED_AT + 3600)
    assert await submission(Deals(), wallet, tmp_path, shelf).submit_failure(job, FAIL) is None
    assert wallet.sent[0].call.data == b"bafyfailure/0"
    assert shelf.stderr == "out of memory\n"


@pytest.mark.parametrize("state", [AgreementState.RESULTS_SUBMITTED, AgreementState.RESULTS_ACCEPTED])
async def test_a_result_that_is_there_already_is_no_failure(tmp_path, state):
    deals = Deals(
        agreement=Agreement(state, results_submitted_at=POSTED_AT),
        result=Result(make_deal().deal_id, "", "bafyresult", 1),
    )
    assert await submission(deals, Wallet("DealAgreed"), tmp_path).submit_result(SUBMITTING, SUBMIT) is None


@pytest.mark.parametrize("reverted", [False, True])
@pytest.mark.parametrize(
    "deals",
    [
        Deals(agreement=Agreement(AgreementState.TIMEOUT_SUBMIT_RESULTS)),
        Deals(agreement=AGREED, chain_time=POSTED_AT + 3601),
    ],
)
async def test_a_result_that_can_no_longer_be_taken_ends_the_job(tmp_path, deals, reverted):
    wallet = Wallet("Timed out", reverted=reverted)
    event = await submission(deals, wallet, tmp_path).submit_result(SUBMITTING, SUBMIT)
    assert isinstance(event, SubmissionRefused)
    assert "Timed out" in event.reason


async def test_a_result_that_reverted_for_a_passing_reason_is_submitted_as_another_transaction(tmp_path):
    wallet = Wallet("ERC20Pausable: token transfer while paused", reverted=True)
    submit = submission(Deals(agreement=AGREED), wallet, tmp_path).submit_result
    with pytest.raises(Retryable, match="paused it"):
        await submit(SUBMITTING, SUBMIT)
    wallet.reverted = False
    with pytest.raises(Retryable, match="paused it"):
        await submit(SUBMITTING, SUBMIT)
    wallet.refusal = None
    assert await submit(SUBMITTING, SUBMIT) is None
    assert list(wallet.rows) == [SUBMIT.effect_id, f"{SUBMIT.effect_id}:2"]


@pytest.mark.parametrize("rewinds", [0, 2])
async def test_a_result_is_reverted_so_often_and_once_more_for_each_reorganisation(tmp_path, rewinds):
    wallet, job = Wallet("no words", reverted=True), replace(SUBMITTING, rewinds=rewinds)
    submit = submission(Deals(agreement=AGREED), wallet, tmp_path).submit_result
    for _ in range(MAX_REVERTED_RESULTS + rewinds - 1):
        with pytest.raises(Retryable, match="no words"):
            await submit(job, SUBMIT)
    for _ in range(2):
        assert isinstance(await submit(job, SUBMIT), SubmissionRefused)
        assert len(wallet.sent) == MAX_REVERTED_RESULTS + rewinds


async def test_a_reverted_result_whose_time_is_over_is_not_sent_again(tmp_path):
    wallet, deals = Wallet("no words", reverted=True), Deals(agreement=AGREED)
    submit = submission(deals, wallet, tmp_path).submit_result
    with pytest.raises(Retryable):
        await submit(SUBMITTING, SUBMIT)
    deals.chain_time = POSTED_AT + 3601
    assert isinstance(await submit(SUBMITTING, SUBMIT), SubmissionRefused)
    assert len(wallet.sent) == 1


async def test_a_wallet_too_empty_for_the_collateral_is_waited_for(tmp_path):
    deals = Deals(agreement=AGREED)
    with pytest.raises(Retryable, match="Insufficient"):
        await submission(deals, Wallet("Insufficient balance"), tmp_path).submit_result(SUBMITTING, SUBMIT)


def test_a_failure_directory_has_the_same_bytes_each_time(tmp_path):
    write_failure(tmp_path / "a", "broken " * 1000)
    write_failure(tmp_path / "a", "broken " * 1000)
    write_failure(tmp_path / "b", "broken " * 1000)
    for name in ("stdout", "stderr", "exitCode"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert (tmp_path / "a" / "exitCode").read_text() == "1"
    assert len((tmp_path / "a" / "stderr").read_text()) <= 2001


async def test_where_deadlines_do_not_bind_a_late_result_is_still_worth_sending(tmp_path):
    deals = Deals(agreement=AGREED, chain_time=POSTED_AT + 3601)
    paused = Wallet("ERC20Pausable: token transfer while paused")
    with pytest.raises(Retryable, match="paused it"):
        await submission(deals, paused, tmp_path, rules=POOLED_RULES).submit_result(SUBMITTING, SUBMIT)


async def test_a_result_that_the_contract_can_never_take_is_given_up(tmp_path):
    wallet = Wallet("Panic 0x11 (arithmetic overflow)")
    event = await submission(Deals(agreement=AGREED), wallet, tmp_path).submit_result(SUBMITTING, SUBMIT)
    assert isinstance(event, SubmissionRefused)
    assert "overflow" in event.reason

import pytest

from node.errors import Retryable
from node.job.deal import Agreement, AgreementState, Result
from node.job.effects import Effect, EffectKind
from node.job.events import ClaimRefused, SubmissionRefused
from node.job.phase import Phase
from node.settlement.claims import Claims
from node.settlement.submission import Submission, write_failure
from tests.fakes.deals import Deals, Wallet
from tests.fakes.jobs import POSTED_AT, make_deal, make_job

SUBMIT = Effect("j1", EffectKind.SUBMIT_RESULT)
FAIL = Effect("j1", EffectKind.SUBMIT_FAILURE)
CLAIM = Effect("j1", EffectKind.CLAIM_JUDGE_TIMEOUT)
SUBMITTING = make_job(Phase.SUBMITTING, cid="bafyresult", deadline=POSTED_AT + 3600)
AGREED = Agreement(AgreementState.DEAL_AGREED)


class Shelf:
    """A publisher that keeps what it is given."""

    def __init__(self):
        self.stderr = None

    async def publish(self, job_id, directory):
        self.stderr = (directory / "stderr").read_text()
        return "bafyfailure"


def submission(deals, wallet, tmp_path, shelf=None):
    return Submission(deals, wallet, deals, shelf or Shelf(), tmp_path)


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


async def test_a_result_that_is_there_already_is_no_failure(tmp_path):
    deals = Deals(
        agreement=Agreement(AgreementState.RESULTS_SUBMITTED),
        result=Result(make_deal().deal_id, "", "bafyresult", 1),
    )
    assert await submission(deals, Wallet("DealAgreed"), tmp_path).submit_result(SUBMITTING, SUBMIT) is None


@pytest.mark.parametrize(
    ("deals", "reverted"),
    [
        (Deals(agreement=Agreement(AgreementState.TIMEOUT_SUBMIT_RESULTS)), False),
        (Deals(agreement=AGREED, chain_time=POSTED_AT + 3601), False),
        (Deals(agreement=AGREED), True),
    ],
)
async def test_a_result_that_can_no_longer_be_taken_ends_the_job(tmp_path, deals, reverted):
    wallet = Wallet("Timed out", reverted=reverted)
    event = await submission(deals, wallet, tmp_path).submit_result(SUBMITTING, SUBMIT)
    assert isinstance(event, SubmissionRefused)
    assert "Timed out" in event.reason


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


async def test_a_claim_before_its_time_is_asked_again():
    deals = Deals(agreement=Agreement(AgreementState.RESULTS_SUBMITTED))
    with pytest.raises(Retryable, match="chain time"):
        await Claims(deals, Wallet("Not timed out")).claim_judge_timeout(make_job(Phase.CLAIMING), CLAIM)


async def test_a_claim_overtaken_by_the_requester_is_no_failure():
    deals = Deals(agreement=Agreement(AgreementState.RESULTS_ACCEPTED))
    claims = Claims(deals, Wallet("Not correct state"))
    assert await claims.claim_judge_timeout(make_job(Phase.CLAIMING), CLAIM) is None


async def test_a_claim_that_the_contract_never_takes_is_told():
    deals = Deals(agreement=Agreement(AgreementState.RESULTS_CHECKED))
    effect = Effect("j1", EffectKind.CLAIM_MEDIATION_TIMEOUT)
    event = await Claims(deals, Wallet("no reason given")).claim_mediation_timeout(
        make_job(Phase.CLAIMING), effect
    )
    assert isinstance(event, ClaimRefused)

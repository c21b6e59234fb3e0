"""A requested job on a real chain, with a real gateway and a provider that follows a script."""

import asyncio

import pytest

from node.chain.events import JOB_ADDED, JobAdded, decode
from node.job.deal import AgreementState
from node.job.spec import parse_inputs
from node.requester import steps
from node.requester.outcome import RunState
from node.types import Wei
from tests.fakes.provider import TOKEN, propose_terms, write_result

pytestmark = [pytest.mark.integration]

MODULE = "sdv-pipeline:v1.0-lilypad2"
INPUTS = ["ImageSeed=7", "Prompt=a red fox", "Steps=5", "VideoSteps=5"]


async def posted_job(market) -> JobAdded:
    """Wait for the next job on the chain, as a provider does."""
    contracts = market.devnet.contracts
    while True:
        head = await market.devnet.chain.head()
        logs = await market.devnet.chain.logs(0, head.number, [contracts.addresses.job_manager], [JOB_ADDED])
        if logs:
            job = decode(logs[-1])
            assert isinstance(job, JobAdded)
            return job
        await asyncio.sleep(0.02)


async def propose(market, **terms):
    job = await posted_job(market)
    deal = propose_terms(
        market.devnet.contracts,
        job.number,
        job.payee,
        market.provider.address,
        mediators=(market.mediator,),
        **terms,
    )
    await market.provider.propose(deal)
    return job, deal


async def together(ours, theirs):
    """Run both sides until both are done; an error of one ends the other."""
    async with asyncio.timeout(90), asyncio.TaskGroup() as group:
        mine, others = group.create_task(ours), group.create_task(theirs)
    return mine.result(), others.result()


async def until(condition) -> None:
    """Look again and again, as everybody on a chain does."""
    while not await condition():
        await asyncio.sleep(0.02)


async def agreed(market, deal) -> None:
    async def is_agreed() -> bool:
        agreement = await market.devnet.contracts.get_agreement(deal.deal_id)
        return agreement.state is not AgreementState.DEAL_NEGOTIATING

    await until(is_agreed)


async def serve_job(market, tmp_path, *, count: int = 1, data_id: str | None = None, **result):
    job, deal = await propose(market)
    await agreed(market, deal)

    async def progress_was_shown() -> bool:
        return bool(market.seen(steps.Rendering))

    await until(progress_was_shown)
    directory = write_result(tmp_path / "result", parse_inputs(job.module, job.inputs), **result)
    cid = market.provider.publish(directory)
    await market.provider.submit(deal, cid if data_id is None else data_id, count)
    return job, deal, cid


async def run_and_serve(market, tmp_path, **served):
    """Run our side and the provider's side together."""
    return await together(market.requester().request(MODULE, INPUTS), serve_job(market, tmp_path, **served))


async def test_a_job_is_posted_agreed_rendered_verified_and_paid(market, tmp_path):
    ours, theirs = market.requester_address, market.provider.address
    before = await market.tokens(ours), await market.tokens(theirs)

    outcome, (job, deal, cid) = await run_and_serve(market, tmp_path)

    assert (job.module, job.payee) == (MODULE, ours)
    assert job.inputs == ("Prompt=a red fox", "Seed=7", "Steps=5", "VideoSteps=5")
    assert (outcome.state, outcome.exit_code) == (RunState.PAID, 0)
    assert (outcome.deal_id, outcome.cid, outcome.paid_wei) == (deal.deal_id, cid, TOKEN)
    assert outcome.directory == market.data_dir / "downloaded-files" / deal.deal_id
    assert (outcome.directory / "outputs" / "output_00001_.mp4").is_file()
    assert await market.tokens(ours) == before[0] - TOKEN
    assert await market.tokens(theirs) == before[1] + TOKEN
    kinds = [type(step) for step in market.steps]
    story = list(dict.fromkeys(kinds))
    assert story == [
        steps.Started,
        steps.JobPosted,
        steps.ProposalSeen,
        steps.Chosen,
        steps.DealAgreed,
        steps.Rendering,
        steps.ResultSubmitted,
        steps.Downloading,
        steps.Verified,
        steps.Accepted,
    ]
    assert market.seen(steps.Rendering)[0].progress.fraction == 0.25
    assert await market.devnet.contracts.token_allowance(ours, market.devnet.addresses.payments) == 0


async def test_an_honest_failure_is_shown_accepted_and_costs_nothing(market, tmp_path):
    before = await market.tokens(market.requester_address)
    said = "out of memory\x1b[2J\nat step 3"

    outcome, (_, deal, cid) = await run_and_serve(market, tmp_path, count=0, exit_code="1", stderr=said)

    assert (outcome.state, outcome.exit_code, outcome.cid) == (RunState.PROVIDER_FAILED, 1, cid)
    assert "out of memory [2J at step 3" in outcome.reason
    assert await market.tokens(market.requester_address) == before
    agreement = await market.devnet.contracts.get_agreement(deal.deal_id)
    assert agreement.state is AgreementState.RESULTS_ACCEPTED


async def test_a_failure_without_any_explanation_is_accepted_too(market, tmp_path):
    outcome, _ = await run_and_serve(market, tmp_path, count=0, data_id="")
    assert outcome.state is RunState.PROVIDER_FAILED
    assert outcome.reason.endswith("it gives no reason")


@pytest.mark.parametrize(
    ("served", "reason"),
    [
        ({"data_id": "not a cid"}, "is no CID"),
        ({"count": 2}, "counts 2 instructions"),
        ({"exit_code": "1"}, "own exit code is '1'"),
    ],
)
async def test_a_result_that_is_not_as_agreed_is_not_accepted(market, tmp_path, served, reason):
    outcome, (_, deal, _) = await run_and_serve(market, tmp_path, **served)
    assert (outcome.state, outcome.exit_code) == (RunState.RESULT_REFUSED, 1)
    assert reason in outcome.reason
    assert "--dispute" in outcome.next_step
    agreement = await market.devnet.contracts.get_agreement(deal.deal_id)
    assert agreement.state is AgreementState.RESULTS_SUBMITTED

    disputed = await market.requester().dispute(outcome.run_id)
    assert "results_checked" in disputed.reason
    agreement = await market.devnet.contracts.get_agreement(deal.deal_id)
    assert agreement.state is AgreementState.RESULTS_CHECKED


async def test_a_silent_provider_is_left_and_everything_comes_back_with_its_collateral(market):
    before = await market.tokens(market.requester_address)

    async def fall_silent():
        _, deal = await propose(market, submit_timeout_s=60)
        await agreed(market, deal)
        await market.devnet.rpc.call("evm_increaseTime", [120])
        await market.devnet.mine()

    outcome, _ = await together(market.requester().request(MODULE, INPUTS), fall_silent())

    assert (outcome.state, outcome.exit_code, outcome.paid_wei) == (RunState.PROVIDER_SILENT, 1, 0)
    assert await market.tokens(market.requester_address) == before + TOKEN


async def test_nobody_proposing_ends_with_try_again(market):
    outcome = await market.requester(wait_for_proposals_s=0.3).request(MODULE, INPUTS)
    assert (outcome.state, outcome.exit_code) == (RunState.NO_PROPOSAL, 75)
    assert "--wait" in outcome.next_step


async def test_proposals_beyond_the_limits_are_ignored_with_their_reason(market):
    asking = market.requester(wait_for_proposals_s=1.5).request(MODULE, INPUTS)
    outcome, _ = await together(asking, propose(market, price_wei=6 * TOKEN))
    assert outcome.state is RunState.NO_PROPOSAL
    assert "price of 6 is above our 5 tokens" in outcome.reason
    assert await market.devnet.contracts.token_allowance(
        market.requester_address, market.devnet.addresses.payments
    ) == Wei(0)


async def test_the_cheapest_of_several_proposals_is_taken(market, tmp_path):
    async def propose_twice():
        await propose(market, price_wei=3 * TOKEN, salt="00000001")
        _, cheap = await propose(market, price_wei=2 * TOKEN, salt="00000016")
        await agreed(market, cheap)
        await market.provider.submit(cheap, "", 0)
        return cheap

    outcome, cheap = await together(market.requester(gather_s=1.5).request(MODULE, INPUTS), propose_twice())
    assert outcome.deal_id == cheap.deal_id
    assert [step.out_of for step in market.seen(steps.Chosen)] == [2]


async def test_a_run_broken_off_after_the_agreement_is_resumed_and_pays_once(market, tmp_path):
    before = await market.tokens(market.requester_address)
    first = asyncio.create_task(market.requester().request(MODULE, INPUTS))
    job, deal = await propose(market)
    await agreed(market, deal)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    (started,) = market.seen(steps.Started)
    directory = write_result(tmp_path / "result", parse_inputs(job.module, job.inputs))
    cid = market.provider.publish(directory)
    await market.provider.submit(deal, cid)

    outcome = await market.requester().resume(started.run_id)
    again = await market.requester().resume(started.run_id)

    assert (outcome.state, outcome.paid_wei) == (RunState.PAID, TOKEN)
    assert (again.state, again.paid_wei, again.directory) == (RunState.PAID, TOKEN, outcome.directory)
    assert await market.tokens(market.requester_address) == before - TOKEN
    head = await market.devnet.chain.head()
    job_manager = market.devnet.addresses.job_manager
    assert len(await market.devnet.chain.logs(0, head.number, [job_manager], [JOB_ADDED])) == 1

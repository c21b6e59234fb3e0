"""Check 8 further: a squatted deal that goes on afterwards moves no job of ours, on both deployments."""

import pytest

from node.types import Wei
from tests.integration.market_rules.bench import JC, JUDGE, OWNER, RP

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


async def test_what_becomes_of_a_squatted_deal_is_nothing_to_the_job_it_was_taken_from(stage):
    await stage.start()
    taken = stage.standing().deal_id
    squat = stage.bench.deal(
        1,
        job_creator=JUDGE,
        provider=OWNER,
        mediators=(RP,),
        payment_collateral=Wei(0),
        submit_collateral=Wei(0),
        judge_collateral=Wei(0),
    )
    call = stage.under_id(squat, taken.encode())
    await stage.bench.send(OWNER, call)
    await stage.post()
    ours = await stage.proposed()
    assert ours.deal_id != taken
    await stage.bench.send(JUDGE, call)
    await stage.read_all()
    assert (await stage.get("/api/v1/jobs/j1"))["phase"] == "PROPOSED"
    await stage.bench.send(JC, stage.contracts.agree(ours))
    await stage.reached("SUBMITTED")
    await stage.bench.send(JC, stage.contracts.accept_result(ours.deal_id))
    job = await stage.reached("PAID")
    assert job["deal_id"] == ours.deal_id
    assert [step["phase"] for step in job["timeline"]].count("AGREED") == 1

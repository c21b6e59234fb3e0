from dataclasses import replace

import pytest

from node.admission.pricing import price_wei
from node.admission.rules import Facts, verdict
from tests.fakes.jobs import MEDIATOR, POSTED_AT, PROVIDER, REQUESTER, TOKEN, make_config, make_spec

LIMITS = make_config().admission

GOOD = Facts(
    chain_time=POSTED_AT + 5,
    posted_at=POSTED_AT,
    sender=REQUESTER,
    requester=REQUESTER,
    provider=PROVIDER,
    price_wei=TOKEN,
    timeout_collateral_wei=TOKEN,
    results_collateral_wei=TOKEN,
    requester_tokens_wei=2 * TOKEN,
    our_tokens_wei=5 * TOKEN,
    our_allowance_wei=5 * TOKEN,
    our_gas_wei=10**18,
    gas_price_wei=10**9,
    committed_wei=0,
    open_deals=0,
    open_proposals_of_requester=0,
    mediators=(MEDIATOR,),
    worker_problem=None,
    paused=False,
    jobs_ahead=0,
    job_estimate_s=60.0,
    submit_timeout_s=3600,
    free_disk_bytes=10**12,
)


def test_a_good_offer_is_admitted():
    assert verdict(GOOD, LIMITS) is None


@pytest.mark.parametrize(
    ("changes", "rule", "final", "told"),
    [
        ({"chain_time": POSTED_AT + 601}, "fresh", True, "601 s"),
        ({"sender": MEDIATOR}, "authentic", True, "somebody else"),
        ({"sender": None}, "authentic", False, "does not know the transaction"),
        ({"requester": PROVIDER, "sender": PROVIDER}, "authentic", True, "own account"),
        ({"mediators": ()}, "judged", True, "market.mediators"),
        ({"mediators": (REQUESTER, PROVIDER)}, "judged", True, "market.mediators"),
        ({"requester_tokens_wei": 2 * TOKEN - 1}, "solvent_requester", True, str(2 * TOKEN)),
        ({"our_tokens_wei": TOKEN - 1}, "solvent_provider", False, "fund the wallet"),
        ({"committed_wei": 5 * TOKEN}, "solvent_provider", False, "fund the wallet"),
        ({"our_allowance_wei": 0}, "solvent_provider", False, "wallet approve"),
        ({"our_gas_wei": 10**9}, "gas", False, "fund the wallet"),
        ({"worker_problem": "the worker is loading"}, "capacity", False, "loading"),
        ({"paused": True}, "capacity", False, "draining"),
        ({"open_deals": 4}, "capacity", False, "4 deals"),
        ({"open_proposals_of_requester": 2}, "capacity", False, "2 unanswered"),
        ({"free_disk_bytes": 10**9}, "disk", False, "free disk space"),
        ({"jobs_ahead": 50}, "deadline", False, "50 jobs"),
        ({"job_estimate_s": 2521.0}, "deadline", False, "2521 s"),
    ],
)
def test_each_rule_refuses_with_its_reason(changes, rule, final, told):
    refusal = verdict(replace(GOOD, **changes), LIMITS)
    assert (refusal.rule, refusal.final) == (rule, final)
    assert told in refusal.reason


def test_a_final_reason_goes_before_one_that_may_pass():
    facts = replace(GOOD, worker_problem="the worker is loading", sender=MEDIATOR)
    assert verdict(facts, LIMITS).rule == "authentic"


def test_limits_are_inclusive():
    assert verdict(replace(GOOD, chain_time=POSTED_AT + 600), LIMITS) is None
    assert verdict(replace(GOOD, job_estimate_s=2520.0), LIMITS) is None
    assert verdict(replace(GOOD, open_deals=3), LIMITS) is None


def test_the_price_grows_with_the_work_and_never_falls_below_the_floor():
    free = make_config(pricing={"floor": "3", "per_job": "0", "per_step": "0"}).pricing
    assert price_wei(make_spec(), free) == 3 * TOKEN
    by_step = make_config(pricing={"floor": "0", "per_job": "1", "per_step": "0.01"}).pricing
    spec = make_spec("Prompt=a", "Steps=10", "VideoSteps=5", "Batching=4")
    assert price_wei(spec, by_step) == (TOKEN + (10 + 22 * 5) * TOKEN // 100) * 4

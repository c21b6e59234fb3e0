"""What an operator sees of a node that has earned: its metrics, its log and its traces, of one real job."""

import asyncio
import json
import re

import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from node.cli.main import cli
from node.requester.outcome import RunState
from tests.chaos.conftest import MODULE
from tests.unit.observe.collector import attributes, collector
from tests.unit.observe.shipped import METRIC, SELECTOR, expressions

pytestmark = [pytest.mark.chaos, pytest.mark.integration]

NOT_YET = re.compile(r"sdv_node_(gpu|ipfs)_")
"""No GPU is here and the IPFS node takes a while; the names stand in the exposition all the same."""
RARE = {
    "sdv_node_offers_refused_total",
    "sdv_node_worker_deaths_total",
    "sdv_node_mediation_cases_total",
    "sdv_node_rpc_endpoint_lag_blocks",
}
"""Counted with a label only once it has happened."""


async def test_a_job_that_was_paid_is_seen_in_metrics_log_and_one_trace_across_a_kill(make_world):
    with collector() as kept:
        async with make_world("fake:6000") as world, asyncio.timeout(240):
            traces = {"SDV_NODE__TRACES__ENABLED": "true", "SDV_NODE__TRACES__ENDPOINT": kept.url}
            await world.start(**traces)
            async with world.requester() as party:
                running = asyncio.create_task(party.request(MODULE, ("Prompt=a hidden fox",)))
                await world.reached("j1", "RENDERING")
                await asyncio.to_thread(kept.wait_for, "wait for worker")
                await world.kill()
                await world.start(**traces)
                outcome = await running
            assert outcome.state is RunState.PAID
            await world.reached("j1", "PAID")
            await asyncio.to_thread(kept.wait_for, "job")
            metrics = await world.get("/metrics")
            log = command(world, "--job", "j1", "--json", "-n", "1000")
            assert (await world.get("/readyz"))["ok"] is True
            assert await asyncio.to_thread(drain, world) == 0
            while (ready := await world.get("/readyz"))["ok"]:
                await asyncio.sleep(0.1)
            live = await world.get("/livez")
            world.process.terminate()
            assert await world.death() == 0
    assert live["ok"] is True
    assert any("sdv-node resume lets it take jobs again" in reason for reason in ready["reasons"])
    look_at_trace(kept, outcome.deal_id)
    look_at_metrics(metrics)
    look_at_log(log, outcome.deal_id)


def look_at_trace(kept, deal_id: str) -> None:
    assert len({span.trace_id for span in kept.spans}) == 1
    (job,) = kept.named("job")
    (render,) = kept.named("render")
    (publish,) = kept.named("publish")
    for name in ("admission", "propose", "wait for agreement", "wait for worker", "submit", "judge"):
        (span,) = kept.named(name)
        assert span.parent_span_id == job.span_id
    told = list({span.span_id: span for span in kept.spans}.values())
    stages = [span for span in told if "sdv.stage" in attributes(span)]
    assert len({span.name for span in stages}) > 1
    assert {span.parent_span_id for span in stages} == {render.span_id}
    assert {span.parent_span_id for span in kept.named("read back")} == {publish.span_id}
    assert attributes(job)["sdv.deal_id"] == deal_id
    assert attributes(job)["sdv.phase"] == "PAID"
    assert job.start_time_unix_nano < render.start_time_unix_nano < job.end_time_unix_nano
    assert "hidden fox" not in str(kept.spans)


def look_at_metrics(text: str) -> None:
    families = list(text_string_to_metric_families(text))
    samples = {sample.name: set() for family in families for sample in family.samples}
    for family in families:
        for sample in family.samples:
            samples[sample.name] |= set(sample.labels)
    # A metric without a sample has its name in the lines about it alone.
    declared = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    for expression in expressions():
        for name in METRIC.findall(expression):
            assert name in samples or name in declared, name
            assert name in samples or NOT_YET.match(name) or name in RARE, name
        for name, selector in SELECTOR.findall(expression):
            asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector)) - {"instance"}
            assert name not in samples or asked <= samples[name], name
    values = {
        sample.name: sample.value for family in families for sample in family.samples if not sample.labels
    }
    assert values["sdv_node_paid_wei_total"] > 0
    assert values["sdv_node_gas_balance_deals"] > 0
    assert values["sdv_node_token_balance_deals"] > 0
    assert values["sdv_node_journal_transaction_seconds_count"] > 10
    assert values["sdv_node_worker_load_seconds_count"] >= 1
    assert str(values["sdv_node_deadline_slack_seconds"]) == "nan"
    assert 'sdv_node_render_steps_total{stage="' in text


def look_at_log(lines: list[dict], deal_id: str) -> None:
    assert {line["job_id"] for line in lines} == {"j1"}
    steps = [line["step"] for line in lines if line["event"] == "job_changed"]
    assert steps[0] == "OfferSeen"
    assert {"RenderStarted", "Rendered", "Published"} <= set(steps)
    assert lines[-1]["phase"] == "PAID"
    mined = [line for line in lines if line["event"] == "tx_mined"]
    assert len(mined) == 2
    assert lines[-1]["deal_id"] == deal_id


def drain(world) -> int:
    return CliRunner().invoke(cli, ["--config", str(world.config_file), "drain"]).exit_code


def command(world, *arguments: str) -> list[dict]:
    """Return the lines that ``sdv-node logs`` prints."""
    result = CliRunner().invoke(
        cli, ["--config", str(world.config_file), "logs", *arguments], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines()]

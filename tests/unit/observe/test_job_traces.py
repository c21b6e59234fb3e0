"""Jobs told to a collector: what is sent and what is not, and that no trouble of it ever reaches a job."""

import asyncio
import functools
import sys
import threading
import time

import pytest

from node.app.tracing import Tracing
from node.errors import Misconfigured
from node.job.events import RenderStarted
from node.job.job import Job
from node.job.phase import Phase
from node.job.progress import Progress
from node.observe import otlp
from node.observe.job_spans import Identity, JobSpan
from node.observe.job_traces import MAX_WAITING, JobTraces
from node.observe.otlp import OtlpSpans
from tests.fakes.clock import FakeClock
from tests.fakes.jobs import make_config, make_job
from tests.unit.observe.collector import attributes, collector
from tests.unit.observe.test_job_spans import PAID, Step


@functools.cache
def job_in(phase: Phase) -> Job:
    return make_job(phase, 17)


class Kept:
    """Keeps spans, or breaks."""

    def __init__(self) -> None:
        self.spans: list[JobSpan] = []
        self.broken = False

    def put(self, span: JobSpan) -> None:
        if self.broken:
            raise RuntimeError("the exporter broke")
        self.spans.append(span)

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.spans]


class Journal:
    """The history of one job, as far as it has come."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    async def timeline(self, job_id):
        return list(self.steps)


class Life:
    """One life of a node that tells of a job."""

    def __init__(self, journal: Journal, at: float) -> None:
        self.clock = FakeClock(at)
        self.kept = Kept()
        self.journal = journal
        self.traces = JobTraces(self.kept, journal, market="m", provider="p", clock=self.clock)

    async def live(self, steps) -> None:
        telling = asyncio.create_task(self.traces.run())
        for step in steps:
            self.journal.steps.append(step)
            self.clock.time = step.at
            self.traces.job_changed(job_in(Phase(step.phase)))
            await self.settle()
        telling.cancel()

    async def settle(self) -> None:
        while not self.traces._waiting.empty():
            await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)


async def test_two_lives_of_a_node_tell_of_one_trace_the_second_also_what_the_first_may_have_lost():
    journal = Journal()
    first, second = Life(journal, 0.5), Life(journal, 10)
    await first.live(PAID[:5])
    await second.live(PAID[5:])
    assert first.kept.names == ["admission", "propose", "wait for agreement", "wait for worker"]
    assert second.kept.spans[:4] == first.kept.spans
    assert second.kept.names[4] == "render"
    assert second.kept.names[-1] == "job"
    assert len({span.span_id for span in second.kept.spans}) == len(second.kept.spans)
    assert {span.trace_id for span in second.kept.spans} == {Identity("m", "p", "j17").trace_id}


async def test_stages_are_told_when_they_end_also_the_last_one():
    life = Life(Journal(), 0.5)
    await life.live(PAID[:5])
    telling = asyncio.create_task(life.traces.run())
    for at, stage in ((8, "load"), (10, "still"), (11, "still"), (20, "video")):
        life.clock.time = at
        life.traces.progressed("j17", Progress(stage, 1, 10, 0.5))
    life.journal.steps.append(PAID[5])
    life.clock.time = 30
    life.traces.job_changed(job_in(Phase.PUBLISHING))
    await life.settle()
    telling.cancel()
    stages = [span for span in life.kept.spans if "sdv.stage" in span.attributes]
    assert [(span.name, span.began, span.ended) for span in stages] == [
        ("load", 8, 10),
        ("still", 10, 20),
        ("video", 20, 30),
    ]
    (render,) = [span for span in life.kept.spans if span.name == "render"]
    assert {span.parent_id for span in stages} == {render.span_id}
    assert stages[0].attributes["sdv.deal_id"] == job_in(Phase.RENDERING).deal.deal_id


async def test_offers_that_are_not_taken_leave_no_trace_and_cost_no_reading():
    life = Life(Journal(), 0)
    for phase in (Phase.SEEN, Phase.REFUSED):
        life.traces.job_changed(job_in(phase))
    assert life.traces._waiting.empty()


async def test_a_telling_that_breaks_is_said_once_and_goes_on_with_the_next():
    life = Life(Journal(), 0.5)
    life.kept.broken = True
    await life.live(PAID[:4])
    life.kept.broken = False
    await life.live(PAID[4:])
    assert life.kept.names[-1] == "job"


async def test_more_than_can_wait_is_lost_and_no_job_waits_for_it():
    life = Life(Journal(), 0)
    for _ in range(MAX_WAITING + 50):
        life.traces.job_changed(job_in(Phase.RENDERING))
    assert life.traces._waiting.qsize() == MAX_WAITING


SPAN = JobSpan("render", Identity("m", "p", "j1").trace_id, 7, 5, 8.25, 30.5, {"sdv.job_id": "j1"})


@pytest.fixture
def header_file(tmp_path):
    file = tmp_path / "header"
    file.write_text("Authorization: Bearer hunter2\n")
    file.chmod(0o600)
    return file


def tracing(url: str, **settings) -> Tracing:
    config = make_config(traces={"enabled": True, "endpoint": url, **settings})
    return Tracing(config.traces, Journal(), market="m", provider="p", clock=FakeClock())


async def test_a_collector_gets_times_ids_attributes_and_the_header_of_the_file(header_file):
    with collector() as kept:
        told = tracing(kept.url, header_file=str(header_file))
        async with told.running():
            told._spans.put(SPAN)
            told._spans.put(JobSpan("job", SPAN.trace_id, 5, None, 1, 60, {}, "it failed"))
    render, job = kept.spans
    assert render.trace_id == SPAN.trace_id.to_bytes(16)
    assert render.span_id == (7).to_bytes(8)
    assert render.parent_span_id == job.span_id == (5).to_bytes(8)
    assert (render.start_time_unix_nano, render.end_time_unix_nano) == (8_250_000_000, 30_500_000_000)
    assert attributes(render) == {"sdv.job_id": "j1"}
    assert not job.parent_span_id
    assert (job.status.code, job.status.message) == (2, "it failed")
    assert render.status.code == 1
    assert attributes(kept.resources[0])["service.name"] == "sdv-node"
    assert kept.headers[0]["authorization"] == "Bearer hunter2"


async def test_the_same_share_of_jobs_is_told_in_every_life():
    jobs = [JobSpan("job", Identity("m", "p", f"j{number}").trace_id, 5, None, 1, 2) for number in range(200)]
    shares = []
    for _ in range(2):
        with collector() as kept:
            spans = OtlpSpans(kept.url, headers={}, sample_ratio=0.25, version="1")
            for job in jobs:
                spans.put(job)
            await asyncio.to_thread(spans.close)
        shares.append({span.trace_id for span in kept.spans})
    assert shares[0] == shares[1]
    assert 20 < len(shares[0]) < 80


async def test_a_redirect_is_not_followed(header_file):
    with collector() as kept, collector() as elsewhere:
        kept.status, kept.location = 307, elsewhere.url
        told = tracing(kept.url, header_file=str(header_file))
        async with told.running():
            told._spans.put(SPAN)
            await asyncio.to_thread(kept.wait_for_requests, 1)
    assert elsewhere.headers == []


async def test_a_collector_that_is_silent_holds_the_end_up_for_a_moment_only(monkeypatch):
    monkeypatch.setattr(otlp, "LAST_S", 0.2)
    spans = OtlpSpans("http://127.0.0.1:9/v1/traces", headers={}, sample_ratio=1, version="1")
    silent = threading.Event()
    real = spans._processor.shutdown
    monkeypatch.setattr(spans._processor, "shutdown", silent.wait)
    began = time.monotonic()
    spans.close()
    assert time.monotonic() - began < 30
    assert not silent.is_set()
    silent.set()
    real()


def test_without_the_extra_it_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(Misconfigured, match=r"sdv-node\[traces\]"):
        tracing("http://127.0.0.1:4318/v1/traces")


def test_without_being_enabled_nothing_is_built_and_the_observer_stays_what_it_was():
    told = Tracing(make_config().traces, Journal(), market="m", provider="p", clock=FakeClock())
    observer = object()
    assert told.beside(observer) is observer
    assert told.progress(print) is print


def test_enabled_the_observer_tells_both():
    seen = []

    class Observer:
        def job_changed(self, job, event):
            seen.append(job.phase)

    told = tracing("http://127.0.0.1:4318/v1/traces")
    told.beside(Observer()).job_changed(job_in(Phase.RENDERING), RenderStarted())
    told.progress(lambda job_id, progress: seen.append(job_id))("j1", Progress("still", 0, 1, 0))
    assert seen == [Phase.RENDERING, "j1"]
    assert told._jobs._waiting.qsize() == 1
    told._spans.close()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"enabled": True}, "endpoint is needed"),
        ({"enabled": True, "endpoint": "collector:4318"}, "begins with http"),
        ({"endpoint": "http://collector.example/v1/traces", "header_file": "h"}, "only over https"),
        ({"sample_ratio": 1.5}, "must be at most 1"),
    ],
)
def test_settings_that_cannot_be_followed_are_refused(settings, said):
    with pytest.raises(Misconfigured, match=said):
        make_config(traces=settings)


@pytest.mark.parametrize("text", ["Bearer hunter2", ": hunter2", "Bad Name: hunter2"])
def test_a_header_file_with_no_header_is_refused_without_its_text(header_file, text):
    header_file.write_text(text)
    with pytest.raises(Misconfigured, match="one line such as") as refused:
        tracing("http://127.0.0.1:4318/v1/traces", header_file=str(header_file))
    assert "hunter2" not in str(refused.value)


def test_a_header_file_that_others_can_read_is_refused(header_file):
    header_file.chmod(0o644)
    with pytest.raises(Misconfigured, match="chmod 600"):
        tracing("http://127.0.0.1:4318/v1/traces", header_file=str(header_file))

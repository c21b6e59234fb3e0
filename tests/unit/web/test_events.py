"""The live stream: what a reader gets, how many there may be, and what becomes of slow ones."""

import asyncio
import json
import re

import pytest

from node.web.events import EventStreams
from tests.fakes.http_reader import Reader, ask


def events(body: str, kind: str) -> list[dict]:
    return [json.loads(data) for data in re.findall(rf"event: {kind}\ndata: (.*)\n\n", body)]


async def test_a_reader_gets_the_state_first_and_then_each_change(app, source):
    reader = Reader(app, "/api/v1/events")
    await reader.until("event: status")
    job_id = source.add_job("a lake\nwith a line break")
    source.render(job_id, "video", 3)
    body = await reader.until('"step":3')
    assert events(body, "job")[-1]["prompt"] == "a lake\nwith a line break"
    assert reader.answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    reader.gone.set()
    await reader.exchange


async def test_a_reader_that_leaves_frees_its_place_and_its_subscription(app, source):
    reader = Reader(app, "/api/v1/events")
    await reader.until("event: status")
    assert (app.state.streams.clients, source.subscribers) == (1, 1)
    reader.gone.set()
    await reader.exchange
    assert (app.state.streams.clients, source.subscribers) == (0, 0)


async def test_however_many_read_a_change_is_asked_for_once(app, source):
    readers = [Reader(app, "/api/v1/events") for _ in range(5)]
    for reader in readers:
        await reader.until("event: status")
    assert source.subscribers == 1
    source.add_job("a lake")
    for reader in readers:
        await reader.until('"prompt":"a lake"')
    for reader in readers[1:]:
        reader.gone.set()
        await reader.exchange
    source.add_job("a hill")
    await readers[0].until('"prompt":"a hill"')
    readers[0].gone.set()
    await readers[0].exchange
    assert source.subscribers == 0


async def test_more_readers_than_allowed_are_refused_with_words(make_app):
    app = make_app(max_event_clients=2)
    readers = [Reader(app, "/api/v1/events") for _ in range(2)]
    for reader in readers:
        await reader.until("event: status")
    refused = await ask(app, "/api/v1/events")
    assert refused.status == 503
    assert "2 live views are open" in refused.json["error"]
    readers[0].gone.set()
    await readers[0].exchange
    again = Reader(app, "/api/v1/events")
    await again.until("event: status")
    for reader in (readers[1], again):
        reader.gone.set()
        await reader.exchange


async def test_a_reader_that_does_not_read_is_dropped_and_does_not_hold_up_others(app, source):
    slow, quick = Reader(app, "/api/v1/events"), Reader(app, "/api/v1/events")
    await slow.until("event: status")
    await quick.until("event: status")
    slow.read.clear()
    for number in range(400):
        source.set_status(price_wei=str(number))
        await asyncio.sleep(0)
    await quick.until('"price_wei":"399"')
    async with asyncio.timeout(60):
        await slow.exchange
    assert app.state.streams.clients == 1
    quick.gone.set()
    await quick.exchange
    assert source.subscribers == 0


async def test_a_stalled_reader_is_dropped_even_when_nothing_happens(source):
    streams = EventStreams(source, heartbeat_s=0.01, stalled_after_s=0.05)
    stalled = asyncio.Event()

    async def send(message):
        if message["type"] == "http.response.body":
            await stalled.wait()

    async def receive():
        await asyncio.Event().wait()

    async with asyncio.timeout(60):
        await streams.run(receive, send)
    assert (streams.clients, source.subscribers) == (0, 0)


async def test_silence_is_filled_with_beats_that_a_page_can_see(source):
    streams = EventStreams(source, heartbeat_s=0.01)
    beats = asyncio.Event()

    async def send(message):
        if b"event: beat" in message.get("body", b""):
            beats.set()

    async def receive():
        await asyncio.wait_for(beats.wait(), 60)
        return {"type": "http.disconnect"}

    await streams.run(receive, send)
    assert beats.is_set()


async def test_closing_ends_every_stream(app, source):
    readers = [Reader(app, "/api/v1/events") for _ in range(3)]
    for reader in readers:
        await reader.until("event: status")
    await app.state.streams.close()
    async with asyncio.timeout(60):
        await asyncio.gather(*(reader.exchange for reader in readers))
    assert source.subscribers == 0


async def test_the_stream_ends_when_the_source_ends(app, source):
    reader = Reader(app, "/api/v1/events")
    await reader.until("event: status")
    source.end_subscriptions()
    async with asyncio.timeout(60):
        await reader.exchange


async def test_a_bug_in_the_source_is_heard_and_not_swallowed(app, source):
    reader = Reader(app, "/api/v1/events")
    await reader.until("event: status")
    for queue in source._subscribers:
        queue.put_nowait({"kind": "no type"})
    async with asyncio.timeout(60):
        with pytest.raises(KeyError):
            await reader.exchange

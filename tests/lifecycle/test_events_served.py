"""Server-sent events over a real server: what arrives, who waits, and what is left when a client has gone."""

import asyncio
import threading

import pytest

from hansa.server.lifecycle import events
from hansa.server.lifecycle.events import Event, last_event_id
from hansa.server.lifecycle.waiting import Waiters
from lifecycle import streams
from lifecycle.event_sources import LONG, SILENCE, received, until

PARKED = 500


@pytest.fixture
async def served(tmp_path, settings, django_db_modify_db_settings):
    settings.ROOT_URLCONF = "lifecycle.streams"
    async with streams.serving(tmp_path) as served:
        yield served


@pytest.fixture
def offer(monkeypatch):
    def offer(source, heartbeat=LONG):
        monkeypatch.setattr(streams.Offer, "source", source, raising=False)
        monkeypatch.setattr(streams.Offer, "heartbeat", heartbeat)

    return offer


EVENTS = {"Accept": "text/event-stream"}


async def test_events_and_heartbeats_arrive(served, offer, source):
    offer(lambda request: source(), heartbeat=0.001)
    source.give(Event("a"))
    async with served.client() as client, client.stream("GET", "/events/", headers=EVENTS) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        text = response.aiter_bytes()
        wire = b""
        while wire.count(SILENCE) < 5:
            wire += await anext(text)
        source.give(Event("b"), None)
        wire += b"".join([piece async for piece in text])

    assert [data for _, data, _ in received(wire)] == ["a", "b"]
    assert wire.startswith(SILENCE)
    assert source.closed


async def test_who_comes_again_gets_what_it_has_not(served, offer):
    async def counted(last):
        for number in range(int(last or 0) + 1, 6):
            yield Event(number, id=str(number))

    offer(lambda request: counted(last_event_id(request)))
    async with served.client() as client:
        whole = await client.get("/events/", headers=EVENTS)
        rest = await client.get("/events/", headers={**EVENTS, "Last-Event-ID": "3"})
        linked = await client.get("/events/?last_event_id=4", headers=EVENTS)
        wrong = await client.get("/events/?last_event_id=%00", headers=EVENTS)

    assert [identity for _, _, identity in received(whole.content)] == ["1", "2", "3", "4", "5"]
    assert [identity for _, _, identity in received(rest.content)] == ["4", "5"]
    assert [identity for _, _, identity in received(linked.content)] == ["5"]
    assert wrong.status_code == 400
    assert "last_event_id" in wrong.json()


async def test_the_iterator_of_a_client_that_has_gone_is_closed_and_no_task_is_left(served, offer, source):
    offer(lambda request: source(), heartbeat=0.01)
    before = asyncio.all_tasks()
    reader, writer = await served.connect()
    await reader.readuntil(SILENCE)
    await until(lambda: source.begun)

    writer.close()
    await until(lambda: source.closed)
    await until(lambda: asyncio.all_tasks() == before)
    assert not events._open


async def test_hundreds_that_wait_are_woken_together_and_hold_no_thread(served, offer):
    bells = Waiters()
    bells.bind(asyncio.get_running_loop())

    async def rung(request):
        with bells.waiter("bell") as woken:
            await woken.wait()
            yield Event("ding")

    offer(rung)
    reader, writer = await served.connect()
    await reader.readuntil(SILENCE)
    threads = threading.active_count()
    lines = [(reader, writer)]
    for _ in range(PARKED - 1):
        lines.append(await served.connect())
    await until(lambda: len(bells._waiting["bell"]) == PARKED)

    assert threading.active_count() <= threads + 4, "pools may fill up; streams have none of their own"
    await asyncio.to_thread(bells.wake, ["bell"])
    async with asyncio.timeout(10):
        for reader, _ in lines:
            await reader.readuntil(b"data: ding\n\n")
    await until(lambda: not events._open)
    for _, writer in lines:
        writer.close()
    assert not bells._waiting


async def test_head_has_the_headers_and_begins_nothing(served, offer, source):
    offer(lambda request: source())
    async with served.client() as client:
        response = await client.head("/events/", headers=EVENTS)

    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.headers["Cache-Control"] == "no-cache"
    assert not source.begun


async def test_options_describes_the_view_as_json(served, offer, source):
    offer(lambda request: source())
    async with served.client() as client:
        response = await client.options("/events/", headers=EVENTS)

    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")
    assert response.json()["renders"] == ["text/event-stream", "application/json"]
    assert not source.begun


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/events/?unknown", 404, "not_found"),
        ("GET", "/refused/", 403, "permission_denied"),
        ("POST", "/events/", 405, "method_not_allowed"),
        ("GET", "/plain/", 406, "not_acceptable"),
    ],
)
async def test_a_refusal_before_the_stream_is_json(served, offer, source, method, path, status, code):
    offer(lambda request: source())
    async with served.client() as client:
        response = await client.request(method, path, headers=EVENTS)

    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["Content-Type"] == "application/json"
    assert not source.begun


async def test_who_asks_for_json_may_get_the_stream_by_format(served, offer, source):
    offer(lambda request: source())
    source.give(None)
    async with served.client() as client:
        response = await client.get("/events/?format=events", headers={"Accept": "*/*"})

    assert response.headers["Content-Type"] == "text/event-stream"

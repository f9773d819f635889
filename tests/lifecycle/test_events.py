"""Server-sent events: what goes over the wire, when iterators begin and end, and how streams fail."""

import asyncio
import contextvars
import gc
import json
import threading
import warnings

import msgspec
import pytest
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import NotAcceptable, ValidationError
from rest_framework.request import Request

from hansa.server.lifecycle import events
from hansa.server.lifecycle.errors import ConflictError
from hansa.server.lifecycle.events import Event, EventStream, end_all, last_event_id
from hansa.server.lifecycle.waiting import Waiters
from lifecycle import streams

SILENCE = b":\n\n"
LONG = 3600.0
PARKED = 500


def received(text):
    """What a client makes of the bytes: the algorithm of the specification, line by line."""
    found, data, kind, last = [], [], "", ""
    for line in text.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                found.append((kind or "message", "\n".join(data), last))
            data, kind = [], ""
        elif name == "data":
            data.append(value)
        elif name == "event":
            kind = value
        elif name == "id":
            last = value
    return found


async def until(condition):
    """Wait for what nobody is told of."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.001)


class Source:
    """An iterator that notes what happens to it; `give` feeds it."""

    def __init__(self):
        self.queue = asyncio.Queue()
        self.begun = self.closed = False
        self.steps = 0

    def give(self, *events):
        for event in events:
            self.queue.put_nowait(event)

    async def __call__(self, request=None):
        self.begun = True
        try:
            while True:
                self.steps += 1
                given = await self.queue.get()
                if isinstance(given, BaseException):
                    raise given
                if given is None:
                    return
                yield given
        finally:
            await asyncio.sleep(0)
            self.closed = True


@pytest.fixture
def source():
    return Source()


# Events


class Point(msgspec.Struct):
    x: int


@pytest.mark.parametrize(
    ("event", "wire"),
    [
        (Event("hello"), b"data: hello\n\n"),
        (Event(""), b"data: \n\n"),
        (Event("a\nb\r\nc\rd\n"), b"data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"),
        (Event("no line ends here: \x0b\x0c\x85\u2028"), "data: no line ends here: \x0b\x0c\x85\u2028\n\n".encode()),
        (Event(Point(3)), b'data: {"x":3}\n\n'),
        (Event({"text": "a\nb"}), b'data: {"text":"a\\nb"}\n\n'),
        (Event(None), b"data: null\n\n"),
        (Event(1, event="tick", id="é7", retry=500), "event: tick\nid: é7\nretry: 500\ndata: 1\n\n".encode()),
        (Event(1, id=""), b"id: \ndata: 1\n\n"),
    ],
)
def test_an_event_is_written_in_lines(event, wire):
    assert event.encode() == wire


one_line = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\n\0"))


@given(data=st.text(st.characters(exclude_categories=("Cs",))), kind=one_line, identity=one_line)
def test_a_client_reads_what_was_said(data, kind, identity):
    wire = SILENCE + Event(data, event=kind, id=identity).encode() + SILENCE

    lines = data.replace("\r\n", "\n").replace("\r", "\n")
    assert received(wire) == [(kind or "message", lines, identity)]


@pytest.mark.parametrize("name", ["event", "id"])
@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\0b"])
def test_nothing_breaks_out_of_its_line(name, text):
    with pytest.raises(ValueError, match=rf"The {name} of an event is one line: .* Leave it out"):
        Event("x", **{name: text})


def test_nobody_comes_again_before_it_went():
    with pytest.raises(ValueError, match="retry is -1"):
        Event("x", retry=-1)


# Streams


async def test_something_is_sent_at_once_and_the_iterator_begins_after_it(source):
    stream = aiter(EventStream(source(), heartbeat=LONG))

    assert await anext(stream) == SILENCE
    assert not source.begun
    source.give(Event("a"), Event("b"), None)
    assert [frame async for frame in stream] == [b"data: a\n\n", b"data: b\n\n"]
    assert source.closed


async def test_a_silent_stream_beats_and_its_step_goes_on(source):
    stream = aiter(EventStream(source(), heartbeat=0.001))
    assert [await anext(stream) for _ in range(5)] == [SILENCE] * 5

    source.give(Event("late"), None)
    frames = [frame async for frame in stream]

    assert [frame for frame in frames if frame != SILENCE] == [b"data: late\n\n"]
    assert source.steps == 2, "one for the event, one for the end, none for the heartbeats"


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_heart_that_cannot_beat_is_refused(seconds, source):
    with pytest.raises(ValueError, match=r"heartbeat is .* seconds, above 0"):
        EventStream(source(), heartbeat=seconds)


def test_no_proxy_holds_it_back(source):
    response = EventStream(source(), headers={"X-Of-The-View": "1"})

    assert dict(response.headers) == {
        "Content-Type": "text/event-stream",
        "Cache-Control": "no-cache",
        "X-Accel-Buffering": "no",
        "X-Of-The-View": "1",
    }


async def test_all_steps_share_the_context_of_their_request():
    seen = contextvars.ContextVar("seen", default="nothing")
    seen.set("the request")
    ends = []

    async def steps():
        yield Event(seen.get())
        seen.set("the first step")
        try:
            yield Event("")
            yield Event(seen.get())
        finally:
            ends.append(seen.get())

    frames = [frame async for frame in EventStream(steps())]

    assert [frames[1], frames[3]] == [b"data: the request\n\n", b"data: the first step\n\n"]
    assert ends == ["the first step"]
    assert seen.get() == "the request"


async def test_whoever_is_cancelled_closes_the_iterator(source):
    before = asyncio.all_tasks()
    response = EventStream(source(), heartbeat=LONG)

    async def send():
        async for _ in response:
            pass

    sending = asyncio.create_task(send())
    await until(lambda: source.steps)
    sending.cancel()
    await asyncio.wait([sending])

    assert source.closed
    response.close()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    assert not events._open


async def test_a_response_that_is_closed_from_another_thread_closes_the_iterator(source):
    """As Django's own handler does."""
    response = EventStream(source(), heartbeat=0.001)
    stream = aiter(response)
    await anext(stream)
    await anext(stream)
    assert source.begun

    thread = threading.Thread(target=response.close)
    thread.start()
    thread.join()

    await until(lambda: source.closed)
    assert [frame async for frame in stream] == []


async def test_an_iterator_that_was_never_begun_is_left_alone(source):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        response = EventStream(source())
        response.close()
        del response
        gc.collect()

    assert not source.begun
    assert not events._open


async def test_a_server_that_ends_ends_its_streams(source):
    parked, busy = (aiter(EventStream(source(), heartbeat=LONG)) for _ in range(2))
    await anext(busy)
    assert await anext(parked) == SILENCE
    waiting = asyncio.create_task(anext(parked))
    await until(lambda: source.steps)

    end_all()

    with pytest.raises(StopAsyncIteration):
        await waiting
    assert source.closed
    await asyncio.sleep(0)
    assert [frame async for frame in busy] == []
    assert not events._open


async def test_an_iterator_that_fails_while_it_is_closed_fails_in_the_log(caplog):
    async def steps():
        try:
            yield Event("x")
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("no way out")

    stream = aiter(EventStream(steps(), heartbeat=LONG))
    await anext(stream)
    await anext(stream)
    await stream.aclose()

    assert "no way out" in caplog.text


async def test_a_middleware_may_wrap_the_content(source):
    response = EventStream(source(), heartbeat=LONG)
    inner = response.streaming_content

    async def shouted():
        async for frame in inner:
            yield frame.upper()

    response.streaming_content = shouted()
    source.give(Event("a"), None)
    assert [frame async for frame in response] == [SILENCE, b"DATA: A\n\n"]


# Failures


async def failed(error, source):
    source.give(Event("fine"), error)
    frames = [frame async for frame in EventStream(source(), heartbeat=LONG)]
    assert source.closed
    assert frames[:2] == [SILENCE, b"data: fine\n\n"]
    ((kind, data, _),) = received(b"".join(frames[2:]))
    assert kind == "error"
    return json.loads(data)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConflictError("It is over.", "round_closed"), {"detail": "It is over.", "code": "round_closed"}),
        (NotAcceptable("Not like this."), {"detail": "Not like this.", "code": "not_acceptable"}),
        (ValidationError({"since": ["Too old."]}), {"detail": {"since": ["Too old."]}, "code": "invalid"}),
    ],
)
async def test_a_refusal_is_the_last_event(error, told, source):
    assert await failed(error, source) == told


async def test_a_mistake_of_ours_is_a_sentence_and_its_details_are_in_the_log(source, caplog):
    told = await failed(RuntimeError("secret"), source)

    assert told["code"] == "server_error"
    assert "secret" not in str(told)
    assert "RuntimeError: secret" in caplog.text


async def test_what_is_no_event_is_a_mistake_of_ours(source, caplog):
    assert (await failed("text", source))["code"] == "server_error"
    assert "gave a str; it must give Event" in caplog.text


# Last-Event-ID


def asked(url="/", **headers):
    return RequestFactory().get(url, headers=headers)


@pytest.mark.parametrize(
    ("request_", "found"),
    [
        (asked(), None),
        (asked(**{"Last-Event-ID": "7"}), "7"),
        (asked("/?last_event_id=8"), "8"),
        (asked("/?last_event_id=8", **{"Last-Event-ID": "7"}), "7"),
        (asked("/?last_event_id=8", **{"Last-Event-ID": ""}), "8"),
        (asked("/?last_event_id=", **{"Last-Event-ID": ""}), None),
        (asked(**{"Last-Event-ID": "é".encode().decode("latin-1")}), "é"),
        (asked("/?last_event_id=%C3%A9"), "é"),
        (Request(asked("/?last_event_id=8")), "8"),
        (asked(**{"Last-Event-ID": "x" * 1024}), "x" * 1024),
    ],
)
def test_who_comes_again_says_what_it_has(request_, found):
    assert last_event_id(request_) == found


@pytest.mark.parametrize(
    ("request_", "problem"),
    [
        (asked("/?last_event_id=a%00b"), "a line break or a NUL"),
        (asked("/?last_event_id=a%0Ab"), "a line break or a NUL"),
        (asked("/?last_event_id=" + "x" * 1025), "1,025 characters; at most 1,024"),
        (asked(**{"Last-Event-ID": "\xff"}), "not UTF-8"),
    ],
)
def test_what_is_no_id_is_refused(request_, problem):
    with pytest.raises(ValidationError) as refusal:
        last_event_id(request_)
    assert problem in refusal.value.detail["last_event_id"][0]


# Served


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

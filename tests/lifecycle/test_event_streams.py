"""Streams of server-sent events: when their iterators begin and end, and how they fail."""

import asyncio
import contextvars
import gc
import json
import threading
import warnings

import pytest
from rest_framework.exceptions import NotAcceptable, ValidationError

from hansa.server.lifecycle import events
from hansa.server.lifecycle.errors import ConflictError
from hansa.server.lifecycle.events import Event, EventStream, end_all
from lifecycle.event_sources import LONG, SILENCE, received, until


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

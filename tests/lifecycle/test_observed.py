"""Requests that are observed: each has an id and a step in a trace, told in its answer and its log, and one report."""

import asyncio
import re
from uuid import UUID

import pytest
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

from hansa.server.lifecycle import tracing
from hansa.server.lifecycle.bridge import work
from hansa.server.lifecycle.context import note, noted
from hansa.server.lifecycle.observing import GONE, Observed
from support.scopes import http_scope

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def observe(serve):
    """`observe(path(…), …)`: a site whose ended requests are kept in `site.ended`."""

    def site(*patterns, **settings):
        made = serve(*patterns, **settings)
        made.ended = []
        made.handler = Observed(made.handler, lambda exchange: made.ended.append((exchange, dict(noted()))))
        return made

    return site


async def hello(request, **kwargs):
    return HttpResponse(b"hello")


def told(answered, name):
    """All values of a header of the answer."""
    return [value for known, value in answered.headers.items() if known.lower() == name]


async def test_a_request_without_an_id_gets_one(observe):
    site = observe(path("", hello))

    one, two = await site.ask(), await site.ask()

    ids = [*told(one, "x-request-id"), *told(two, "x-request-id")]
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in ids)
    assert len(set(ids)) == 2
    assert [context["request_id"] for _, context in site.ended] == ids


@pytest.mark.parametrize("sane", ["a", "3e8f-11", "Root=1-67891233-abcdef012345678912345678", "x" * 128, "a/b+c==:@_."])
async def test_a_sane_id_of_the_callers_is_taken(observe, sane):
    site = observe(path("", hello))

    assert told(await site.ask(headers={"X-Request-ID": sane}), "x-request-id") == [sane]


@pytest.mark.parametrize("insane", ["", "x" * 129, "a b", 'a"b', "a\r\nSet-Cookie: x", "a\x1b[2J", "ä", "a,b", "<b>"])
async def test_any_other_is_not(observe, insane):
    site = observe(path("", hello))

    assert re.fullmatch("[0-9a-f]{16}", *told(await site.ask(headers={"X-Request-ID": insane}), "x-request-id"))


async def test_what_the_caller_asks_for_is_a_step_of_the_callers_trace(observe):
    seen = []

    async def view(request):
        seen.append(tracing.passed_on())
        return HttpResponse()

    site = observe(path("", view))
    await site.ask(headers={"traceparent": TRACEPARENT, "tracestate": "rojo=1"})
    await site.ask(headers={"traceparent": "00-nonsense-01", "tracestate": "rojo=1"})

    _, context = site.ended[0]
    trace, theirs = TRACEPARENT.split("-")[1:3]
    assert seen[0]["traceparent"] == f"00-{trace}-{context['span_id']}-01"
    assert context["trace_id"] == trace
    assert context["span_id"] != theirs
    assert seen[0]["tracestate"] == "rojo=1"
    assert trace not in seen[1]["traceparent"], "malformed: a trace of its own"
    assert "tracestate" not in seen[1]
    assert tracing.passed_on() == {}, "nothing is left behind"


async def test_what_has_ended_is_told_by_its_route_and_never_by_what_was_typed(observe):
    site = observe(path("things/<uuid:thing_id>/<int:number>/", hello))
    thing = UUID(int=7)

    await site.ask("POST", f"/things/{thing}/3/?secret=1", b"12345")
    await site.ask("GET", "/secret/")

    (found, context), (missing, _) = site.ended
    assert (found.method, found.route, found.status) == ("POST", "things/<uuid:thing_id>/<int:number>/", 200)
    assert (found.received, found.sent) == (5, 5)
    assert 0 < found.seconds < 60
    assert context["thing"] == thing
    assert "number" not in context
    assert (missing.route, missing.status) == ("unknown", 404)


async def test_a_streamed_answer_is_counted_to_its_last_byte(observe):
    async def pieces():
        for _ in range(3):
            yield b"x" * 1000

    async def view(request):
        return StreamingHttpResponse(pieces())

    site = observe(path("", view))
    await site.ask()

    assert site.ended[0][0].sent == 3000


async def test_an_error_of_ours_has_an_id_by_which_the_log_is_searched(observe, caplog):
    async def view(request):
        raise ZeroDivisionError

    site = observe(path("", view))
    answered = await site.ask()

    assert (answered.status, site.ended[0][0].status) == (500, 500)
    assert told(answered, "x-request-id") == [site.ended[0][1]["request_id"]]


async def test_a_client_that_leaves_before_its_answer_is_reported_too(observe):
    begun = asyncio.Event()

    async def view(request):
        begun.set()
        await asyncio.Event().wait()

    site = observe(path("", view), LIFECYCLE={"WATCH_AFTER": 0.001})
    messages = asyncio.Queue()
    messages.put_nowait({"type": "http.request", "body": b"", "more_body": False})

    async def send(message):
        raise AssertionError("nobody is there to be answered")

    asking = asyncio.create_task(site.handler(http_scope("GET", "/", {"host": "testserver"}), messages.get, send))
    await begun.wait()
    messages.put_nowait({"type": "http.disconnect"})
    await asyncio.wait_for(asyncio.wait([asking]), 10)

    assert site.ended[0][0].status == GONE


async def test_what_is_noted_on_another_thread_is_the_requests(observe):
    async def view(request):
        await work(note, training="t")
        return HttpResponse()

    site = observe(path("", view))
    await site.ask()

    assert site.ended[0][1]["training"] == "t"


async def test_requests_beside_each_other_do_not_mix(observe):
    all_in = asyncio.Barrier(8)

    async def view(request, number):
        note(number=number)
        await all_in.wait()
        return HttpResponse(str(noted()["number"]))

    site = observe(path("<int:number>/", view))
    answers = await asyncio.gather(*(site.ask("GET", f"/{number}/") for number in range(8)))

    assert [int(each.body) for each in answers] == list(range(8))
    assert sorted(context["number"] for _, context in site.ended) == list(range(8))

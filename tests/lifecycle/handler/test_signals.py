"""Django's request signals: once each, whatever becomes of the request, and on a thread for receivers that query."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.signals import got_request_exception, request_finished, request_started
from django.db import connection
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from hansa.server.lifecycle.asgi import Handler
from hansa.server.lifecycle.views import APIView
from lifecycle.handler.access import Never
from lifecycle.handler.exchanges import Ask, Exchange, ask_asgi
from lifecycle.handler.middlewares import IN_PLACE


class Api(APIView):
    authentication_classes = ()
    permission_classes: tuple[Any, ...] = ()
    throttle_classes = ()
    renderer_classes = (JSONRenderer,)

    async def get(self, request: Any) -> Response:
        return Response("good")

    async def post(self, request: Any) -> Response:
        return Response(request.data)


class Closed(Api):
    permission_classes = (Never,)


class Traces:
    """What views and receivers leave for their test."""

    seen: list[Any]
    parked: asyncio.Event


@csrf_exempt
async def parked(request: HttpRequest) -> HttpResponse:
    try:
        Traces.parked.set()
        await asyncio.Event().wait()
    finally:
        Traces.seen.append("view left")
    raise AssertionError


def broken(request: HttpRequest) -> HttpResponse:
    raise ValueError("broken")


def pieces(request: HttpRequest) -> StreamingHttpResponse:
    def read() -> Iterator[str]:
        try:
            yield "1"
            yield "2"
        finally:
            Traces.seen.append(threading.get_ident())

    return StreamingHttpResponse(read())


def endless_plain(request: HttpRequest) -> StreamingHttpResponse:
    def read() -> Iterator[str]:
        try:
            while True:
                yield "1"
        finally:
            Traces.seen.append(threading.get_ident())

    return StreamingHttpResponse(read())


async def endless(request: HttpRequest) -> StreamingHttpResponse:
    async def read() -> AsyncIterator[bytes]:
        try:
            yield b"1"
            await asyncio.Event().wait()
        finally:
            Traces.seen.append("stream closed")

    return StreamingHttpResponse(read())


def breaking(request: HttpRequest) -> StreamingHttpResponse:
    def read() -> Iterator[str]:
        yield "1"
        raise ValueError("in the middle")

    return StreamingHttpResponse(read())


def queries(request: HttpRequest) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    Traces.seen.append((threading.get_ident(), connection.connection, len(connection.queries_log)))
    connection.queries_log.append({"sql": "of an earlier request"})
    connection.close_at = time.monotonic() - 1
    return HttpResponse("asked")


class CountedCache(LocMemCache):
    """Says when it is closed."""

    def close(self, **kwargs: Any) -> None:
        Traces.seen.append("cache closed")


def caching(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(caches["counted"].get("nothing")))


async def caching_awaited(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(await caches["counted"].aget("nothing")))


URLS = ModuleType("signals")
vars(URLS)["urlpatterns"] = [
    path("plain/", lambda request: HttpResponse("good")),
    path("api/", Api.as_view()),
    path("closed/", Closed.as_view()),
    path("parked/", parked),
    path("broken/", broken),
    path("pieces/", pieces),
    path("endless/", endless),
    path("endless-plain/", endless_plain),
    path("breaking/", breaking),
    path("queries/", queries),
    path("caching/", caching),
    path("caching-awaited/", caching_awaited),
]

Outcome = Callable[[Handler], Awaitable[Any]]


def answered(ask: Ask, status: int) -> Outcome:
    async def outcome(handler: Handler) -> None:
        assert (await ask_asgi(handler, ask)).status == status

    return outcome


async def not_utf_8(handler: Handler) -> None:
    exchange = Exchange(handler, Ask("GET", "/plain/"), query_string=b"\xff", headers=[(b"host", b"testserver")])
    exchange.give(b"", last=True)
    assert (await exchange.answer()).status in (200, 400)


async def gone_while_parked(handler: Handler) -> None:
    exchange = Exchange(handler, Ask("GET", "/parked/"))
    exchange.give(b"", last=True)
    await Traces.parked.wait()
    exchange.leave()
    await exchange.ended()
    assert exchange.sent == []


async def cancelled_by_the_server(handler: Handler) -> None:
    exchange = Exchange(handler, Ask("GET", "/parked/"))
    exchange.give(b"", last=True)
    await Traces.parked.wait()
    exchange.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange.ended()


async def gone_in_the_body(handler: Handler) -> None:
    exchange = Exchange(handler, Ask("POST", "/api/", size=100))
    exchange.leave()
    await exchange.ended()


async def gone_while_streaming(handler: Handler) -> None:
    exchange = Exchange(handler, Ask("GET", "/endless/"))
    exchange.give(b"", last=True)
    await exchange.until_sent(2)
    exchange.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange.ended()


async def gone_after_its_long_body(handler: Handler) -> None:
    exchange = Exchange(handler, Ask("POST", "/parked/", size=2))
    exchange.give(b"1")
    await asyncio.sleep(0.01)  # longer than WATCH_AFTER: the body is still on its way when the handler first looks
    exchange.give(b"2", last=True)
    await Traces.parked.wait()
    exchange.leave()
    await exchange.ended()
    assert exchange.sent == []


async def broken_while_streaming(handler: Handler) -> None:
    exchange = Exchange(handler, Ask("GET", "/breaking/"))
    exchange.give(b"", last=True)
    with pytest.raises(ValueError, match="in the middle"):
        await exchange.ended()


OUTCOMES: dict[str, Outcome] = {
    "a plain view answers": answered(Ask("GET", "/plain/"), 200),
    "an awaited view answers": answered(Ask("GET", "/api/"), 200),
    "a body is read": answered(Ask("POST", "/api/", {"Content-Type": "application/json"}, b"{}"), 200),
    "a policy refuses": answered(Ask("GET", "/closed/"), 403),
    "there is no such page": answered(Ask("GET", "/nowhere/"), 404),
    "the host is unknown": answered(Ask("GET", "/plain/", {"Host": "elsewhere"}), 400),
    "the body is too large for a plain view": answered(Ask("POST", "/plain/", {}, b"1" * 101), 413),
    "the body is too large for an awaited view": answered(Ask("POST", "/api/", {}, b"1" * 101), 413),
    "the query is not UTF-8": not_utf_8,
    "the view fails": answered(Ask("GET", "/broken/"), 500),
    "the answer is streamed": answered(Ask("GET", "/pieces/"), 200),
    "the answer to a HEAD would be streamed": answered(Ask("HEAD", "/pieces/"), 200),
    "the client goes while the view waits": gone_while_parked,
    "the server cancels": cancelled_by_the_server,
    "the client goes in its body": gone_in_the_body,
    "the client goes after a body that took long": gone_after_its_long_body,
    "the client goes in the answer": gone_while_streaming,
    "the answer breaks off": broken_while_streaming,
}


@pytest.fixture(autouse=True)
def traces() -> list[Any]:
    Traces.seen, Traces.parked = [], asyncio.Event()
    return Traces.seen


@pytest.fixture
def listen() -> Iterator[Callable[..., None]]:
    """Connect a receiver until the end of the test."""
    connected: list[Any] = []

    def connect(signal: Any, receiver: Any, sender: Any = None) -> None:
        signal.connect(receiver, sender=sender, weak=False)
        connected.append((signal, receiver, sender))

    yield connect
    for signal, receiver, sender in connected:
        assert signal.disconnect(receiver, sender=sender)


@pytest.mark.parametrize("kinds", ["plain", "awaited", "plain and awaited"])
@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_each_signal_is_sent_once(serve: Any, listen: Any, kinds: str, outcome: str) -> None:
    heard: list[str] = []

    def plain(signal: Any, sender: Any, **_: Any) -> None:
        assert sender is Handler
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        heard.append(f"plain {'started' if signal is request_started else 'finished'}")

    async def awaited(signal: Any, sender: Any, **_: Any) -> None:
        assert sender is Handler
        heard.append(f"awaited {'started' if signal is request_started else 'finished'}")

    receivers = {"plain": plain, "awaited": awaited}
    chosen = [name for name in receivers if name in kinds]
    handler = serve(URLS, middleware=IN_PLACE, BODY_LIMIT=100, WATCH_AFTER=0.001)
    for name in chosen:
        for signal in (request_started, request_finished):
            listen(signal, receivers[name])
            listen(signal, receivers[name], sender=Handler)

    await OUTCOMES[outcome](handler)

    once = [f"{name} {what}" for what in ("started", "finished") for name in chosen]
    assert sorted(heard) == sorted(once * 2)
    assert heard[0].endswith("started")
    assert heard[-1].endswith("finished")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("target", ["/plain/", "/api/", "/closed/", "/pieces/"])
async def test_receivers_may_query(serve: Any, listen: Any, traces: list[Any], target: str) -> None:
    def receiver(**_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 41 + 1")
            traces.append(cursor.fetchone()[0])
        connection.close()

    for signal in (request_started, request_finished):
        listen(signal, receiver)

    await ask_asgi(serve(URLS), Ask("GET", target))

    assert traces.count(42) == 2


async def test_an_error_is_announced_once_with_its_request(serve: Any, listen: Any) -> None:
    heard: list[tuple[Any, str]] = []
    listen(got_request_exception, lambda sender, request, **_: heard.append((sender, request.path)))

    await ask_asgi(serve(URLS, middleware=IN_PLACE), Ask("GET", "/broken/"))

    assert [where for _, where in heard] == ["/broken/"]


@pytest.mark.django_db(transaction=True)
async def test_each_request_begins_on_its_thread_with_no_old_connection_and_no_old_queries(
    serve: Any, traces: list[Any]
) -> None:
    handler = serve(URLS, THREADS=1)
    for _ in range(3):
        assert (await ask_asgi(handler, Ask("GET", "/queries/"))).status == 200

    idents, connections, logged = zip(*traces, strict=True)
    assert len(set(idents)) == 1
    assert len({id(each) for each in connections}) == 3
    assert set(logged) == {0}
    handler.lender.shutdown()


@pytest.mark.parametrize("target", ["/caching/", "/caching-awaited/"])
async def test_caches_that_were_used_are_closed(serve: Any, django_site: Any, traces: list[Any], target: str) -> None:
    counted = {"BACKEND": f"{__name__}.CountedCache", "LOCATION": "counted"}
    django_site.CACHES = {**django_site.CACHES, "counted": counted}

    await ask_asgi(serve(URLS), Ask("GET", target))

    assert traces == ["cache closed"]


async def test_a_stream_of_plain_code_is_closed_where_it_ran(serve: Any, traces: list[Any]) -> None:
    exchange = Exchange(serve(URLS), Ask("GET", "/endless-plain/"))
    exchange.give(b"", last=True)
    await exchange.until_sent(3)
    exchange.leave()
    await exchange.ended()

    assert len(traces) == 1
    assert traces[0] != threading.get_ident()


@pytest.mark.parametrize("outcome", [gone_while_parked, cancelled_by_the_server, gone_while_streaming])
async def test_code_that_was_waiting_for_a_client_that_left_cleans_up(
    serve: Any, traces: list[Any], outcome: Outcome
) -> None:
    await outcome(serve(URLS, middleware=IN_PLACE, WATCH_AFTER=0.001))

    assert traces in (["view left"], ["stream closed"])

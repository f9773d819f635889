"""Threads under the handler: few, one per request at a time, none for who waits."""

import asyncio
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse
from django.urls import path
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import APIView as DRFView

from hansa.server.lifecycle import threads
from hansa.server.lifecycle.views import APIView
from lifecycle.handler.exchanges import Ask, Exchange, ask_asgi
from lifecycle.handler.middlewares import IN_PLACE, STOCK

HERE = __name__
PATIENCE = 60
THREADS = 4


class Meeting:
    """Where the requests of one test meet."""

    barrier: threading.Barrier
    gate: threading.Event
    inside: threading.Event
    opened: asyncio.Event
    parked: asyncio.Semaphore
    idents: list[int]


@pytest.fixture(autouse=True)
def _meeting() -> None:
    Meeting.barrier = threading.Barrier(THREADS)
    Meeting.gate = threading.Event()
    Meeting.inside = threading.Event()
    Meeting.opened = asyncio.Event()
    Meeting.parked = asyncio.Semaphore(0)
    Meeting.idents = []


def note() -> None:
    Meeting.idents.append(threading.get_ident())


def meet() -> str:
    """Return when as many are inside as there are threads; fails if fewer could be."""
    note()
    Meeting.barrier.wait(PATIENCE)
    return "met"


def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse(meet())


class Open:
    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    renderer_classes = (JSONRenderer,)


class OfDRF(Open, DRFView):
    def get(self, request: Any) -> Response:
        return Response(meet())


class Plain(Open, APIView):
    def get(self, request: Any) -> Response:
        return Response(meet())


class Mixed(Plain):
    async def post(self, request: Any) -> Response:
        return Response()


class Awaited(Open, APIView):
    async def get(self, request: Any) -> Response:
        return Response(await self.hop(meet))


class NotingAuthentication(BaseAuthentication):
    def authenticate(self, request: Any) -> None:
        note()


class NotingPermission(BasePermission):
    def has_permission(self, request: Any, view: Any) -> bool:
        note()
        return True


class NotingRenderer(JSONRenderer):
    def render(self, *args: Any, **kwargs: Any) -> Any:
        note()
        return super().render(*args, **kwargs)


class Everywhere(APIView):
    """Plain code at every step."""

    authentication_classes = (NotingAuthentication,)
    permission_classes = (NotingPermission,)
    throttle_classes = ()
    renderer_classes = (NotingRenderer,)

    async def get(self, request: Any) -> Response:
        await self.hop(note)
        await sync_to_async(note)()
        return Response("done")

    def finalize_response(self, *args: Any, **kwargs: Any) -> Any:
        note()
        return super().finalize_response(*args, **kwargs)


def notes(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """A plain middleware around everything."""

    def middleware(request: HttpRequest) -> HttpResponse:
        note()
        response = get_response(request)
        note()
        return response

    return middleware


async def parks(request: HttpRequest) -> HttpResponse:
    if "query" in request.GET:
        await threads.hop(note)
        await threads.release()
    Meeting.parked.release()
    await Meeting.opened.wait()
    return HttpResponse("woken")


def held(request: HttpRequest) -> HttpResponse:
    note()
    Meeting.inside.set()
    Meeting.gate.wait(PATIENCE)
    return HttpResponse("let go")


def quick(request: HttpRequest) -> HttpResponse:
    note()
    return HttpResponse("quick")


URLS = ModuleType("threads")
vars(URLS)["urlpatterns"] = [
    path("plain/", plain),
    path("of-drf/", OfDRF.as_view()),
    path("plain-api/", Plain.as_view()),
    path("mixed/", Mixed.as_view()),
    path("awaited/", Awaited.as_view()),
    path("everywhere/", Everywhere.as_view()),
    path("parks/", parks),
    path("held/", held),
    path("quick/", quick),
]


@pytest.mark.parametrize("middleware", [(), STOCK, IN_PLACE, (f"{HERE}.notes",)])
@pytest.mark.parametrize("target", ["/plain/", "/of-drf/", "/plain-api/", "/mixed/", "/awaited/"])
async def test_200_requests_share_all_the_threads_and_no_more(
    serve: Any, target: str, middleware: tuple[str, ...]
) -> None:
    handler = serve(URLS, middleware=middleware, THREADS=THREADS)

    answers = await asyncio.gather(*(ask_asgi(handler, Ask("GET", target)) for _ in range(200)))

    assert {answer.status for answer in answers} == {200}
    assert len(set(Meeting.idents)) == THREADS
    assert threading.get_ident() not in Meeting.idents
    handler.lender.shutdown()


@pytest.mark.parametrize("middleware", [(), (*STOCK, f"{HERE}.notes"), (f"{HERE}.notes", *IN_PLACE)])
async def test_a_request_stays_on_one_thread(serve: Any, middleware: tuple[str, ...]) -> None:
    handler = serve(URLS, middleware=middleware, THREADS=THREADS)
    for _ in range(3):
        Meeting.idents.clear()
        assert (await ask_asgi(handler, Ask("GET", "/everywhere/"))).body == b'"done"'
        assert len(Meeting.idents) >= 5
        assert len(set(Meeting.idents)) == 1
    handler.lender.shutdown()


@pytest.mark.parametrize(
    ("target", "middleware"),
    [("/parks/", ()), ("/parks/", IN_PLACE[1:-1]), *(("/parks/?query", each) for each in ((), STOCK, IN_PLACE))],
)
async def test_who_waits_holds_no_thread(serve: Any, target: str, middleware: tuple[str, ...]) -> None:
    handler = serve(URLS, middleware=middleware, THREADS=1)
    waiting = [asyncio.create_task(ask_asgi(handler, Ask("GET", target))) for _ in range(50)]
    async with asyncio.timeout(PATIENCE):
        for _ in waiting:
            await Meeting.parked.acquire()

    assert (await ask_asgi(handler, Ask("GET", "/quick/"))).body == b"quick"

    Meeting.opened.set()
    assert {answer.body for answer in await asyncio.gather(*waiting)} == {b"woken"}
    handler.lender.shutdown()


async def inside() -> None:
    assert await asyncio.to_thread(Meeting.inside.wait, PATIENCE)


async def test_who_is_cancelled_while_waiting_for_a_thread_gives_up_the_place(serve: Any) -> None:
    handler = serve(URLS, THREADS=1)
    first = asyncio.create_task(ask_asgi(handler, Ask("GET", "/held/")))
    await inside()
    lost = [Exchange(handler, Ask("GET", "/plain/")) for _ in range(20)]  # nobody would ever meet them
    await asyncio.sleep(0)
    last = asyncio.create_task(ask_asgi(handler, Ask("GET", "/quick/")))
    for each in lost:
        each.give(b"", last=True)
        each.task.cancel()
    results = await asyncio.gather(*(each.task for each in lost), return_exceptions=True)

    Meeting.gate.set()

    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    assert (await last).body == b"quick"
    assert (await first).body == b"let go"
    assert len(Meeting.idents) == 2
    handler.lender.shutdown()


async def give_up(gone: Exchange, way: str) -> None:
    if way == "the client leaves":
        gone.leave()
        await gone.ended()
    else:
        gone.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone.ended()


@pytest.mark.parametrize("way", ["the client leaves", "the server cancels"])
async def test_a_call_that_nobody_waits_for_any_more_ends_and_stands_in_nobodys_way(serve: Any, way: str) -> None:
    handler = serve(URLS, THREADS=2, WATCH_AFTER=0.001)
    gone = Exchange(handler, Ask("GET", "/held/"))
    gone.give(b"", last=True)
    await inside()
    try:
        async with asyncio.timeout(PATIENCE):
            await give_up(gone, way)
            for _ in range(5):
                assert (await ask_asgi(handler, Ask("GET", "/quick/"))).body == b"quick"
    finally:
        Meeting.gate.set()

    assert gone.sent == []
    answers = await asyncio.gather(*(ask_asgi(handler, Ask("GET", "/quick/")) for _ in range(20)))
    assert {answer.body for answer in answers} == {b"quick"}
    handler.lender.shutdown()


@pytest.mark.parametrize("step", ["reset_queries", "close_old_connections"])
async def test_trouble_with_a_connection_loses_no_thread(
    serve: Any, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trouble() -> None:
        raise OSError("the database has gone")

    monkeypatch.setattr(threads, step, trouble)
    handler = serve(URLS, THREADS=1)
    for _ in range(3):
        assert (await ask_asgi(handler, Ask("GET", "/quick/"))).body == b"quick"
    assert len(set(Meeting.idents)) == 1
    handler.lender.shutdown()

"""Bodies: announced or in chunks, small or long, read by whoever; refused before they are read, or given up."""

import asyncio
import hashlib
import io
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from rest_framework.parsers import FormParser, JSONParser, MultiPartParser
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from hansa.server.lifecycle.body import BodyUnreadError, UnreadRequest
from hansa.server.lifecycle.views import APIView
from lifecycle.handler.access import Never
from lifecycle.handler.exchanges import Ask, Exchange, ask_asgi
from lifecycle.handler.middlewares import IN_PLACE, STOCK

HERE = __name__
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}


def digest(data: bytes) -> str:
    return f"{len(data)} {hashlib.sha256(data).hexdigest()}"


def whole(request: HttpRequest) -> HttpResponse:
    kept = "memory" if isinstance(request._stream, io.BytesIO) else "file"  # type: ignore[attr-defined]  # Django's own
    return HttpResponse(digest(request.body), headers={"X-Kept": kept})


def pieces(request: HttpRequest) -> HttpResponse:
    return HttpResponse(digest(b"".join(iter(lambda: request.read(1000), b""))))


def form(request: HttpRequest) -> HttpResponse:
    files = {name: digest(file.read()) for name, file in request.FILES.items()}
    return JsonResponse({"form": request.POST.dict(), "files": files})


async def awaited(request: HttpRequest) -> HttpResponse:
    return HttpResponse(digest(request.body))


class Api(APIView):
    authentication_classes = ()
    permission_classes: tuple[Any, ...] = ()
    throttle_classes = ()
    renderer_classes = (JSONRenderer,)
    parser_classes = (JSONParser, FormParser, MultiPartParser)

    async def post(self, request: Any) -> Response:
        return Response(request.data)


class Plain(Api):
    def post(self, request: Any) -> Response:  # type: ignore[override]  # a plain one
        return Response(request.data)


class Streamed(Api):
    streams_body = True

    async def post(self, request: Any) -> Response:
        return Response(digest(b"".join([piece async for piece in request.stream()])))

    async def put(self, request: Any) -> Response:
        return Response("not interested")


class Late(Streamed):
    ready: asyncio.Event

    async def post(self, request: Any) -> Response:
        await self.ready.wait()
        return await super().post(request)


class Limited(Streamed):
    body_limit = 10


class Closed(Streamed):
    permission_classes = (Never,)


class ClosedApi(Api):
    permission_classes = (Never,)


URLS = ModuleType("bodies")
vars(URLS)["urlpatterns"] = [
    path("whole/", whole),
    path("pieces/", pieces),
    path("form/", form),
    path("awaited/", awaited),
    path("api/", Api.as_view()),
    path("plain/", Plain.as_view()),
    path("streamed/", Streamed.as_view()),
    path("late/", Late.as_view()),
    path("limited/", Limited.as_view()),
    path("closed/", Closed.as_view()),
    path("closed-api/", ClosedApi.as_view()),
]


def reads_form(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """A plain middleware that wants the form before the view does."""

    def middleware(request: HttpRequest) -> HttpResponse:
        seen = request.POST.get("a")
        response = get_response(request)
        response["X-Form"] = str(seen)
        return response

    return middleware


def loads_form(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """The same on the event loop."""

    async def middleware(request: HttpRequest) -> HttpResponse:
        assert isinstance(request, UnreadRequest)
        await request.load()
        seen = request.POST.get("a")
        response: HttpResponse = await get_response(request)
        response["X-Form"] = str(seen)
        return response

    assert iscoroutinefunction(get_response)
    return middleware


def forgets_to_load(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """An awaited middleware that reads the form as if it were there."""

    async def middleware(request: HttpRequest) -> HttpResponse:
        try:
            request.POST.get("a")
        except BodyUnreadError as error:
            return HttpResponse(str(error), status=500)
        response: HttpResponse = await get_response(request)
        return response

    return middleware


for each in (loads_form, forgets_to_load):
    each.sync_capable, each.async_capable = False, True  # type: ignore[attr-defined]  # how Django asks


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 70_000])
@pytest.mark.parametrize("target", ["/whole/", "/pieces/", "/awaited/", "/streamed/"])
async def test_every_byte_arrives(serve: Any, django_site: Any, target: str, size: int, announced: bool) -> None:
    django_site.FILE_UPLOAD_MAX_MEMORY_SIZE = 1000
    body = bytes(number % 251 for number in range(size))

    answer = await ask_asgi(serve(URLS), Ask("POST", target, {}, body, announced=announced), piece=333)

    assert (answer.status, answer.body.decode().strip('"')) == (200, digest(body))
    assert answer.header("Connection") is None
    if target == "/whole/":
        assert answer.header("X-Kept") == ("memory" if size <= 1000 else "file")


@pytest.mark.parametrize("target", ["/api/", "/plain/"])
async def test_a_message_in_chunks_is_data_as_well(serve: Any, target: str) -> None:
    answer = await ask_asgi(serve(URLS), Ask("POST", target, JSON, b'{"a":[1,2]}', announced=False), piece=3)

    assert (answer.status, answer.body) == (200, b'{"a":[1,2]}')


@pytest.mark.parametrize("middleware", [(), STOCK[2:3], IN_PLACE[2:3]])
async def test_forms_and_files_are_parsed(serve: Any, middleware: tuple[str, ...]) -> None:
    content = bytes(range(256)) * 20_000
    head = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b\r\nContent-Disposition: form-data; '
    body = head + b'name="f"; filename="f"\r\n\r\n' + content + b"\r\n--b--\r\n"

    answer = await ask_asgi(serve(URLS, middleware=middleware), Ask("POST", "/form/", MULTIPART, body))

    assert answer.body.decode() == f'{{"form": {{"a": "1"}}, "files": {{"f": "{digest(content)}"}}}}'


@pytest.mark.parametrize("target", ["/whole/", "/awaited/", "/plain/", "/api/", "/streamed/"])
async def test_a_body_that_is_announced_too_large_is_refused_unread(serve: Any, target: str) -> None:
    exchange = Exchange(serve(URLS, BODY_LIMIT=1000), Ask("POST", target, JSON, size=1001))

    answer = await exchange.answer()  # though nothing was sent

    assert (answer.status, exchange.received) == (413, 0)
    assert b"1,001 bytes were announced, at most 1,000 are allowed" in answer.body
    assert answer.header("Connection") == "close"


@pytest.mark.parametrize("target", ["/whole/", "/awaited/", "/plain/", "/api/", "/streamed/"])
async def test_a_body_in_chunks_is_refused_where_it_passes_the_limit(serve: Any, target: str) -> None:
    exchange = Exchange(serve(URLS, BODY_LIMIT=1000), Ask("POST", target, JSON, b"?", announced=False))
    exchange.give(b"1" * 1000)
    exchange.give(b"1")
    exchange.give(b"1" * 1000)

    answer = await exchange.answer()

    assert (answer.status, exchange.received) == (413, 1001)
    assert answer.header("Connection") == "close"


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("target", ["/whole/", "/awaited/", "/streamed/"])
async def test_a_body_of_just_the_limit_is_taken(serve: Any, target: str, announced: bool) -> None:
    answer = await ask_asgi(serve(URLS, BODY_LIMIT=1000), Ask("POST", target, {}, b"1" * 1000, announced=announced))

    assert answer.status == 200


async def test_a_view_has_a_limit_of_its_own(serve: Any) -> None:
    handler = serve(URLS, BODY_LIMIT=1000)

    assert (await ask_asgi(handler, Ask("POST", "/limited/", {}, b"1" * 10))).status == 200
    assert (await ask_asgi(handler, Ask("POST", "/limited/", {}, b"1" * 11))).status == 413


@pytest.mark.parametrize("target", ["/closed/", "/closed-api/"])
@pytest.mark.parametrize("middleware", [(), STOCK, IN_PLACE])
async def test_who_may_not_is_refused_before_the_first_byte(
    serve: Any, target: str, middleware: tuple[str, ...]
) -> None:
    exchange = Exchange(serve(URLS, middleware=middleware), Ask("POST", target, JSON, size=10**9))

    answer = await exchange.answer()

    assert (answer.status, exchange.received) == (403, 0)
    assert answer.header("Connection") == "close"


async def test_a_handler_that_leaves_the_body_closes_the_connection(serve: Any) -> None:
    answer = await Exchange(serve(URLS), Ask("PUT", "/streamed/", size=5)).answer()

    assert (answer.status, answer.header("Connection")) == (200, "close")


@pytest.mark.parametrize("reader", ["reads_form", "loads_form"])
@pytest.mark.parametrize("target", ["/api/", "/plain/"])
async def test_a_form_that_a_middleware_has_read_is_still_data_for_the_view(
    serve: Any, reader: str, target: str
) -> None:
    answer = await ask_asgi(serve(URLS, middleware=(f"{HERE}.{reader}",)), Ask("POST", target, FORM, b"a=1&b=2"))

    assert (answer.status, answer.body) == (200, b'{"a":"1","b":"2"}')
    assert answer.header("X-Form") == "1"


@pytest.mark.parametrize("target", ["/api/", "/streamed/"])
async def test_an_awaited_middleware_is_told_to_load_the_body_first(serve: Any, target: str) -> None:
    application = serve(URLS, middleware=(f"{HERE}.forgets_to_load",))
    answer = await ask_asgi(application, Ask("POST", target, FORM, b"a=1"))

    assert answer.status == 500
    assert b"request.load()" in answer.body


async def test_a_body_that_the_view_streams_is_given_to_no_plain_middleware(serve: Any, caplog: Any) -> None:
    answer = await ask_asgi(serve(URLS, middleware=(f"{HERE}.reads_form",)), Ask("POST", "/streamed/", FORM, b"a=1"))

    assert answer.status == 500
    assert "a view with `streams_body` reads its body itself" in caplog.text


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("middleware", [(), (f"{HERE}.reads_form",), (f"{HERE}.loads_form",), IN_PLACE])
@pytest.mark.parametrize("target", ["/whole/", "/plain/", "/api/"])
async def test_a_client_that_goes_in_the_middle_of_its_body_is_given_up(
    serve: Any, target: str, middleware: tuple[str, ...], announced: bool
) -> None:
    handler = serve(URLS, middleware=middleware, THREADS=1)
    exchange = Exchange(
        handler, Ask("POST", target, FORM, b"a=1", announced=announced, size=100 if announced else None)
    )
    exchange.give(b"a=1&")
    exchange.leave()

    await exchange.ended()

    assert exchange.sent == []
    assert (await ask_asgi(handler, Ask("POST", "/plain/", JSON, b"[1]"))).body == b"[1]"


async def test_a_client_that_goes_while_its_body_is_streamed_is_given_up(serve: Any) -> None:
    exchange = Exchange(serve(URLS, middleware=IN_PLACE), Ask("POST", "/streamed/", size=100))
    exchange.give(b"1")
    exchange.leave()

    await exchange.ended()

    assert exchange.sent == []


@pytest.mark.parametrize("pieces", [[b"[1,2]"], [b"[1,", b"2]"], [b"[1,2]", b""]])
@pytest.mark.parametrize("target", ["/whole/", "/pieces/", "/plain/", "/api/", "/streamed/"])
async def test_over_http_2_a_body_needs_neither_a_length_nor_an_encoding(
    serve: Any, target: str, pieces: list[bytes]
) -> None:
    exchange = Exchange(serve(URLS), Ask("POST", target, JSON), http_version="2")
    for number, piece in enumerate(pieces, 1):
        exchange.give(piece, last=number == len(pieces))

    body = (await exchange.answer()).body.strip(b'"')
    assert body == (b"[1,2]" if target in ("/api/", "/plain/") else digest(b"[1,2]").encode())


@pytest.mark.parametrize("target", ["/api/", "/streamed/", "/whole/"])
async def test_over_http_2_there_may_be_no_body_as_well(serve: Any, target: str) -> None:
    answer = await ask_asgi(serve(URLS), Ask("GET", target), http_version="2")

    assert answer.status in (200, 405)
    assert answer.header("Connection") is None


async def test_over_http_2_a_refusal_closes_no_connection(serve: Any) -> None:
    exchange = Exchange(serve(URLS), Ask("POST", "/closed/"), http_version="2")
    exchange.give(b"1")
    answer = await exchange.answer()

    assert (answer.status, answer.header("Connection")) == (403, None)


async def test_over_http_2_a_client_may_go_before_its_body(serve: Any) -> None:
    exchange = Exchange(serve(URLS), Ask("POST", "/api/"), http_version="2")
    exchange.leave()
    await exchange.ended()

    assert exchange.sent == []


async def test_a_request_without_a_body_has_none_however_late_its_view_asks(serve: Any) -> None:
    Late.ready = asyncio.Event()
    exchange = Exchange(serve(URLS, WATCH_AFTER=0.001), Ask("POST", "/late/"))

    await exchange.until_asked()  # whether the client is still there
    exchange.give(b"", last=True)
    Late.ready.set()

    assert (await exchange.answer()).body == f'"{digest(b"")}"'.encode()

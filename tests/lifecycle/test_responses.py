"""What becomes of a handler's response on its way out. Rows R1 to R8 of the lifecycle."""

import asyncio
import io
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.template.response import SimpleTemplateResponse
from django.urls import path
from rest_framework import exceptions, parsers, renderers
from rest_framework.permissions import BasePermission
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.urlpatterns import format_suffix_patterns

from lifecycle.likeness import BareView, Serve, escaped, same_as_drf
from lifecycle.project import DRF_OF, Answer, alike, make_view, on_the_loop


def answering(response: Any) -> Answer:
    def answer(request: Any, **kwargs: Any) -> Any:
        return response() if callable(response) else response

    return answer


class Noted:
    """A middleware that keeps the last response."""

    response: Any

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        Noted.response = self.get_response(request)
        return Noted.response


class Text(renderers.BaseRenderer):
    media_type, format, charset = "text/plain", "txt", "utf-8"

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> str:
        return f"text: {data}"


class AwaitedText(Text):
    """Plain DRF can be asked as well; on the event loop only the awaited way may be taken."""

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> str:
        assert not on_the_loop()
        return f"text: {data}"

    async def arender(self, data: Any, accepted_media_type: Any, renderer_context: Any) -> str:
        await asyncio.sleep(0)
        return f"text: {data}"


JSON = renderers.JSONRenderer


@pytest.mark.parametrize("wrong", [None, {"a": "dict"}, "text", 204], ids=repr)
async def test_r1_what_is_no_response_is_refused_by_name(serve: Serve, way: str, wrong: Any) -> None:
    with escaped() as errors:
        answer = await serve(make_view(way, answering(wrong))).ask()
    assert answer.status == 500
    (error,) = errors
    assert isinstance(error, AssertionError)
    assert str(error) == (
        "Expected a `Response`, `HttpResponse` or `StreamingHttpResponse` to be returned from the view, "
        f"but received a `{type(wrong)}`"
    )


async def test_r1_a_coroutine_that_a_handler_returns_never_gets_out(serve: Serve, way: str) -> None:
    async def late() -> Response:
        return Response("late")

    coroutine = late()
    with escaped() as errors:
        answer = await serve(make_view(way, answering(lambda: coroutine))).ask()
    coroutine.close()
    if way == "plain handler of an awaited class":  # it may hand on what it would have to await
        assert (answer.status, answer.json) == (200, "late")
    else:
        assert (answer.status, [type(error) for error in errors]) == (500, [AssertionError])
        assert "<class 'coroutine'>" in str(errors[0])


@pytest.mark.parametrize("renderer", [Text, AwaitedText])
@pytest.mark.parametrize(
    ("accept", "rendered"),
    [("application/json", b'{"n":1}'), ("text/plain", b"text: {'n': 1}"), ("*/*", b'{"n":1}')],
)
async def test_r2_a_response_is_rendered_as_was_negotiated(
    serve: Serve, way: str, renderer: type, accept: str, rendered: bytes
) -> None:
    answer = await same_as_drf(
        serve,
        way,
        answering(lambda: Response({"n": 1})),
        headers={"Accept": accept},
        renderer_classes=(JSON, renderer),
        settings={"MIDDLEWARE": [Noted]},
    )
    assert answer.body == rendered
    assert isinstance(Noted.response.accepted_renderer, renderer if accept == "text/plain" else JSON)
    assert Noted.response.accepted_media_type == ("text/plain" if accept == "text/plain" else "application/json")
    assert {"view", "request", "args", "kwargs"} <= set(Noted.response.renderer_context)


@pytest.mark.parametrize("renderer", [Text, AwaitedText])
async def test_r2_where_nothing_was_agreed_the_first_renderer_has_to_do(serve: Serve, way: str, renderer: type) -> None:
    answer = await same_as_drf(
        serve,
        way,
        answering(Response),
        headers={"Accept": "image/png"},
        renderer_classes=(renderer, JSON),
    )
    assert answer.status == 406
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert b"Could not satisfy the request Accept header." in answer.body


async def test_r2_djangos_own_responses_are_not_negotiated(serve: Serve, way: str) -> None:
    answer = await same_as_drf(serve, way, answering(lambda: JsonResponse({"n": 1}, status=202)))
    assert (answer.status, answer.json) == (202, {"n": 1})
    assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize(
    ("renderer_classes", "vary"), [((JSON,), "Cookie"), ((JSON, Text), "Cookie, Accept")], ids=["one", "two"]
)
async def test_r3_vary_is_added_to_and_names_accept_only_where_there_is_a_choice(
    serve: Serve, way: str, renderer_classes: Any, vary: str
) -> None:
    answer = await same_as_drf(
        serve, way, answering(lambda: Response(headers={"Vary": "Cookie"})), renderer_classes=renderer_classes
    )
    assert answer.headers["Vary"] == vary


async def test_r3_a_name_that_vary_has_already_is_not_repeated(serve: Serve, way: str) -> None:
    answer = await same_as_drf(
        serve, way, answering(lambda: Response(headers={"Vary": "accept"})), renderer_classes=(JSON, Text)
    )
    assert answer.headers["Vary"] == "accept"


class Never(BasePermission):
    def has_permission(self, request: Any, view: Any) -> bool:
        return False


class Exhausted(BaseThrottle):
    def allow_request(self, request: Any, view: Any) -> bool:
        return False


def unfit(request: Any, **kwargs: Any) -> Response:
    if request.method == "POST":
        return Response(request.data)
    raise exceptions.NotFound


@pytest.mark.parametrize(
    ("method", "status", "sent", "policies"),
    [
        ("OPTIONS", 200, {}, {}),
        ("GET", 403, {}, {"permission_classes": (Never,)}),
        ("GET", 404, {}, {}),
        ("DELETE", 405, {}, {}),
        ("LINK", 405, {}, {}),
        ("GET", 406, {"Accept": "image/png"}, {}),
        ("POST", 415, {"Content-Type": "image/png"}, {}),
        ("POST", 400, {"Content-Type": "application/json"}, {}),
        ("GET", 429, {}, {"throttle_classes": (Exhausted,)}),
    ],
)
async def test_r4_every_answer_says_what_is_allowed(
    serve: Serve, way: str, method: str, status: int, sent: Any, policies: Any
) -> None:
    body = b"{" if method == "POST" else b""
    answer = await same_as_drf(serve, way, unfit, method, "/", body, sent, methods=("get", "post"), **policies)
    assert answer.status == status
    assert {"GET", "POST", "OPTIONS"} <= set(answer.headers["Allow"].split(", "))
    assert "DELETE" not in answer.headers["Allow"]


async def test_r5_renderers_and_parsers_are_told_where_they_are(serve: Serve, way: str) -> None:
    seen: dict[str, Any] = {}

    class Renderer(Text):
        def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> str:
            seen["renderer"] = renderer_context
            return "rendered"

    class Parser(parsers.BaseParser):
        media_type = "text/plain"

        def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
            seen["parser"] = parser_context
            return stream.read().decode(parser_context["encoding"])

    def echo(request: Any, **kwargs: Any) -> Response:
        return Response(request.data)

    view = make_view(way, echo, ("post",), renderer_classes=(Renderer,), parser_classes=(Parser,))
    site = serve(path("<int:number>/", view))
    answer = await site.ask("POST", "/7/", b"body", {"Content-Type": "text/plain; charset=latin-1"})
    assert answer.body == b"rendered"
    assert set(seen["renderer"]) == {"view", "args", "kwargs", "request", "response"}
    assert set(seen["parser"]) == {"view", "args", "kwargs", "request", "encoding"}
    for context in seen.values():
        assert (context["args"], context["kwargs"]) == ((), {"number": 7})
        assert context["request"] is context["view"].request
    assert seen["renderer"]["response"].data == "body"


FORMATS = [
    ("/thing", {}, 200, b'{"n":1}'),
    ("/thing.json", {}, 200, b'{"n":1}'),
    ("/thing.txt", {}, 200, b"text: {'n': 1}"),
    ("/thing.txt", {"Accept": "text/plain"}, 200, b"text: {'n': 1}"),
    ("/thing.txt", {"Accept": "application/json"}, 406, None),
    ("/thing.xml", {}, 404, None),
    ("/thing?format=txt", {}, 200, b"text: {'n': 1}"),
    ("/thing?format=xml", {}, 404, None),
    ("/thing.json?format=txt", {}, 200, b'{"n":1}'),
]


@pytest.mark.parametrize(("url", "sent", "status", "body"), FORMATS)
async def test_r6_the_path_or_the_query_may_choose_the_format(
    serve: Serve, way: str, url: str, sent: Any, status: int, body: bytes | None
) -> None:
    def answer(request: Any, format: str | None = None) -> Response:  # noqa: A002  # DRF's name for it
        return Response({"n": 1})

    answers = []
    for kind in (DRF_OF[way], way):
        view = make_view(kind, answer, renderer_classes=(JSON, Text))
        site = serve(*format_suffix_patterns([path("thing", view)]))
        answers.append(await (site.ask if kind == way else site.ask_wsgi)("GET", url, headers=sent))
    theirs, ours = answers
    assert alike(ours, theirs), (ours, theirs)
    assert ours.status == status
    assert body is None or ours.body == body


async def test_r6_the_names_of_both_are_settings(serve: Serve, class_way: str) -> None:
    def answer(request: Any, ending: str | None = None) -> Response:
        return Response({"n": 1})

    renamed = {"FORMAT_SUFFIX_KWARG": "ending", "URL_FORMAT_OVERRIDE": "as"}
    view = make_view(class_way, answer, renderer_classes=(JSON, Text))
    serve(REST_FRAMEWORK=renamed)  # read while the patterns are made
    site = serve(*format_suffix_patterns([path("thing", view)]), REST_FRAMEWORK=renamed)
    assert (await site.ask(url="/thing.txt")).body == b"text: {'n': 1}"
    assert (await site.ask(url="/thing?as=txt")).body == b"text: {'n': 1}"
    assert (await site.ask(url="/thing?format=txt")).body == b'{"n":1}'


class Latin(Text):
    charset = "iso-8859-1"


class Raw(Text):
    charset = None

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:  # type: ignore[override]
        return b"\xff\x00"


@pytest.mark.parametrize(
    ("method", "response", "renderer", "body", "content_type"),
    [
        ("GET", lambda: Response(status=204), JSON, b"", None),
        ("GET", lambda: Response(None), JSON, b"", None),
        ("HEAD", lambda: Response({"n": 1}), JSON, b"", "application/json"),
        ("HEAD", lambda: Response({"n": 1}), AwaitedText, b"", "text/plain; charset=utf-8"),
        ("GET", lambda: Response("ä"), JSON, '"ä"'.encode(), "application/json"),
        ("GET", lambda: Response("ä"), Text, "text: ä".encode(), "text/plain; charset=utf-8"),
        ("GET", lambda: Response("ä"), AwaitedText, "text: ä".encode(), "text/plain; charset=utf-8"),
        ("GET", lambda: Response("ä"), Latin, b"text: \xe4", "text/plain; charset=iso-8859-1"),
        ("GET", lambda: Response("ä"), Raw, b"\xff\x00", "text/plain"),
        ("GET", lambda: Response("ä", content_type="text/x-own"), AwaitedText, "text: ä".encode(), "text/x-own"),
        ("GET", lambda: Response({"n": 1}, content_type="text/x-own"), JSON, b'{"n":1}', "text/x-own"),
    ],
)
async def test_r7_bodies_and_their_types_are_drfs(
    serve: Serve, way: str, method: str, response: Any, renderer: type, body: bytes, content_type: str | None
) -> None:
    answer = await same_as_drf(
        serve, way, answering(response), method, methods=("get", "head"), renderer_classes=(renderer,)
    )
    assert (answer.body, answer.headers.get("Content-Type")) == (body, content_type)


def pieces() -> Iterator[bytes]:
    yield b"one, "
    yield b"two"


async def awaited_pieces() -> AsyncIterator[bytes]:
    for piece in pieces():
        await asyncio.sleep(0)
        yield piece


def own_file() -> Any:
    file = tempfile.TemporaryFile()  # noqa: SIM115  # the response closes it
    file.write(b"one, two")
    file.seek(0)
    return file


@pytest.mark.parametrize(
    "response",
    [
        lambda: HttpResponse(b"one, two"),
        lambda: StreamingHttpResponse(pieces()),
        lambda: FileResponse(own_file(), content_type="text/plain"),
        lambda: FileResponse(io.BytesIO(b"one, two"), filename="two.txt", as_attachment=True),
    ],
    ids=["whole", "stream", "file", "attachment"],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_r8_responses_of_djangos_pass_as_they_are(serve: Serve, way: str, method: str, response: Any) -> None:
    answer = await same_as_drf(
        serve, way, answering(response), method, methods=("get", "head"), renderer_classes=(JSON, Text)
    )
    assert (answer.status, answer.body) == (200, b"" if method == "HEAD" else b"one, two")
    assert answer.headers["Vary"] == "Accept"
    assert "GET" in answer.headers["Allow"]


async def test_r8_an_awaited_iterator_is_sent_piece_by_piece(serve: Serve, way: str) -> None:
    answer = await serve(make_view(way, answering(lambda: StreamingHttpResponse(awaited_pieces())))).ask()
    assert [message.get("body") for message in answer.messages[1:]] == [b"one, ", b"two", b""]


async def test_r8_a_plain_iterator_runs_on_the_requests_thread(serve: Serve, way: str) -> None:
    def telling() -> Iterator[bytes]:
        yield str(on_the_loop()).encode()

    answer = await serve(make_view(way, answering(lambda: StreamingHttpResponse(telling())))).ask()
    assert answer.body == b"False"


async def test_r8_a_file_is_never_held_as_a_whole(serve: Serve, way: str, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(5 * 2**20))
    answer = await serve(make_view(way, answering(lambda: FileResponse((tmp_path / "large").open("rb"))))).ask()
    assert len(answer.body) == 5 * 2**20
    assert max(len(message.get("body", b"")) for message in answer.messages[1:]) <= 2**20


async def test_r8_templates_are_rendered_on_the_requests_thread(serve: Serve, way: str) -> None:
    class Template(SimpleTemplateResponse):
        @property
        def rendered_content(self) -> str:
            return f"on the loop: {on_the_loop()}"

    answer = await serve(make_view(way, answering(lambda: Template("none.html")))).ask()
    assert answer.body == b"on the loop: False"


async def test_r4_headers_of_the_view_are_on_the_response(serve: Serve) -> None:
    class Own(BareView):
        async def get(self, request: Any) -> Response:
            self.headers["X-Own"] = "set in the handler"
            self.headers["Vary"] = "Cookie, Accept"
            return Response(headers={"Vary": "Origin"})

    answer = await serve(Own.as_view()).ask()
    assert (answer.headers["X-Own"], answer.headers["Vary"]) == ("set in the handler", "Origin, Cookie, Accept")

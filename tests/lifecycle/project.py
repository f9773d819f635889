"""A small Django project of a test's own views, and the lifecycle's handler to serve it: raw ASGI in, messages out.

`make_view` makes the same view in every way there is, so that a rule can be held by all of them; `Site.ask` speaks to
our ASGI handler, `Site.ask_wsgi` to Django's own synchronous one, so that plain DRF can be asked the same.
"""

import asyncio
import io
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.wsgi import WSGIHandler
from django.urls import URLPattern, URLResolver, path
from rest_framework import decorators, parsers, renderers, views, viewsets

from hansa.server.lifecycle.asgi import Handler
from hansa.server.lifecycle.decorators import api_view
from hansa.server.lifecycle.views import APIView
from hansa.server.lifecycle.viewsets import ViewSet
from support.scopes import http_scope

CLASSES = ("plain class", "awaited class", "plain handler of an awaited class")
VIEWSETS = ("plain viewset", "awaited viewset")
FUNCTIONS = ("plain function", "awaited function")
WAYS = (*CLASSES, *VIEWSETS, *FUNCTIONS)
"""How a view of ours can be made."""
AWAITED = tuple(way for way in WAYS if "awaited" in way)
DRF_CLASS, DRF_VIEWSET, DRF_FUNCTION = "class of plain DRF", "viewset of plain DRF", "function of plain DRF"
DRF_OF = {
    **dict.fromkeys(CLASSES, DRF_CLASS),
    **dict.fromkeys(VIEWSETS, DRF_VIEWSET),
    **dict.fromkeys(FUNCTIONS, DRF_FUNCTION),
}
"""What each of them is compared with."""

_BASES = {
    **dict.fromkeys(CLASSES, APIView),
    **dict.fromkeys(VIEWSETS, ViewSet),
    DRF_CLASS: views.APIView,
    DRF_VIEWSET: viewsets.ViewSet,
}

BARE = {
    "renderer_classes": (renderers.JSONRenderer,),
    "parser_classes": (parsers.JSONParser, parsers.FormParser, parsers.MultiPartParser),
    "authentication_classes": (),
    "permission_classes": (),
    "throttle_classes": (),
}
"""Every view here has these attributes, unless the test says otherwise: DRF's, not those of Hansa's own settings."""

Answer = Callable[..., Any]  # Any: what a handler takes and gives


def make_view(way: str, answer: Answer, methods: Iterable[str] = ("get",), **attributes: Any) -> Any:
    """A view function whose handler for `methods` is `answer(request, **kwargs)`, made in one of `WAYS` or of `DRF_OF`.

    `attributes` are those of the class, policies and hooks; functions take policies only.
    """
    attributes = {**BARE, **attributes}
    if way in (*FUNCTIONS, DRF_FUNCTION):
        function = _awaited_function(answer) if way == "awaited function" else _plain_function(answer)
        for name, value in attributes.items():
            setattr(function, name, value)
        decorator: Any = decorators.api_view if way == DRF_FUNCTION else api_view
        return decorator([method.upper() for method in methods])(function)
    return make_class(way, answer, methods, **attributes).as_view(*_actions(way, methods))


def make_class(way: str, answer: Answer, methods: Iterable[str] = ("get",), **attributes: Any) -> Any:
    """The class that `make_view` makes a view of; of a ViewSet, the actions are named `do_` and the method."""
    handler = _awaited_handler(answer) if way in ("awaited class", "awaited viewset") else _plain_handler(answer)
    prefix = "do_" if way in (*VIEWSETS, DRF_VIEWSET) else ""
    members = {**BARE, **{prefix + method: handler for method in methods}, **attributes}
    if way == "plain handler of an awaited class":
        members["view_is_async"] = True
    return type("Example", (_BASES[way],), members)


def _actions(way: str, methods: Iterable[str]) -> list[dict[str, str]]:
    return [{method: f"do_{method}" for method in methods}] if way in (*VIEWSETS, DRF_VIEWSET) else []


def _plain_handler(answer: Answer) -> Answer:
    def handler(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        return answer(request, *args, **kwargs)

    return handler


def _awaited_handler(answer: Answer) -> Answer:
    async def handler(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return answer(request, *args, **kwargs)

    return handler


def _plain_function(answer: Answer) -> Answer:
    def example(request: Any, *args: Any, **kwargs: Any) -> Any:
        return answer(request, *args, **kwargs)

    return example


def _awaited_function(answer: Answer) -> Answer:
    async def example(request: Any, *args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return answer(request, *args, **kwargs)

    return example


def bare(function: Answer) -> Answer:
    """Give a function that is to become a view by `@api_view` what `BARE` says, where no decorator has said more."""
    for name, value in BARE.items():
        if not hasattr(function, name):
            setattr(function, name, value)
    return function


def on_the_loop() -> bool:
    """Whether this is the thread of an event loop; otherwise synchronous code may block here."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def place() -> str:
    """Where this code runs: `loop`, or the name of the borrowed thread."""
    return "loop" if on_the_loop() else threading.current_thread().name


@dataclass(frozen=True)
class Answered:
    """What came back."""

    status: int
    header_list: Sequence[tuple[str, str]]
    body: bytes
    messages: Sequence[Mapping[str, Any]] = field(default=(), compare=False)
    """As they went over ASGI."""
    received: int = field(default=0, compare=False)
    """Bytes of the request's body that the server has taken."""

    @property
    def headers(self) -> dict[str, str]:
        """By name; of several with one name, the last."""
        return dict(self.header_list)

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


def alike(ours: Answered, theirs: Answered) -> bool:
    """Whether both say the same: status, headers in their order, body.

    The methods within `Allow` may come in any order, because DRF keeps those of a function in a set; and who refuses a
    request before its body was read closes the connection, which WSGI does not say.
    """
    return _unordered(ours) == _unordered(theirs)


def _unordered(answered: Answered) -> Answered:
    headers = [
        (name, value if name != "Allow" else ", ".join(sorted(value.split(", "))))
        for name, value in answered.header_list
        if (name, value) != ("Connection", "close")
    ]
    return replace(answered, header_list=headers)


class Site:
    """The project, served. Made by the fixture `serve`, within its settings."""

    def __init__(self) -> None:
        self.handler = Handler()

    async def ask(
        self,
        method: str = "GET",
        url: str = "/",
        body: bytes | Sequence[bytes] = b"",
        headers: Mapping[str, str] | None = None,
        **scope: Any,
    ) -> Answered:
        """One request through our ASGI handler; a sequence of pieces is sent as such. `scope` adds to the ASGI scope.

        The client stays until it has its answer. An exception that no middleware answers is a 500, as over the wire.
        """
        pieces = [body] if isinstance(body, bytes) else list(body)
        wire = _Wire(pieces)
        sent = {"host": "testserver", **_length(pieces), **{name.lower(): v for name, v in (headers or {}).items()}}
        await self.handler({**http_scope(method, url, sent), **scope}, wire.receive, wire.send)
        return wire.answered()

    async def ask_json(self, method: str, url: str, data: Any, headers: Mapping[str, str] | None = None) -> Answered:
        """One request with a JSON body."""
        return await self.ask(
            method, url, json.dumps(data).encode(), {"Content-Type": "application/json", **(headers or {})}
        )

    async def ask_wsgi(
        self, method: str = "GET", url: str = "/", body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answered:
        """The same request through Django's own synchronous handler, on a thread of its own."""
        return await sync_to_async(_ask_wsgi, thread_sensitive=False)(method, url, body, headers or {})


class _Wire:
    """The client's end."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = list(pieces)
        self._messages: list[Mapping[str, Any]] = []
        self._received = 0
        self._left = asyncio.Event()

    async def receive(self) -> Mapping[str, Any]:
        if not self._pieces:
            await self._left.wait()
            return {"type": "http.disconnect"}
        piece = self._pieces.pop(0)
        self._received += len(piece)
        return {"type": "http.request", "body": piece, "more_body": bool(self._pieces)}

    async def send(self, message: Mapping[str, Any]) -> None:
        self._messages.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._left.set()

    def answered(self) -> Answered:
        start, *rest = self._messages
        return Answered(
            status=start["status"],
            header_list=[(name.decode("latin1"), value.decode("latin1")) for name, value in start["headers"]],
            body=b"".join(message.get("body", b"") for message in rest),
            messages=tuple(self._messages),
            received=self._received,
        )


def _length(pieces: Sequence[bytes]) -> dict[str, str]:
    total = sum(map(len, pieces))
    return {"content-length": str(total)} if total else {}


def _ask_wsgi(method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Answered:
    below, _, query = url.partition("?")
    sent = {"host": "testserver", **{name.lower(): value for name, value in headers.items()}}
    environ: dict[str, Any] = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in sent.items()}
    environ |= {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": below,
        "QUERY_STRING": query,
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.1",
        "CONTENT_LENGTH": str(len(body)) if body else "",
        "CONTENT_TYPE": environ.pop("HTTP_CONTENT_TYPE", ""),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    started: list[Any] = []
    handler: Any = WSGIHandler()
    response = handler(environ, lambda status, fields, _=None: started.extend((status, fields)))
    content = b"".join(response)
    response.close()
    return Answered(int(started[0].split()[0]), started[1], b"" if method == "HEAD" else content)


def urls(*patterns: Any) -> ModuleType:
    """A URLconf of these patterns; a bare view function stands at `/`."""
    module = ModuleType("urls_of_a_test")
    module.urlpatterns = [  # type: ignore[attr-defined]  # what a URLconf has
        each if isinstance(each, URLPattern | URLResolver) else path("", each) for each in patterns
    ]
    return module


LENT: dict[str, Any] = {}
"""Middleware of a test, by the name under which Django finds it here."""


def lent(middleware: Any) -> str:
    """Django wants middleware by dotted names: what a test has defined is lent one."""
    if isinstance(middleware, str):
        return middleware
    name = f"lent_{len(LENT)}"
    LENT[name] = middleware
    return f"{__name__}.{name}"


def __getattr__(name: str) -> Any:
    try:
        return LENT[name]
    except KeyError:
        raise AttributeError(name) from None


class Shout(renderers.BaseRenderer):
    """A renderer that nobody takes for another."""

    media_type = "text/shout"
    format = "shout"
    charset = "latin-1"

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> str:
        return f"{accepted_media_type} {data.get('hello', 'nothing').upper()}!"

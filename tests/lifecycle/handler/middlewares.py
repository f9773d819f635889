"""Middleware under which the same requests must get the same answers, and the plain twins of awaited ones."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse

DJANGO = "django.middleware"
HERE = "lifecycle.handler.middlewares"
PLAIN, AWAITED = f"{HERE}.plain", f"{HERE}.awaited"
OURS = "hansa.server.lifecycle.middleware"
STOCK = (
    f"{DJANGO}.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    f"{DJANGO}.common.CommonMiddleware",
    f"{DJANGO}.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    f"{DJANGO}.clickjacking.XFrameOptionsMiddleware",
)
IN_PLACE = (
    f"{DJANGO}.security.SecurityMiddleware",
    f"{OURS}.SessionMiddleware",
    f"{OURS}.CommonMiddleware",
    f"{OURS}.CsrfViewMiddleware",
    f"{OURS}.AuthenticationMiddleware",
    f"{OURS}.MessageMiddleware",
    f"{DJANGO}.clickjacking.XFrameOptionsMiddleware",
)


@dataclass(frozen=True)
class Stack:
    """The middleware on our side, and what it must be equal to under WSGI."""

    asgi: tuple[str, ...]
    wsgi: tuple[str, ...]


def plain(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """A middleware that is a plain function, and knows nothing of event loops."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.headers.get("X-Stop"):
            return HttpResponse("stopped before the view", status=418)
        request.META["seen"] = request.path
        response = get_response(request)
        response["X-Seen"] = f"{request.META['seen']} {len(response.headers)} {response.status_code}"
        return response

    return middleware


plain.async_capable = False  # type: ignore[attr-defined]  # how Django asks


def awaited(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """The same, as a coroutine function."""

    async def middleware(request: HttpRequest) -> HttpResponse:
        if request.headers.get("X-Stop"):
            return HttpResponse("stopped before the view", status=418)
        request.META["seen"] = request.path
        response: HttpResponse = await get_response(request)
        response["X-Seen"] = f"{request.META['seen']} {len(response.headers)} {response.status_code}"
        return response

    return middleware


awaited.sync_capable, awaited.async_capable = False, True  # type: ignore[attr-defined]  # as above


class _Hooks:
    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        return self.get_response(request)

    def on_view(self, request: HttpRequest, view: Any, kwargs: Any) -> HttpResponse | None:
        request.META["viewed"] = f"{view.__name__} {sorted(kwargs)}"
        return HttpResponse("taken over", status=299) if "takeover" in request.GET else None

    def on_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        return HttpResponse(f"mended: {error}", status=503) if isinstance(error, ArithmeticError) else None

    def on_template(self, request: HttpRequest, response: Any) -> Any:
        response["X-Template"] = f"{request.META['viewed']} {response.is_rendered}"
        return response


class PlainHooks(_Hooks):
    """All three hooks, plain."""

    sync_capable, async_capable = True, False

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        return self.on_view(request, view, kwargs)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        return self.on_exception(request, error)

    def process_template_response(self, request: HttpRequest, response: Any) -> Any:
        return self.on_template(request, response)


class AwaitedHooks(_Hooks):
    """All three hooks, `async def`."""

    sync_capable, async_capable = False, True

    async def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        return self.on_view(request, view, kwargs)

    async def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        return self.on_exception(request, error)

    async def process_template_response(self, request: HttpRequest, response: Any) -> Any:
        return self.on_template(request, response)


def _with(*names: str, first: bool = False, awaited_twin: str | None = None) -> Stack:
    asgi = (awaited_twin,) if awaited_twin else names
    return Stack((*asgi, *STOCK) if first else (*STOCK, *asgi), (*names, *STOCK) if first else (*STOCK, *names))


STACKS = {
    "none": Stack((), ()),
    "Django's": Stack(STOCK, STOCK),
    "ours for Django's": Stack(IN_PLACE, STOCK),
    "a plain function": _with(PLAIN, first=True),
    "a coroutine function": _with(PLAIN, first=True, awaited_twin=AWAITED),
    "plain hooks": _with(f"{HERE}.PlainHooks"),
    "awaited hooks": _with(f"{HERE}.PlainHooks", awaited_twin=f"{HERE}.AwaitedHooks"),
    "plain between ours": Stack(
        (*IN_PLACE[:3], PLAIN, *IN_PLACE[3:]),
        (*STOCK[:3], PLAIN, *STOCK[3:]),
    ),
    "login required": _with("django.contrib.auth.middleware.LoginRequiredMiddleware"),
    "languages": _with(f"{DJANGO}.locale.LocaleMiddleware"),
    "conditional": _with(f"{DJANGO}.http.ConditionalGetMiddleware", first=True),
}

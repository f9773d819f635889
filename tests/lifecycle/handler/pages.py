"""Plain Django views: the pages of a site that are none of DRF's affair."""

import io
from collections.abc import Callable
from typing import Any

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect
from django.template import engines
from django.template.response import TemplateResponse
from django.urls import path
from django.views import View


def hello(request: HttpRequest, name: str = "world") -> HttpResponse:
    return HttpResponse(f"hello {name} {request.method} {request.GET.urlencode()}")


async def awaited_hello(request: HttpRequest, name: str = "world") -> HttpResponse:
    return hello(request, name)


def form(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        files = {name: file.read().decode("latin1") for name, file in request.FILES.items()}
        return JsonResponse({"form": request.POST.dict(), "files": files})
    return HttpResponse(f"<input name=csrfmiddlewaretoken value={get_token(request)}>")


def remember(request: HttpRequest) -> HttpResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    response = HttpResponse(f"{request.session['visits']}")
    response.set_cookie("a", "1", httponly=True, path="/x")
    response.set_cookie("b", "zwei drei; ä", samesite="Strict")
    response.delete_cookie("c")
    return response


def raising(error: Exception) -> Callable[[HttpRequest], HttpResponse]:
    def view(request: HttpRequest) -> HttpResponse:
        raise error

    return view


def page(request: HttpRequest) -> TemplateResponse:
    template: Any = engines["django"].from_string("{{ greeting }} {{ request.path }} & {{ hostile }}")
    return TemplateResponse(request, template, {"greeting": "good day", "hostile": "<b>"})


class Class(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(b"\x00\xff", content_type="application/octet-stream")

    def post(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(request.body, status=201, headers={"X-Length": str(len(request.body))})


def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse((f"{number}\n" for number in range(5)), content_type="text/plain")


def file(request: HttpRequest) -> FileResponse:
    return FileResponse(io.BytesIO(bytes(range(256)) * 5_000), as_attachment=True, filename="fünf.bin")


PAGES = [
    path("hello/", hello),
    path("hello/<str:name>/", hello, name="hello"),
    path("awaited/", awaited_hello),
    path("class/", Class.as_view()),
    path("form/", form),
    path("remember/", remember),
    path("away/", lambda request: redirect("hello", name="grüß")),
    path("nothing/", lambda request: HttpResponse(status=204)),
    path("unchanged/", lambda request: HttpResponse(status=304)),
    path("page/", page),
    path("stream/", stream),
    path("file/", file),
    path("none/", lambda request: None),
    path("missing/", raising(Http404("not here"))),
    path("denied/", raising(PermissionDenied("not you"))),
    path("suspicious/", raising(SuspiciousOperation("odd"))),
    path("broken/", raising(ZeroDivisionError("zero"))),
    path("wrong/", raising(ValueError("wrong"))),
]

"""The same small site three times over: on DRF's own classes, and on ours with plain and with awaited handlers."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from types import ModuleType
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect
from django.template import engines
from django.template.response import TemplateResponse
from django.urls import include, path
from django.utils.translation import gettext
from django.views import View
from rest_framework import exceptions, parsers, permissions, renderers, routers, serializers, views, viewsets
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.urlpatterns import format_suffix_patterns
from rest_framework.versioning import AcceptHeaderVersioning

from hansa.server.lifecycle.views import APIView
from hansa.server.lifecycle.viewsets import ViewSet

HANDLERS = ("get", "post", "put", "patch", "delete", "list", "retrieve", "create", "update", "destroy", "counted")


@dataclass(frozen=True)
class Base:
    """What a site is built on."""

    view: Any
    viewset: Any
    finish: Callable[[type], type]
    """Applied to each class before its `as_view`."""


class Person(AnonymousUser):
    """Somebody known, without a database."""

    is_authenticated = True  # type: ignore[assignment]  # Django's property says no

    def __str__(self) -> str:
        return "ada"


class Knock(BaseAuthentication):
    """`Authorization: Knock ada`."""

    def authenticate(self, request: Request) -> tuple[Person, str] | None:
        kind, _, name = request.headers.get("Authorization", "").partition(" ")
        if kind != "Knock":
            return None
        if name != "ada":
            raise exceptions.AuthenticationFailed("Nobody of that name.")
        return Person(), name

    def authenticate_header(self, request: Request) -> str:
        return 'Knock realm="tests"'


class Never(permissions.BasePermission):
    message = "Never."
    code = "never"

    def has_permission(self, request: Request, view: Any) -> bool:
        return False


class Exhausted(BaseThrottle):
    def allow_request(self, request: Request, view: Any) -> bool:
        return False

    def wait(self) -> float:
        return 42.0


class ItemSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=10)
    size = serializers.IntegerField(required=False)


def coroutine_handlers(cls: type) -> type:
    """The class with its handlers `async def`; what they do blocks nothing."""

    def twin(handler: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(handler)
        async def awaited(self: Any, *args: Any, **kwargs: Any) -> Any:
            return handler(self, *args, **kwargs)

        return awaited

    for name in HANDLERS:
        if name in vars(cls):
            setattr(cls, name, twin(vars(cls)[name]))
    return cls


def only_reading_awaited(cls: type) -> type:
    """The class with `get`, `list` and `retrieve` awaited, and the others plain."""
    writing = {name: vars(cls)[name] for name in HANDLERS if name in vars(cls) and name not in ("get", "list")}
    coroutine_handlers(cls)
    for name, handler in writing.items():
        setattr(cls, name, handler)
    return cls


BASES = {
    "DRF": Base(views.APIView, viewsets.ViewSet, lambda cls: cls),
    "plain": Base(APIView, ViewSet, lambda cls: cls),
    "awaited": Base(APIView, ViewSet, coroutine_handlers),
    "mixed": Base(APIView, ViewSet, only_reading_awaited),
}


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


DJANGO_URLS = [
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


def build(base: Base) -> ModuleType:
    """A URLconf."""

    class Api(base.view):  # type: ignore[misc]  # the point of the exercise
        authentication_classes = (Knock,)
        permission_classes: tuple[Any, ...] = ()
        throttle_classes: tuple[Any, ...] = ()
        renderer_classes = (renderers.JSONRenderer, renderers.BrowsableAPIRenderer)
        parser_classes = (parsers.JSONParser, parsers.FormParser, parsers.MultiPartParser)

        def get(self, request: Any, **kwargs: Any) -> Response:
            return Response({"user": str(request.user), "query": request.query_params.dict(), "kwargs": kwargs})

    class Echo(Api):
        """Gives back what it gets."""

        def post(self, request: Any, **kwargs: Any) -> Response:
            data = {
                name: value.read().decode("latin1") if hasattr(value, "read") else value
                for name, value in request.data.items()
            }
            return Response(data, status=201, headers={"Location": "/echo/1/"})

        def put(self, request: Any, **kwargs: Any) -> Response:
            serializer = ItemSerializer(data=request.data)
            serializer.is_valid(raise_exception=True)
            return Response(serializer.validated_data)

        def delete(self, request: Any, **kwargs: Any) -> Response:
            return Response(status=204)

    class Members(Api):
        permission_classes = (permissions.IsAuthenticated,)

    class BySession(Members):
        authentication_classes = (SessionAuthentication, Knock)  # type: ignore[assignment]  # another first one

    class Closed(Api):
        permission_classes = (Never,)

    class Throttled(Api):
        throttle_classes = (Exhausted,)

    class Versioned(Api):
        versioning_class = AcceptHeaderVersioning

    class Raising(Api):
        def get(self, request: Any, **kwargs: Any) -> Response:
            raise {
                "missing": Http404(),
                "api": exceptions.APIException("A fault of ours."),
                "invalid": exceptions.ValidationError({"field": ["bad"]}),
                "denied": PermissionDenied(),
                "broken": ZeroDivisionError("zero"),
                "wrong": ValueError("wrong"),
                "translated": exceptions.NotFound(gettext("Not found.")),
            }[kwargs["what"]]

    class Wrong(Api):
        def get(self, request: Any, **kwargs: Any) -> Any:
            return {"not": "a response"}

    class Raw(Api):
        def get(self, request: Any, **kwargs: Any) -> Any:
            return StreamingHttpResponse(iter([b"one ", b"two"]), content_type="text/plain")

    class Items(base.viewset):  # type: ignore[misc]  # as above
        authentication_classes = (Knock,)
        permission_classes = ()
        throttle_classes = ()
        renderer_classes = (renderers.JSONRenderer,)
        parser_classes = (parsers.JSONParser,)

        def list(self, request: Any, **kwargs: Any) -> Response:
            return Response([self.action, self.basename, self.detail])

        def retrieve(self, request: Any, pk: str, **kwargs: Any) -> Response:
            if pk == "0":
                raise Http404
            return Response({"pk": pk, "url": self.reverse_action("detail", args=[pk], request=None)})

        def create(self, request: Any, **kwargs: Any) -> Response:
            return Response({"made": request.data}, status=201)

        def destroy(self, request: Any, pk: str, **kwargs: Any) -> Response:
            return Response(status=204)

        @action(detail=True, methods=["post"])
        def counted(self, request: Any, pk: str, **kwargs: Any) -> Response:
            return Response({"action": self.action, "count": len(request.data)})

    for cls in (Api, Echo, Raising, Wrong, Raw, Items):
        base.finish(cls)
    router = routers.DefaultRouter()
    router.register("items", Items, basename="items")
    named = {
        "echo": Echo,
        "members": Members,
        "by-session": BySession,
        "closed": Closed,
        "throttled": Throttled,
        "versioned": Versioned,
        "not-a-response": Wrong,
        "raw": Raw,
    }
    module = ModuleType("site")
    vars(module)["urlpatterns"] = [
        *DJANGO_URLS,
        *(path(f"{name}/", cls.as_view(), name=name) for name, cls in named.items()),
        path("raising/<str:what>/", Raising.as_view()),
        path("api/", include(router.urls)),
        *format_suffix_patterns([path("suffixed", Echo.as_view())]),
    ]
    return module


SITES = {name: build(base) for name, base in BASES.items()}

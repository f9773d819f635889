"""The same small site three times over: on DRF's own classes, and on ours with plain and with awaited handlers."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from types import ModuleType
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, StreamingHttpResponse
from django.urls import include, path
from django.utils.translation import gettext
from rest_framework import exceptions, parsers, permissions, renderers, routers, serializers, views, viewsets
from rest_framework.authentication import SessionAuthentication
from rest_framework.decorators import action
from rest_framework.response import Response
from rest_framework.urlpatterns import format_suffix_patterns
from rest_framework.versioning import AcceptHeaderVersioning

from hansa.server.lifecycle.views import APIView
from hansa.server.lifecycle.viewsets import ViewSet
from lifecycle.handler.access import Exhausted, Knock, Never
from lifecycle.handler.pages import PAGES

HANDLERS = ("get", "post", "put", "patch", "delete", "list", "retrieve", "create", "update", "destroy", "counted")


@dataclass(frozen=True)
class Base:
    """What a site is built on."""

    view: Any
    viewset: Any
    finish: Callable[[type], type]
    """Applied to each class before its `as_view`."""


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


class ItemSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=10)
    size = serializers.IntegerField(required=False)


def telling(base: Base) -> Any:
    """The view that all others are made from: it tells who asks for what."""

    class Api(base.view):
        authentication_classes = (Knock,)
        permission_classes: tuple[Any, ...] = ()
        throttle_classes: tuple[Any, ...] = ()
        renderer_classes = (renderers.JSONRenderer, renderers.BrowsableAPIRenderer)
        parser_classes = (parsers.JSONParser, parsers.FormParser, parsers.MultiPartParser)

        def get(self, request: Any, **kwargs: Any) -> Response:
            return Response({"user": str(request.user), "query": request.query_params.dict(), "kwargs": kwargs})

    return base.finish(Api)


def echoing(base: Base, api: Any) -> Any:
    """A view that takes bodies."""

    class Echo(api):
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

    return base.finish(Echo)


def guarded(api: Any) -> dict[str, Any]:
    """Views that do not let everybody in, and one of two versions, by the names of their paths."""

    class Members(api):
        permission_classes = (permissions.IsAuthenticated,)

    class BySession(Members):
        authentication_classes = (SessionAuthentication, Knock)

    class Closed(api):
        permission_classes = (Never,)

    class Throttled(api):
        throttle_classes = (Exhausted,)

    class Versioned(api):
        versioning_class = AcceptHeaderVersioning

    return {
        "members": Members,
        "by-session": BySession,
        "closed": Closed,
        "throttled": Throttled,
        "versioned": Versioned,
    }


def unlike_others(base: Base, api: Any) -> tuple[Any, Any, Any]:
    """Views that raise, that return what is no response, and that return one of Django's."""

    class Raising(api):
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

    class Wrong(api):
        def get(self, request: Any, **kwargs: Any) -> Any:
            return {"not": "a response"}

    class Raw(api):
        def get(self, request: Any, **kwargs: Any) -> Any:
            return StreamingHttpResponse(iter([b"one ", b"two"]), content_type="text/plain")

    return base.finish(Raising), base.finish(Wrong), base.finish(Raw)


def items(base: Base) -> Any:
    """A ViewSet with an action of its own."""

    class Items(base.viewset):
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

    return base.finish(Items)


def build(base: Base) -> ModuleType:
    """A URLconf."""
    api = telling(base)
    echo = echoing(base, api)
    raising, wrong, raw = unlike_others(base, api)
    named = {"echo": echo, **guarded(api), "not-a-response": wrong, "raw": raw}
    router = routers.DefaultRouter()
    router.register("items", items(base), basename="items")
    module = ModuleType("site")
    vars(module)["urlpatterns"] = [
        *PAGES,
        *(path(f"{name}/", cls.as_view(), name=name) for name, cls in named.items()),
        path("raising/<str:what>/", raising.as_view()),
        path("api/", include(router.urls)),
        *format_suffix_patterns([path("suffixed", echo.as_view())]),
    ]
    return module


SITES = {name: build(base) for name, base in BASES.items()}

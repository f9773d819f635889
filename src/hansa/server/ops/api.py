"""Health, and the answer to paths that do not exist."""

import os
from typing import Any

from django.db import connection
from django.http import HttpRequest, HttpResponsePermanentRedirect
from django.http.response import HttpResponseBase
from django.urls import Resolver404, resolve
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework.request import Request
from rest_framework.response import Response

import hansa
from hansa.protocol.base import PROTOCOL_VERSION, Answer
from hansa.server.lifecycle.bridge import read
from hansa.server.lifecycle.errors import NotFoundError
from hansa.server.lifecycle.in_place import in_place
from hansa.server.lifecycle.messages import MessageView
from hansa.server.lifecycle.openapi import ref
from hansa.server.lifecycle.rendering import StructJSONRenderer
from hansa.server.lifecycle.views import APIView


class HealthAnswer(Answer, frozen=True):
    """The server answers, and so does its database."""

    status: str
    pid: int
    """Of the process that answered."""
    version: str
    protocol: int


class Health(MessageView):
    """For load balancers and scripts."""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(responses={200: ref(HealthAnswer)}, auth=[])
    async def get(self, request: Request) -> Response:
        """200 if requests can be served."""
        await read(_ask_database)
        return Response(
            HealthAnswer(status="ok", pid=os.getpid(), version=hansa.__version__, protocol=PROTOCOL_VERSION)
        )


def _ask_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


class Schema(APIView, SpectacularAPIView):
    """The OpenAPI document. drf-spectacular makes it, synchronously: the one hop of this view."""

    view_is_async = True
    authentication_classes = ()
    permission_classes = ()

    @in_place
    def finalize_response(self, request: Request, response: Response, *args: object, **kwargs: object) -> Response:
        """The document is YAML unless JSON is asked for; a refusal is JSON, as everywhere."""
        if response.exception:
            request.accepted_renderer, request.accepted_media_type = StructJSONRenderer(), "application/json"
        return super().finalize_response(request, response, *args, **kwargs)


class Unknown(MessageView):
    """Every other path under /api/: 404, or the way to the path with its slash."""

    name, description = "Nothing here", ""
    """For people who come with a browser; the breadcrumbs of other pages leave this name out."""
    authentication_classes = ()
    permission_classes = ()
    schema = None

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]  # awaited; Any: URL arguments
        """Redirect GET and HEAD if only the final slash is missing. What changes something is not sent twice."""
        if request.method in ("GET", "HEAD") and _lacks_its_slash(request):
            query = request.META.get("QUERY_STRING")
            return HttpResponsePermanentRedirect(f"{request.path}/" + (f"?{query}" if query else ""))
        response: HttpResponseBase = await super().dispatch(request, *args, **kwargs)
        return response

    @in_place
    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        """Nothing here, for whoever asks and however."""
        here = f"There is nothing at {request.path}"
        if _lacks_its_slash(request._request):
            raise NotFoundError(f"{here}: paths end with a slash. Send {request.method} {request.path}/ instead.")
        raise NotFoundError(f"{here}. GET /api/schema/ lists what there is.")


def _lacks_its_slash(request: HttpRequest) -> bool:
    if request.path_info.endswith("/"):
        return False
    try:
        return getattr(resolve(f"{request.path_info}/").func, "cls", None) is not Unknown
    except Resolver404:
        return False

"""What callers see when Django itself refuses or fails: JSON below /api/ and of hosts, else pages."""

import sys
from typing import Final

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.html import escape
from django.views import defaults

from hansa.server.lifecycle.answers import told_already
from hansa.server.lifecycle.errors import SERVER_ERROR
from hansa.server.lifecycle.outage import OUTAGES, DatabaseAwayError


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """400: a host that is not ours, a form that is too large. Of a host in JSON everywhere: probes ask by addresses."""
    if isinstance(exception, DisallowedHost):
        host = request.META.get("HTTP_HOST", request.META.get("SERVER_NAME", ""))[:200]
        detail = (
            f"This server does not answer to the name {host!r}, as which it was asked (the Host header). Ask for it by "
            "one of its own names. Operators: HANSA_ALLOWED_HOSTS lists them; add this one if it is the server's."
        )
        return JsonResponse({"detail": detail, "code": "invalid"}, status=400)
    if not _is_api(request):
        return defaults.bad_request(request, exception)
    return JsonResponse({"detail": str(exception), "code": "invalid"}, status=400)


def server_error(request: HttpRequest) -> HttpResponseBase:
    """500: the log has the traceback, the caller a sentence. 503 if the database is away."""
    if OUTAGES.met(sys.exc_info()[1]):
        return _database_away(request)
    if not _is_api(request):
        return defaults.server_error(request)
    return JsonResponse(SERVER_ERROR, status=500)


def _database_away(request: HttpRequest) -> HttpResponseBase:
    """Without a template of the dashboard's: those ask the database who is looking."""
    error = DatabaseAwayError
    response: HttpResponse
    if _is_api(request):
        response = JsonResponse({"detail": error.default_detail, "code": error.default_code}, status=error.status_code)
    else:
        response = HttpResponse(_PAGE.format(detail=escape(error.default_detail)), status=error.status_code)
    response["Retry-After"] = str(error.wait)
    response["Cache-Control"] = "no-store"
    told_already(response)
    return response


_PAGE: Final = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>The database is away - Hansa</title>'
    "<h1>503: the database is away</h1><p>{detail}</p></html>"
)


def _is_api(request: HttpRequest) -> bool:
    return request.path_info.startswith("/api/")

"""What callers see when Django itself refuses or fails: JSON below /api/, Django's own pages elsewhere."""

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.views import defaults

from hansa.server.lifecycle.errors import SERVER_ERROR


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """400: a host that is not ours, a form that is too large."""
    if not _is_api(request):
        return defaults.bad_request(request, exception)
    hint = " Operators: HANSA_ALLOWED_HOSTS." if "ALLOWED_HOSTS" in str(exception) else ""
    return JsonResponse({"detail": f"{exception}{hint}", "code": "invalid"}, status=400)


def server_error(request: HttpRequest) -> HttpResponseBase:
    """500: the log has the traceback, the caller a sentence."""
    if not _is_api(request):
        return defaults.server_error(request)
    return JsonResponse(SERVER_ERROR, status=500)


def _is_api(request: HttpRequest) -> bool:
    return request.path_info.startswith("/api/")

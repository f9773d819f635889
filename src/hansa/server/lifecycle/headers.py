"""Security headers on every answer, whichever way it was made."""

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Django's admin has inline style attributes nowhere and inline scripts nowhere: nothing to allow but ourselves.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
}
HSTS = "max-age=31536000"


def secure(response: HttpResponseBase, *, over_tls: bool) -> None:
    """Add what is missing; a view may have set its own."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if over_tls:
        response.headers.setdefault("Strict-Transport-Security", HSTS)


class SecurityHeadersMiddleware:
    """The same headers for Django's own views (the admin)."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Answer, synchronously or as a coroutine, as the next middleware does."""
        if self._is_async:
            return self._awaited(request)
        response = self.get_response(request)
        secure(response, over_tls=request.is_secure())
        return response

    async def _awaited(self, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = await self.get_response(request)  # type: ignore[misc]  # async, as marked
        secure(response, over_tls=request.is_secure())
        return response

"""Security headers on every answer, whichever way it was made."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase, ResponseHeaders

from hansa.server.lifecycle.middleware import InPlace

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Django's admin has inline style attributes nowhere and inline scripts nowhere: nothing to allow but ourselves.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
}
_CHECKED = dict(ResponseHeaders(HEADERS)._store)  # by lower-case name: (name, value)
HSTS = "max-age=31536000"


def secure(response: HttpResponseBase, *, over_tls: bool) -> None:
    """Add what is missing; a view may have set its own."""
    known = response.headers._store  # constants need not be checked for every response
    for key, header in _CHECKED.items():
        known.setdefault(key, header)
    if over_tls:
        response.headers.setdefault("Strict-Transport-Security", HSTS)


class SecurityHeadersMiddleware(InPlace):
    """The same headers on every answer, whichever way it was made."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Add them."""
        secure(response, over_tls=request.is_secure())
        return response

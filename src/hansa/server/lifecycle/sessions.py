"""Django's sessions as credentials: for browsers, which carry a cookie and are asked for the CSRF token."""

from typing import Any

from django.conf import settings
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict
from rest_framework import authentication
from rest_framework.request import Request

from hansa.server.lifecycle.body import UnreadRequest
from hansa.server.lifecycle.threads import hop


class SessionAuthentication(authentication.SessionAuthentication):
    """DRF's, at no cost for callers without the cookie; one thread hop for those who have it."""

    async def aauthenticate(self, request: Request) -> tuple[Any, None] | None:  # Any: the project's user model
        """Return the user of the session; None without one. Raises PermissionDenied without the CSRF token."""
        if settings.SESSION_COOKIE_NAME not in request._request.COOKIES:
            return None
        found: tuple[Any, None] | None = await hop(self.authenticate, request)
        return found

    def enforce_csrf(self, request: Request) -> None:
        """DRF's. A body that the view will stream is no form to look into: there the header alone counts."""
        http = request._request
        if not (isinstance(http, UnreadRequest) and http.streams_body):
            super().enforce_csrf(request)
            return
        form: Any = http  # Any: Django keeps a parsed form in two private attributes
        form._post, form._files = QueryDict(), MultiValueDict()
        super().enforce_csrf(form)

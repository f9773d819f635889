"""Django's middleware for the event loop: the same classes, without a thread hop for what does not block.

Django adapts each hook of its own middleware by a thread hop, four to ten per request. Most of what they do is looking
at a cookie or a header: that is done in place here; a hop is left where a session is read or stored, or a form parsed.
"""

from collections.abc import Callable
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.contrib.auth import middleware as auth
from django.contrib.messages import middleware as messages
from django.contrib.messages.storage import default_storage
from django.contrib.sessions import middleware as sessions
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware import common, csrf
from django.utils.deprecation import MiddlewareMixin
from django.utils.functional import SimpleLazyObject, empty
from whitenoise import middleware as whitenoise

from hansa.server.lifecycle.body import UnreadRequest
from hansa.server.lifecycle.bridge import work
from hansa.server.lifecycle.threads import hop

_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class _InPlace(MiddlewareMixin):
    """Runs `process_request` and `process_response` on the event loop, or as the class says."""

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.process_request(request) if hasattr(self, "process_request") else None
        if response is None:
            response = await self.get_response(request)  # type: ignore[misc]  # awaited, in this mode
        if not hasattr(self, "process_response"):
            return response  # type: ignore[no-any-return]  # a middleware's
        if self.may_block(request):
            return await hop(self.process_response, request, response)
        return self.process_response(request, response)  # type: ignore[no-any-return]  # as above

    def may_block(self, request: HttpRequest) -> bool:
        """Whether `process_response` has something to store."""
        return False


class CommonMiddleware(_InPlace, common.CommonMiddleware):
    """Django's: host check, slashes, Content-Length."""


class SessionMiddleware(_InPlace, sessions.SessionMiddleware):
    """Django's; a session that was changed is stored on the request's thread."""

    def may_block(self, request: HttpRequest) -> bool:
        """Sessions that were only read, or not at all, are not stored."""
        return request.session.modified or settings.SESSION_SAVE_EVERY_REQUEST


class AuthenticationMiddleware(_InPlace, auth.AuthenticationMiddleware):
    """Django's: `request.user` is read when it is asked for."""


class MessageMiddleware(_InPlace, messages.MessageMiddleware):
    """Django's; a storage is made when it is asked for, and written to on the request's thread."""

    def process_request(self, request: HttpRequest) -> None:
        """Requests of programs have no messages: they do not pay for a storage."""
        storage = SimpleLazyObject(lambda: default_storage(request))
        request._messages = storage  # type: ignore[attr-defined]  # where Django looks for it

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Store, if anybody asked."""
        return super().process_response(request, response) if _was_asked_for(request) else response

    def may_block(self, request: HttpRequest) -> bool:
        """Nothing is stored where no message was added or shown."""
        storage: Any = getattr(request, "_messages", None)  # Any: Django's stubs do not know this attribute
        return _was_asked_for(request) and (storage.used or storage.added_new)


def _was_asked_for(request: HttpRequest) -> bool:
    storage = getattr(request, "_messages", None)
    return storage is not None and getattr(storage, "_wrapped", storage) is not empty


class CsrfViewMiddleware(_InPlace, csrf.CsrfViewMiddleware):
    """Django's; forms are parsed on the request's thread."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        super().__init__(get_response)
        if self.async_mode:
            # Any: Django takes plain and awaited hooks, its stubs the plain ones
            awaited: Any = self._awaited_process_view
            self.process_view = awaited  # type: ignore[method-assign]  # how Django finds the hook

    async def _awaited_process_view(
        self, request: HttpRequest, callback: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HttpResponseBase | None:  # Any: a view and its URL arguments
        check = super().process_view
        if request.method in _SAFE or getattr(callback, "csrf_exempt", False):
            return check(request, callback, args, kwargs)
        if isinstance(request, UnreadRequest):
            await request.load()
        return await hop(check, request, callback, args, kwargs)


class WhiteNoiseMiddleware(whitenoise.WhiteNoiseMiddleware):  # type: ignore[misc]  # whitenoise has no type hints
    """WhiteNoise's static files: a look into a dictionary, and the file opened off the event loop."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:  # Any: a response, or one to be awaited
        super().__init__(get_response)
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:  # Any: as above
        """Serve a static file, or pass the request on."""
        return self._awaited(request) if self._is_async else super().__call__(request)

    async def _awaited(self, request: HttpRequest) -> HttpResponseBase:
        if self.autorefresh:
            found = await work(self.find_file, request.path_info)
        else:
            found = self.files.get(request.path_info)
        # Any: whitenoise has no type hints
        response: Any = await (self.get_response(request) if found is None else work(self.serve, found, request))
        return cast("HttpResponseBase", response)  # as above

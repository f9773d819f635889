"""Django's middleware for the event loop: the same classes, without a thread hop for what does not block.

Django adapts each hook of its own middleware by a thread hop, four to ten per request. Most of what they do is looking
at a cookie or a header: that is done in place here; a hop is left where a session is read or stored, or a form parsed.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import middleware as auth
from django.contrib.messages import middleware as messages
from django.contrib.messages.storage import default_storage
from django.contrib.sessions import middleware as sessions
from django.core.handlers.exception import response_for_exception
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


class InPlace(MiddlewareMixin):
    """A middleware whose `process_request` and `process_response` run on the event loop, or as `may_block` says.

    Neighbours of this kind run as one: Django wraps each middleware in two coroutines of its own, which a thousand
    waiting requests would hold a thousand times. What is observable stays Django's: the order, who sees which response,
    and that an error in a hook becomes a response for those further out.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        super().__init__(get_response)
        # `convert_exception_to_response` says by `__wrapped__` what it wraps.
        inner = getattr(get_response, "__wrapped__", None)
        self._stages: tuple[InPlace, ...] = (self,)
        self._innermost: Callable[..., Any] = get_response  # Any: a response, here to be awaited
        if self.async_mode and isinstance(inner, InPlace):
            self._stages, self._innermost = (self, *inner._stages), inner._innermost

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        response: Any = None  # Any: what hooks answer, checked by Django further out
        depth = 0
        for stage in self._stages:
            depth += 1
            try:
                response = stage.begin(request)
                if isinstance(response, Coroutine):
                    response = await response
            except Exception as error:  # noqa: BLE001  # as convert_exception_to_response does
                response, depth = await _answer_for(request, error), depth - 1
            if response is not None:
                break
        else:
            response = await self._innermost(request)
        for stage in reversed(self._stages[:depth]):
            try:
                blocks = stage.may_block(request)
                response = await hop(stage.end, request, response) if blocks else stage.end(request, response)
            except Exception as error:  # noqa: BLE001  # as above
                response = await _answer_for(request, error)
        return response  # type: ignore[no-any-return]  # as above

    def begin(self, request: HttpRequest) -> Any:  # Any: a response, None, or one of these to be awaited
        """The way in: a response ends it."""
        return self.process_request(request) if hasattr(self, "process_request") else None

    def end(self, request: HttpRequest, response: HttpResponseBase) -> Any:  # Any: a middleware's response
        """The way out."""
        return self.process_response(request, response) if hasattr(self, "process_response") else response

    def may_block(self, request: HttpRequest) -> bool:
        """Whether the way out has something to store: then it is done on the request's thread."""
        return False


async def _answer_for(request: HttpRequest, error: Exception) -> Any:  # Any: Django's own
    return await sync_to_async(response_for_exception, thread_sensitive=False)(request, error)


class CommonMiddleware(InPlace, common.CommonMiddleware):
    """Django's: host check, slashes, Content-Length."""


class SessionMiddleware(InPlace, sessions.SessionMiddleware):
    """Django's; a session that was changed is stored on the request's thread."""

    def may_block(self, request: HttpRequest) -> bool:
        """Sessions that were only read, or not at all, are not stored."""
        return request.session.modified or settings.SESSION_SAVE_EVERY_REQUEST


class AuthenticationMiddleware(InPlace, auth.AuthenticationMiddleware):
    """Django's: `request.user` is read when it is asked for."""


class MessageMiddleware(InPlace, messages.MessageMiddleware):
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


class CsrfViewMiddleware(InPlace, csrf.CsrfViewMiddleware):
    """Django's; forms are parsed on the request's thread."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        super().__init__(get_response)
        if self.async_mode:
            # Any: Django takes plain and awaited hooks, its stubs the plain ones
            awaited: Any = self._awaited_process_view
            self.process_view = awaited  # type: ignore[method-assign]  # how Django finds the hook

    def begin(self, request: HttpRequest) -> Any:  # Any: None, or to be awaited
        """Look for the secret: in a cookie, or in the session, which is read on the request's thread."""
        return hop(self.process_request, request) if settings.CSRF_USE_SESSIONS else self.process_request(request)

    def may_block(self, request: HttpRequest) -> bool:
        """Whether the secret is kept in the session."""
        return bool(settings.CSRF_USE_SESSIONS)

    async def _awaited_process_view(
        self, request: HttpRequest, callback: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HttpResponseBase | None:  # Any: a view and its URL arguments
        check = super().process_view
        if request.method in _SAFE or getattr(callback, "csrf_exempt", False):
            return check(request, callback, args, kwargs)
        if isinstance(request, UnreadRequest):
            await request.load()
        return await hop(check, request, callback, args, kwargs)


class WhiteNoiseMiddleware(InPlace, whitenoise.WhiteNoiseMiddleware):  # type: ignore[misc]  # whitenoise has no type hints
    """WhiteNoise's static files: a look into a dictionary, and the file opened off the event loop."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        super().__init__(get_response)
        self.get_response = get_response  # MiddlewareMixin goes on to WhiteNoise's constructor without it

    def begin(self, request: HttpRequest) -> Any:  # Any: None, or a file's response to be awaited
        """Serve a static file, or pass the request on."""
        if self.autorefresh:
            return work(self._serve_if_found, request)
        found = self.files.get(request.path_info)
        return None if found is None else work(self.serve, found, request)

    def __call__(self, request: HttpRequest) -> Any:  # Any: a response, or one to be awaited
        """WhiteNoise's own, where everything is synchronous."""
        return self.__acall__(request) if self.async_mode else whitenoise.WhiteNoiseMiddleware.__call__(self, request)

    def _serve_if_found(self, request: HttpRequest) -> Any:  # Any: whitenoise has no type hints
        found = self.find_file(request.path_info)
        return None if found is None else self.serve(found, request)

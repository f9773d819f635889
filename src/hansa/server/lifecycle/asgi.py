"""The ASGI handler: Django's middleware, signals and URL resolver, without what its own handler costs.

Django's handler starts threads and opens a database connection for every request, spools every body before the first
policy runs, and parks one thread per waiting client. Here awaited views get their request unread and run on the event
loop; synchronous code, wherever it is met (a middleware, a view, a policy), runs on one thread that the request borrows
(`threads.py`); a request that waits holds neither thread nor connection.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from asgiref.sync import ThreadSensitiveContext, iscoroutinefunction, sync_to_async
from django.conf import settings
from django.core import signals
from django.core.cache import close_caches
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.base import reset_urlconf
from django.db import close_old_connections, reset_queries
from django.dispatch import Signal
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch, get_resolver, set_script_prefix, set_urlconf
from django.utils.log import log_response
from django.utils.translation import get_language

from hansa.server.lifecycle import atomic, conf, context, events, rendering, threads
from hansa.server.lifecycle.body import BodyTooLargeError, DisconnectedError, Receive, UnreadRequest, Wire
from hansa.server.lifecycle.sending import Send, send_response

log = logging.getLogger("django.request")

Scope = dict[str, Any]  # Any: an ASGI scope is an open dictionary

_HOUSEKEEPING = frozenset({close_old_connections, reset_queries, close_caches, reset_urlconf})
"""Django's own receivers of its request signals. They care for one thread: `threads.py` does, for those it lends."""
_unheard: dict[tuple[Signal, type], list[Any]] = {}  # Any: what a signal keeps of each receiver
"""Of signals that nobody but those hears: all whom they had then. To find that out anew takes ten times as long."""


class Handler(ASGIHandler):
    """Serves a Django project; put it where `get_asgi_application()` would stand."""

    # What Django's handler has, and its stubs do not tell. Any: plain and awaited callables, adapted.
    _middleware_chain: Callable[..., Any]
    _view_middleware: list[Callable[..., Any]]
    _template_response_middleware: list[Callable[..., Any]]
    _exception_middleware: list[Callable[..., Any]]

    def __init__(self) -> None:
        self.conf = conf.read()
        self.lender = threads.Lender(self.conf.threads)
        super().__init__()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"This handler serves HTTP, not {scope['type']!r}.")
        borrowed = threads.BorrowedThread(self.lender)
        token = threads.CURRENT.set(borrowed)
        try:
            async with ThreadSensitiveContext(executor=borrowed):
                await self._serve(scope, Wire(receive), send)
        finally:
            threads.CURRENT.reset(token)
            borrowed.release(ended=True)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Nothing to start; at the end, streams and idle threads. A project may do more before it calls this."""
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        events.end_all()
        self.lender.shutdown()
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope: Scope, wire: Wire, send: Send) -> None:
        set_script_prefix(get_script_prefix(scope))
        await _announce(signals.request_started, sender=type(self), scope=scope)
        request = _wrap(scope, wire)
        if isinstance(request, HttpResponseBase):
            await send_response(request, send)
            await self._close(request)
            return
        loop = asyncio.get_running_loop()
        wire.serving = asyncio.current_task()
        watch = loop.call_later(self.conf.watch_after, request.watch_for, wire.serving)
        try:
            response = await self._respond(request)
            watch.cancel()
            await self._send(request, response, send)
        except asyncio.CancelledError as cancelled:
            if not (wire.has_gone or isinstance(cancelled, DisconnectedError)):
                raise
        finally:
            watch.cancel()
            if not request.is_answered:
                request.close()
                close_caches()
                await _announce(signals.request_finished, sender=type(self))

    async def _send(self, request: UnreadRequest, response: HttpResponseBase, send: Send) -> None:
        request.is_answered = True
        if request.is_unread:
            # The rest of it will not be read, so nothing can follow on this connection: who does not know that sends
            # the next request into the void.
            if request.is_http_1:
                response.headers["Connection"] = "close"
        elif response.streaming:
            request.watch_for(asyncio.current_task())  # granian's `send` does not say when the client has gone
        if threads.hops() and self._needs_no_thread(response):
            await threads.release()  # a client that reads slowly is not to keep it
        try:
            await send_response(response, send, request)
        finally:
            request.stop_watching()
            await self._close(response)

    async def _respond(self, request: UnreadRequest) -> HttpResponseBase:
        set_urlconf(settings.ROOT_URLCONF)
        if not request.is_http_1 and request.announced_length is None:
            await request.wire.begin()
        match = _resolve(request)
        _tell(request, match)
        request.resolved_ahead, request.resolved_for = match, _whereabouts(request)
        limit = _stated(match, "body_limit")
        request.body_limit = self.conf.body_limit if limit is None else limit
        if match is None or not getattr(match.func, "reads_own_body", False):
            try:
                await request.load()
            except BodyTooLargeError as error:
                request.refusal = error  # answered in the middle of the middleware, like everything
        else:
            request.streams_body = bool(_stated(match, "streams_body"))
        return await self.run_get_response(request)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """Django's, with a thread for the log only where something is logged."""
        response: Any = await self._middleware_chain(request)  # Any: whatever the outermost middleware answers
        response._resource_closers.append(request.close)
        if response.status_code >= 400 and log.isEnabledFor(logging.WARNING):
            await sync_to_async(log_response, thread_sensitive=False)(
                "%s: %s", response.reason_phrase, request.path, response=response, request=request
            )
        return cast("HttpResponseBase", response)  # as Django does

    def resolve_request(self, request: UnreadRequest) -> ResolverMatch:  # type: ignore[override]  # this handler's requests
        """Django's; a match from before the middleware holds unless one has set another URLconf, path or language."""
        ahead: ResolverMatch | None = request.resolved_ahead
        if ahead is None or hasattr(request, "urlconf") or request.resolved_for != _whereabouts(request):
            return super().resolve_request(request)
        request.resolver_match = ahead
        return ahead

    async def _get_response_async(self, request: UnreadRequest) -> HttpResponseBase:
        """Django's innermost step: view middleware, view, exception middleware, rendering."""
        if (refusal := request.refusal) is not None:
            return JsonResponse({"detail": str(refusal), "code": refusal.default_code}, status=refusal.status_code)
        view, args, kwargs = self.resolve_request(request)
        response: Any = None  # Any: checked below
        for middleware in self._view_middleware:
            response = await middleware(request, view, args, kwargs)
            if response:
                break
        if response is None:
            try:
                response = await self._call(view, request, *args, **kwargs)
            except Exception as error:  # noqa: BLE001  # Django's contract: exception middleware sees every error
                response = await self._ask_exception_middleware(error, request)
        self.check_response(response, view)
        if callable(getattr(response, "render", None)):
            for middleware in self._template_response_middleware:
                response = await middleware(request, response)
                self.check_response(response, middleware, name=f"{middleware}.process_template_response")
            try:
                response = await rendering.render(response)
            except Exception as error:  # noqa: BLE001  # as above
                response = await self._ask_exception_middleware(error, request)
        return response  # type: ignore[no-any-return]  # checked above

    async def _call(
        self, view: Callable[..., Any], request: HttpRequest, /, *args: Any, **kwargs: Any
    ) -> Any:  # Any: a view's
        if not iscoroutinefunction(view):
            return await threads.hop(self.make_view_atomic(view), request, *args, **kwargs)
        if names := atomic.aliases(view):
            async with atomic.transactions(names):
                return await view(request, *args, **kwargs)
        return await view(request, *args, **kwargs)

    async def _ask_exception_middleware(self, error: Exception, request: HttpRequest) -> HttpResponseBase:
        response = None
        if self._exception_middleware:
            response = await threads.hop(self.process_exception_by_middleware, error, request)
        if response is None:
            raise error
        return response

    def _needs_no_thread(self, response: HttpResponseBase) -> bool:
        """Whether what is still to come may run on any thread: the body is there, awaited, or a file's."""
        is_file = getattr(response, "file_to_stream", None) is not None
        is_plain_stream = not getattr(response, "is_async", True)
        return (is_file or not is_plain_stream) and not any(_strangers(signals.request_finished, type(self)))

    async def _close(self, response: HttpResponseBase) -> None:
        """Close files and send `request_finished`: in place, unless that runs plain code which we do not know."""
        response._handler_class = type(self)  # type: ignore[attr-defined]  # who Django says has sent the signal
        streams_plainly = not getattr(response, "is_async", True)
        if streams_plainly or any(_strangers(signals.request_finished, type(self))):
            await threads.hop(response.close)
        elif type(response).close is not HttpResponseBase.close:
            response.close()
        else:
            _close_unheard(response)


def _close_unheard(response: Any) -> None:  # Any: Django's stubs do not know what a response closes
    """Django's `close`, where nobody but Django listens: what its receivers do for this thread, without the signal.

    A quarter of the time that it takes to answer a request which has waited.
    """
    for closer in response._resource_closers:
        with suppress(Exception):  # as Django does
            closer()
    response._resource_closers.clear()
    response.closed = True
    close_caches()
    set_urlconf(None)


def _resolve(request: HttpRequest) -> ResolverMatch | None:
    try:
        match = get_resolver().resolve(request.path_info)
    except Exception:  # noqa: BLE001  # Resolver404, or a converter's: raised again where the middleware sees it
        return None
    if not settings.DEBUG:
        match.tried = None  # the patterns that did not match, for pages that only DEBUG shows: 3 KiB of each request
    return match


def _tell(request: UnreadRequest, match: ResolverMatch | None) -> None:
    """Which view is asked, and about which objects: for whoever observes requests, and for the log."""
    if match is not None:
        request.scope["route"] = match.route  # type: ignore[index]  # a dictionary, which django-stubs calls a Mapping
        ids = {name.removesuffix("_id"): value for name, value in match.kwargs.items() if name.endswith("_id")}
        context.note(**ids)


def _whereabouts(request: HttpRequest) -> tuple[str, str | None]:
    """What, beside the URLconf, decides which view a request gets."""
    return request.path_info, get_language() if settings.USE_I18N else None


def _stated(match: ResolverMatch | None, name: str) -> Any:  # Any: an attribute of a view class
    """What a view's class says of itself, or was told by `as_view(…)`; None where there is no class."""
    view: Any = None if match is None else match.func  # Any: a function, with attributes if it is a class's
    return getattr(view, "initkwargs", {}).get(name, getattr(getattr(view, "cls", None), name, None))


def _wrap(scope: Scope, wire: Wire) -> UnreadRequest | HttpResponseBase:
    try:
        return UnreadRequest(scope, wire)
    except UnicodeDecodeError:
        log.warning("Bad request: the URL is not UTF-8.")
        return JsonResponse({"detail": "The URL is not UTF-8.", "code": "invalid"}, status=400)


def _strangers(
    signal: Signal, sender: type
) -> tuple[list[Callable[..., Any]], list[Callable[..., Any]]]:  # Any: receivers
    """The plain and the awaited receivers of a signal that are not Django's own housekeeping."""
    if _unheard.get((signal, sender)) == signal.receivers:
        return [], []
    plain, awaited = signal._live_receivers(sender)  # no public way to ask who listens
    strangers = [receiver for receiver in plain if receiver not in _HOUSEKEEPING], list(awaited)
    if not any(strangers):
        _unheard[signal, sender] = list(signal.receivers)
    return strangers


async def _announce(signal: Signal, *, sender: type, **named: Any) -> None:  # Any: what the signal carries
    plain, awaited = _strangers(signal, sender)
    for receiver in plain:
        await threads.hop(receiver, signal=signal, sender=sender, **named)
    for receiver in awaited:
        await receiver(signal=signal, sender=sender, **named)

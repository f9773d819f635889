"""The ASGI handler: awaited views get their requests unread, everything else goes through Django's own handler.

Django's stock handler spools every body to a temporary file before the first policy runs, opens operating system
threads and a database connection per request, and parks one thread per waiting client. An awaited view needs none of
that: it runs on the event loop and reaches the database by the bridge. Synchronous views (the admin) stay with Django.
"""

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import Resolver404, ResolverMatch, get_resolver, set_script_prefix, set_urlconf

from hansa.server.lifecycle.body import DisconnectedError, Message, Receive, UnreadRequest
from hansa.server.lifecycle.bridge import work
from hansa.server.lifecycle.headers import secure

log = logging.getLogger(__name__)

Scope = dict[str, Any]  # Any: an ASGI scope is an open dictionary
Send = Callable[[Message], Awaitable[None]]

STOCK_BODY_LIMIT = 10 * 2**20
"""Bytes of a body for synchronous views: forms of the admin."""


class Handler(ASGIHandler):
    """Routes by the mark that awaited views carry (`view.cls.view_is_async`)."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            raise ValueError(f"This handler serves HTTP, not {scope['type']!r}.")
        match = _resolve(scope)
        if match is None or not getattr(getattr(match.func, "cls", None), "view_is_async", False):
            await self._stock(scope, receive, send)
            return
        await self._awaited(match, scope, receive, send)

    async def _awaited(self, match: ResolverMatch, scope: Scope, receive: Receive, send: Send) -> None:
        set_script_prefix(scope.get("root_path", "") or "")
        set_urlconf(None)
        try:
            request = UnreadRequest(scope, receive)
        except UnicodeDecodeError:
            await _send(JsonResponse({"detail": "The URL is not UTF-8.", "code": "invalid"}, status=400), send)
            return
        request.resolver_match = match
        try:
            response = await self._respond(match, request)
        except DisconnectedError:
            return
        secure(response, over_tls=request.is_secure())
        if request.is_unread:
            # The rest of it will not be read, so nothing can follow on this connection: who does not know that sends
            # the next request into the void.
            response.headers["Connection"] = "close"
        await _send(response, send, request)

    async def _respond(self, match: ResolverMatch, request: UnreadRequest) -> HttpResponseBase:
        try:
            request.get_host()
            response: HttpResponseBase = await match.func(request, *match.args, **match.kwargs)
            if hasattr(response, "render"):
                response = response.render()
        except DisallowedHost as exc:
            return JsonResponse({"detail": f"{exc} Operators: HANSA_ALLOWED_HOSTS.", "code": "invalid"}, status=400)
        except DisconnectedError:
            raise
        except Exception:
            # The outermost loop of a request: the log has the traceback, the caller a sentence.
            log.exception("%s %s failed", request.method, request.path)
            detail = "The server made a mistake; its log has the details. Nothing you sent was at fault."
            return JsonResponse({"detail": detail, "code": "server_error"}, status=500)
        return response

    async def _stock(self, scope: Scope, receive: Receive, send: Send) -> None:
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return {"type": "http.disconnect"} if received > STOCK_BODY_LIMIT else message

        length = dict(scope.get("headers", [])).get(b"content-length", b"0")
        if length.isdigit() and int(length) > STOCK_BODY_LIMIT:
            detail = f"The body is too large: at most {STOCK_BODY_LIMIT:,} bytes are allowed here."
            await _send(JsonResponse({"detail": detail, "code": "too_large"}, status=413), send)
            return
        await super().__call__(scope, limited, send)

    async def send_response(self, response: HttpResponseBase, send: Send) -> None:
        """Send Django's own responses; files (of the admin) piece by piece, where Django would read them whole."""
        if isinstance(response, StreamingHttpResponse) and isinstance(response.streaming_content, Iterator):
            response.streaming_content = _pieces(response.streaming_content)
        await super().send_response(response, send)


async def _pieces(content: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (piece := await work(next, content, None)) is not None:
        yield piece


def _resolve(scope: Scope) -> ResolverMatch | None:
    path = scope["path"].removeprefix(scope.get("root_path", "") or "")
    try:
        return get_resolver().resolve(path)
    except Resolver404:
        return None


async def _send(response: HttpResponseBase, send: Send, request: UnreadRequest | None = None) -> None:
    headers = [(name.encode("ascii"), value.encode("latin1")) for name, value in response.items()]
    content: Any = response  # Any: the two kinds of response share no typed interface for their bodies
    if isinstance(response, HttpResponse) and not response.has_header("Content-Length") and response.status_code != 304:
        headers.append((b"Content-Length", str(len(response.content)).encode()))
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    try:
        if request is not None and request.method == "HEAD":
            await send({"type": "http.response.body", "body": b""})
        elif request is not None and isinstance(response, StreamingHttpResponse):
            await _stream(content, send, request)
        else:
            await send({"type": "http.response.body", "body": getattr(response, "content", b"")})
    finally:
        response.close()


async def _stream(content: AsyncIterable[bytes], send: Send, request: UnreadRequest) -> None:
    """Send piece by piece, and read no further for a client that has gone: granian's `send` does not say so."""
    gone = asyncio.create_task(request.disconnected())
    try:
        async for piece in content:
            if gone.done():
                return
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        gone.cancel()

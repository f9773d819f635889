"""Sending a response over ASGI, piece by piece."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, aclosing
from typing import Any

from django.http.response import HttpResponseBase

from hansa.server.lifecycle.body import Message, UnreadRequest
from hansa.server.lifecycle.files import CHUNK
from hansa.server.lifecycle.threads import hop, release

Send = Callable[[Message], Awaitable[None]]


async def send_response(response: HttpResponseBase, send: Send, request: UnreadRequest | None = None) -> None:
    """Send status, headers and body; only what belongs to a HEAD."""
    await send({"type": "http.response.start", "status": response.status_code, "headers": _headers(response)})
    if request is not None and request.method == "HEAD":
        await send({"type": "http.response.body", "body": b""})
    elif response.streaming:
        await _stream(response, send)
    else:
        body: Any = response  # Any: only the responses that do not stream have `content`
        await send({"type": "http.response.body", "body": body.content})


def _headers(response: HttpResponseBase) -> list[tuple[bytes, bytes]]:
    headers = [(name.encode("ascii"), value.encode("latin1")) for name, value in response.items()]
    cookies = response.cookies.values()
    return headers + [(b"Set-Cookie", cookie.output(header="").encode("ascii").strip()) for cookie in cookies]


async def _stream(response: Any, send: Send) -> None:  # Any: a streaming response
    is_file = getattr(response, "file_to_stream", None) is not None
    if is_file:
        response.block_size = CHUNK
    content = response.streaming_content
    # Any: Django wraps any asynchronous iterator into a generator of its own, which can be closed
    pieces: Any = _pulled(content, keeps_thread=not is_file) if isinstance(content, Iterator) else aiter(content)
    async with AsyncExitStack() as ending:
        if closes := getattr(getattr(response, "_iterator", None), "aclose", None):
            # Django keeps what it iterates over and never closes it: it would stay open until found as garbage.
            ending.push_async_callback(closes)
        async for piece in await ending.enter_async_context(aclosing(pieces)):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _pulled(content: Iterator[bytes], *, keeps_thread: bool) -> AsyncIterator[bytes]:
    """A synchronous iterator, pulled on the request's thread: it may query. Files do not mind which thread it is."""
    while (piece := await hop(next, content, None)) is not None:
        if not keeps_thread:
            await release()
        yield piece

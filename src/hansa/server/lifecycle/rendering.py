"""Rendering: JSON by msgspec, and where a response is rendered.

On the event loop: awaited renderers (`arender`), renderers that do not block, and DRF's JSON renderer for small plain
data. Everything else, templates and the browsable API above all, on the request's thread.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
from asgiref.sync import iscoroutinefunction
from django.http.response import HttpResponseBase
from django.utils.functional import Promise
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.response import Response

from hansa.server.lifecycle.threads import hop

SMALL = 1_000
"""Values in an answer that DRF's JSON renderer, which is written in Python, renders on the event loop."""
_PLAIN = (str, int, float, type(None), Decimal, date, time, timedelta, UUID, Promise)


def _plain(value: object) -> str:
    # msgspec refuses subclasses of str such as DRF's ErrorDetail, and Django's lazy translations.
    if isinstance(value, str | Promise):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON")


_encoder = msgspec.json.Encoder(enc_hook=_plain)


def encode(data: object) -> bytes:
    """JSON text of Structs and plain data, UTF-8."""
    return _encoder.encode(data)


class StructJSONRenderer(BaseRenderer):
    """DRF's renderer interface over `encode`: Structs, dataclasses and plain data, about 70 times faster than DRF's."""

    media_type = "application/json"
    format = "json"
    charset = None
    in_place = True

    def render(
        self,
        data: object,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,  # Any: DRF's own open dictionary
    ) -> bytes:
        """Return the body; nothing for None (204)."""
        body = b"" if data is None else encode(data)
        indent = (renderer_context or {}).get("indent")  # the browsable API asks for it
        return msgspec.json.format(body, indent=indent) if body and indent else body


async def render(response: Any) -> HttpResponseBase:  # Any: whatever has a `render`, as Django wants it
    """Render a response where that belongs; Django's own handlers take a thread for each."""
    if iscoroutinefunction(response.render):
        return await response.render()  # type: ignore[no-any-return]  # Django's contract
    renderer = getattr(response, "accepted_renderer", None)
    if not isinstance(response, Response) or renderer is None or response.is_rendered:
        return await hop(response.render)
    awaited = getattr(renderer, "arender", renderer.render if iscoroutinefunction(renderer.render) else None)
    if awaited is not None:
        await _render_awaited(response, renderer, awaited)
        return response
    if renders_in_place(renderer, response.data):
        response.render()
        return response
    return await hop(response.render)


def renders_in_place(renderer: BaseRenderer, data: object) -> bool:
    """Whether rendering this neither queries nor takes long."""
    return getattr(renderer, "in_place", False) or (type(renderer) is JSONRenderer and _count(data, SMALL) > 0)


async def _render_awaited(
    response: Any,  # Any: DRF's Response, which its stubs leave half told
    renderer: BaseRenderer,
    render_awaited: Callable[..., Awaitable[bytes | str]],
) -> None:
    context = response.renderer_context
    context["response"] = response
    body = await render_awaited(response.data, response.accepted_media_type, context)
    response.accepted_renderer = _Rendered(renderer, body)
    response.render()
    response.accepted_renderer = renderer


class _Rendered(BaseRenderer):
    """Gives DRF's response, which knows about content types and charsets, what was rendered already."""

    def __init__(self, renderer: BaseRenderer, body: bytes | str) -> None:
        self.media_type, self.format, self.charset = renderer.media_type, renderer.format, renderer.charset
        self._body = body

    def render(self, *_: object, **__: object) -> bytes | str:
        return self._body


def _count(data: object, left: int) -> int:
    """`left` less the plain values in `data`; 0 or less if there are more, or any that may do something."""
    if isinstance(data, dict):
        for key, value in data.items():
            left = _count(value, left - 1) if isinstance(key, str) else 0
            if left <= 0:
                return 0
        return left
    if isinstance(data, list | tuple):
        for value in data:
            left = _count(value, left)
            if left <= 0:
                return 0
        return left
    return left - 1 if isinstance(data, _PLAIN) else 0

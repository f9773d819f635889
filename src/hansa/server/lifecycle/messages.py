"""Views whose messages are msgspec Structs: the fast typed path beside DRF's serializers."""

from collections.abc import Sequence
from typing import TypeVar

import msgspec
from rest_framework import exceptions
from rest_framework.parsers import BaseParser, JSONParser

from hansa.server.lifecycle.body import UnreadRequest
from hansa.server.lifecycle.views import APIView

T = TypeVar("T")

JSON_LIMIT = 64 * 2**10
"""Bytes of a JSON message, unless a view says otherwise."""


class MessageView(APIView):
    """An awaited view that reads its body itself: as one Struct by `message`, or piece by piece."""

    streams_body = True
    view_is_async = True
    parser_classes: Sequence[type[BaseParser]] = (JSONParser,)
    """What OPTIONS and the browsable API say that the view takes; `message` reads it without DRF's parser."""

    async def message(self, kind: type[T], *, limit: int = JSON_LIMIT) -> T:
        """Read the request's JSON body as a Struct; an empty body is an empty object.

        Raises msgspec.ValidationError (answered as a field map), BodyTooLargeError, and 415 for another media type.
        """
        body = await self.unread.body_bytes(limit=limit)
        if body and self.unread.content_type not in ("application/json", ""):
            raise exceptions.UnsupportedMediaType(
                self.unread.content_type or "", f"The body is {self.unread.content_type}; send application/json."
            )
        try:
            return msgspec.json.decode(body or b"{}", type=kind)
        except UnicodeDecodeError as error:
            raise exceptions.ParseError(f"The body is not UTF-8: {error.reason} at byte {error.start}.") from error
        except RecursionError as error:
            raise exceptions.ParseError("The body is nested too deeply. Send a flatter object.") from error

    @property
    def unread(self) -> UnreadRequest:
        """The request below DRF's, with its body still on the wire."""
        request = self.request._request  # DRF offers no public name for it
        if not isinstance(request, UnreadRequest):
            raise TypeError("This view must be served by hansa.server.lifecycle.asgi.Handler.")
        return request

    def query_number(self, name: str, *, default: float, least: float, most: float) -> float:
        """A number from the query string, within bounds. Raises a field error naming what was seen."""
        text = self.request.query_params.get(name)
        if text is None:
            return default
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not least <= number <= most:
            raise exceptions.ValidationError({name: [f"{text!r} is not a number from {least:g} to {most:g}."]})
        return number

"""Views whose messages are msgspec Structs: the fast typed path beside DRF's serializers."""

from collections.abc import Sequence
from typing import TypeVar

import msgspec
from rest_framework import exceptions
from rest_framework.parsers import BaseParser, FormParser, JSONParser, MultiPartParser

from hansa.server.lifecycle.body import UnreadRequest
from hansa.server.lifecycle.fields import all_errors_of, malformed
from hansa.server.lifecycle.forms import FORMS, as_json
from hansa.server.lifecycle.request import AsyncRequest
from hansa.server.lifecycle.views import APIView

T = TypeVar("T")

JSON_LIMIT = 64 * 2**10
"""Bytes of a JSON message, unless a view says otherwise."""


# No docstring: schema tools describe a view by the first that they find.
class MessageView(APIView):  # noqa: D101  # see above
    # An awaited view that reads its body itself: as one Struct by `message`, or piece by piece.
    request: AsyncRequest
    streams_body = True
    view_is_async = True
    parser_classes: Sequence[type[BaseParser]] = (JSONParser,)
    """What OPTIONS and the browsable API say that the view takes; `message` reads it without DRF's parser."""

    async def message(self, kind: type[T], *, limit: int = JSON_LIMIT) -> T:
        """Read the request's JSON body as a Struct; an empty body is an empty object.

        Raises DRF's ValidationError with a map of all fields that are wrong, ParseError, UnsupportedMediaType for
        another media type, and BodyTooLargeError.
        """
        body = b"".join([chunk async for chunk in self.request.stream(limit=limit)]) or b"{}"
        media_type = self.request.content_type.partition(";")[0].strip()
        if body != b"{}" and media_type not in ("application/json", ""):
            raise exceptions.UnsupportedMediaType(media_type, f"The body is {media_type}; send application/json.")
        return _decoded(body, kind)

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


class FormMessageView(MessageView):  # noqa: D101  # as above
    # A message view that takes an HTML form for the message as well: what `curl -d` and `curl -F` send.
    parser_classes: Sequence[type[BaseParser]] = (JSONParser, FormParser, MultiPartParser)

    async def message(self, kind: type[T], *, limit: int = JSON_LIMIT) -> T:
        """As in `MessageView`; a form's fields are read as the Struct's types say."""
        media_type = self.request.content_type.partition(";")[0].strip().lower()
        if media_type not in FORMS:
            return await super().message(kind, limit=limit)
        body = b"".join([chunk async for chunk in self.request.stream(limit=limit)])
        return _decoded(as_json(body, self.request.content_type, kind), kind)


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise exceptions.ValidationError(all_errors_of(error, kind, body)) from error
    except msgspec.DecodeError as error:
        raise malformed(error) from error
    except UnicodeDecodeError as error:
        raise exceptions.ParseError(f"The body is not UTF-8: {error.reason} at byte {error.start}.") from error
    except RecursionError as error:
        raise exceptions.ParseError("The body is nested too deeply. Send a flatter object.") from error

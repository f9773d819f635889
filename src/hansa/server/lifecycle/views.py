"""DRF's APIView, awaited.

The order of steps and every hook are DRF's own: wrap the request → negotiate → version → authenticate → permit →
throttle → handler → exception handler → finalize → render. Handlers may be `async def`; the body is not read before
`initial` has passed, so a request without a right to be here is answered before its first megabyte.
"""

import inspect
from typing import Any, TypeVar

import msgspec
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework import exceptions, views
from rest_framework.request import Request

from hansa.server.lifecycle.body import UnreadRequest
from hansa.server.lifecycle.bridge import read, slowly

T = TypeVar("T")

JSON_LIMIT = 64 * 2**10
"""Bytes of a JSON message, unless a view says otherwise."""


def _never(request: Request) -> bool:
    return False


class APIView(views.APIView):
    """A DRF view whose lifecycle is awaited. Policies, hooks and schema tools work as they do in DRF."""

    # The base declares a property that inspects the handlers; ours are awaited whatever they are.
    view_is_async = True

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]  # DRF's is synchronous; Any: URL arguments
        """DRF's dispatch, with the steps that may block taken off the event loop."""
        self.args, self.kwargs = args, kwargs
        drf_request = self.initialize_request(request, *args, **kwargs)
        self.request = drf_request
        self.headers = self.default_response_headers
        try:
            # Authentication, permissions and throttles are DRF's synchronous policies: one hop for all of them.
            bridge = slowly if self._is_slow(drf_request) else read
            await bridge(self.initial, drf_request, *args, **kwargs)
            response = self._handler(drf_request)(drf_request, *args, **kwargs)
            if inspect.isawaitable(response):
                response = await response
        except Exception as exc:  # noqa: BLE001  # DRF's contract: the exception handler decides, and re-raises the rest
            response = self.handle_exception(exc)
        self.response = self.finalize_response(drf_request, response, *args, **kwargs)
        return self.response

    def _is_slow(self, request: Request) -> bool:
        """Whether an authenticator says that these credentials take long to check (`is_slow(request)`)."""
        return any(getattr(policy, "is_slow", _never)(request) for policy in request.authenticators or ())

    def _handler(self, request: Request) -> Any:  # Any: handlers have the URL's arguments
        name = (request.method or "").lower()
        if name in self.http_method_names:
            return getattr(self, name, self.http_method_not_allowed)
        return self.http_method_not_allowed

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

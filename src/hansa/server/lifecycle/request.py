"""DRF's request, with awaited ways beside the synchronous properties: `auser()`, `adata()`, `stream()`."""

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from asgiref.sync import async_to_sync
from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpRequest, RawPostDataException
from django.utils.datastructures import MultiValueDict
from rest_framework import exceptions
from rest_framework.request import Empty, Request, wrap_attributeerrors

from hansa.server.lifecycle import policies
from hansa.server.lifecycle.body import BodyTooLargeError, BodyUnreadError, UnreadRequest
from hansa.server.lifecycle.context import note
from hansa.server.lifecycle.in_place import is_in_place, may_block
from hansa.server.lifecycle.threads import hop

PARSED_IN_PLACE = 64 * 2**10
"""Bytes of a body that are parsed on the event loop; longer ones, and files, are parsed on a thread."""
PIECE = 2**16


class AsyncRequest(Request):
    """DRF's request for views whose lifecycle is awaited, and for synchronous ones with awaited policies."""

    # What DRF's request has, and its stubs do not tell. Any: whatever policies and parsers make of a request.
    authenticators: Sequence[Any]
    parsers: Sequence[Any]
    negotiator: Any
    parser_context: dict[str, Any]
    _user: Any
    _data: Any
    _files: Any
    _full_data: Any
    _not_authenticated: Callable[[], None]

    def __init__(self, request: HttpRequest, **kwargs: Any) -> None:  # Any: DRF's own parameters
        super().__init__(request, **kwargs)
        self.loop_thread: int | None = None
        """The thread whose event loop serves this request; None in a synchronous view."""
        self._parsing = False
        self._parse_error: Exception | None = None

    @property
    def is_authenticated(self) -> bool:
        """Whether the authenticators have been asked, whatever they said."""
        return "_user" in self.__dict__

    async def auser(self) -> Any:  # Any: whatever the authenticators take for a user
        """`user`, awaited: authenticates if that has not happened yet."""
        await self.aauthenticate()
        return self._user

    async def aauthenticate(self) -> None:
        """Ask the authenticators in turn; the first answer wins, an error leaves the request unauthenticated."""
        if self.is_authenticated:
            return
        with wrap_attributeerrors():
            try:
                found = await policies.aauthenticate(self.authenticators, self)
            except exceptions.APIException:
                self._not_authenticated()
                raise
            if found is None:
                self._not_authenticated()
            else:
                self._authenticator, (self.user, self.auth) = found
                note(client=getattr(self._user, "pk", None))

    async def reauthenticate(self) -> None:
        """Ask the authenticator that knew the caller once more, after a while: a credential may have been revoked.

        Raises AuthenticationFailed, or what else the authenticator says.
        """
        authenticator = self.__dict__.get("_authenticator")
        if authenticator is None:
            return
        found = await policies.aauthenticate([authenticator], self)
        if found is None:
            raise exceptions.AuthenticationFailed("The credentials of this request have ended.")
        self.user, self.auth = found[1]

    def _authenticate(self) -> None:
        """DRF's, which also asks awaited authenticators; never by blocking the event loop."""
        if self._is_on_the_loop() and not all(is_in_place(each, "authenticate") for each in self.authenticators):
            raise SynchronousOnlyOperation(
                "request.user was read on the event loop before the request was authenticated. "
                "Write `await request.auser()` first."
            )
        for authenticator in self.authenticators:
            try:
                pair = policies.authenticate(authenticator, self)
            except exceptions.APIException:
                self._not_authenticated()
                raise
            if pair is not None:
                self._authenticator = authenticator
                self.user, self.auth = pair
                return
        self._not_authenticated()

    def _is_on_the_loop(self) -> bool:
        return self.loop_thread == threading.get_ident()

    # The body.

    @property
    def stream(self) -> "BodyStream | Any":  # Any: while DRF parses, what its parsers read
        """On the event loop `request.stream()` yields the body's chunks as they arrive; elsewhere it is DRF's file."""
        return BodyStream(self) if self._is_on_the_loop() and not self._parsing else super().stream

    def _parse(self) -> Any:  # Any: DRF's own
        self._parsing = True
        try:
            return super()._parse()  # type: ignore[misc]  # DRF's own; its stubs leave it out
        finally:
            self._parsing = False

    async def adata(self) -> Any:  # Any: as `data`
        """`data`, awaited: reads the body if that has not happened yet, and parses long ones off the event loop.

        A parser with `aparse(stream, media_type, parser_context)` gets the unread body.
        """
        if self._full_data is Empty and self._parse_error is None:
            parser = self._awaited_parser()
            if parser is not None:
                await self._parse_awaited(parser)
            else:
                await self.receive(parsed=True)
        return self.data

    async def receive(self, *, parsed: bool) -> None:
        """Read the body, unless its parser wants it unread; `parsed`: make `data` readable on the event loop.

        Long bodies, and those for a parser of the project's own, are then parsed here, on a thread. What the parser
        raises is kept, and raised where `data` is read.
        """
        http = self._request
        if isinstance(http, UnreadRequest) and http.is_unread:
            if self._awaited_parser() is not None:
                return
            await http.load(limit=getattr(self.parser_context.get("view"), "body_limit", None))
        if parsed and self._full_data is Empty and not self._parses_in_place():
            try:
                await hop(self._load_data_and_files)
            except Exception as error:  # noqa: BLE001  # whatever the parser raises, it is raised where DRF would
                self._full_data = self._data = self._files = Empty
                self._parse_error = error

    def _parses_in_place(self) -> bool:
        length = self._request.META.get("CONTENT_LENGTH") or "0"
        if length == "0":
            return True  # there is nothing to parse, and nobody is asked for a parser
        if not length.isdecimal() or int(length) > PARSED_IN_PLACE or self.content_type.startswith("multipart/"):
            return False
        parser = self.negotiator.select_parser(self, self.parsers) if self.content_type else None
        return parser is None or not may_block(type(parser), "parse")

    def _load_data_and_files(self) -> None:
        if self._parse_error is not None:
            error, self._parse_error = self._parse_error, None
            self._full_data = self._data = {}
            self._files = MultiValueDict()
            raise error
        parser = self._awaited_parser()
        if parser is not None and self._data is Empty:
            if self._is_on_the_loop():
                raise BodyUnreadError
            async_to_sync(self._parse_awaited)(parser)
        super()._load_data_and_files()  # type: ignore[misc]  # as above

    def _awaited_parser(self) -> Any:  # Any: a parser is what offers the method
        """The parser for this body, if it is one that is awaited."""
        if not any(hasattr(parser, "aparse") for parser in self.parsers) or not self.content_type:
            return None
        parser = self.negotiator.select_parser(self, self.parsers)
        return parser if hasattr(parser, "aparse") else None

    async def _parse_awaited(self, parser: Any) -> None:  # Any: as above
        try:
            parsed = await parser.aparse(BodyStream(self)(), self.content_type, self.parser_context)
        except BaseException:
            # As in DRF: who looks again finds nothing, not the same error.
            self._full_data = self._data = {}
            self._files = MultiValueDict()
            raise
        self._data = self._full_data = getattr(parsed, "data", parsed)
        self._files = getattr(parsed, "files", MultiValueDict())
        if self._files:
            self._full_data = self._data.copy()
            self._full_data.update(self._files)


class BodyStream:
    """Calling it gives the chunks, awaited; otherwise it is the file that DRF's `request.stream` is."""

    def __init__(self, request: AsyncRequest) -> None:
        self._of = request

    def __call__(self, *, limit: int | None = None) -> AsyncIterator[bytes]:
        """Yield the body's bytes as they arrive, at most `limit` (default: the view's `body_limit`).

        Raises BodyTooLargeError (413), before the first byte if the length was announced, and DisconnectedError.
        """
        http = self._of._request
        if limit is None:
            limit = getattr(self._of.parser_context.get("view"), "body_limit", None)
        if isinstance(http, UnreadRequest):
            limit = http.body_limit if limit is None else limit
            if not http.is_loaded:
                return http.stream(limit=limit)
        return _pieces(http, limit)

    def __getattr__(self, name: str) -> Any:  # Any: the file's
        self._of._parsing = True
        try:
            return getattr(self._of.stream, name)
        finally:
            self._of._parsing = False


async def _pieces(http: HttpRequest, limit: int | None) -> AsyncIterator[bytes]:
    """The body of a request that has been read already: by another server, or for a middleware."""
    if getattr(http, "_read_started", False) and not hasattr(http, "_body"):  # as Django's own `body` asks
        raise RawPostDataException("The body was read before, as a form perhaps. Read request.data instead.")
    file = io.BytesIO(http.body) if hasattr(http, "_body") else http
    total = 0
    while piece := file.read(PIECE):
        total += len(piece)
        if limit is not None and total > limit:
            raise BodyTooLargeError(limit)
        yield piece
        await asyncio.sleep(0)

"""Asking plain DRF the same, behind Django's own synchronous handler, and listening to what nobody answered."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.core.signals import got_request_exception

from hansa.server.lifecycle.views import APIView
from lifecycle.project import BARE, CLASSES, DRF_OF, VIEWSETS, Answer, Answered, Site, alike, make_view


class BareView(APIView):
    """For classes that a test writes out: with the policies of `BARE`."""

    renderer_classes = BARE["renderer_classes"]
    parser_classes = BARE["parser_classes"]
    authentication_classes = permission_classes = throttle_classes = ()


HOOKED = (*CLASSES, *VIEWSETS)
"""The ways of making a view that can override hooks."""
Serve = Callable[..., Site]
"""What the fixture `serve` is."""


async def same_as_drf(
    serve: Serve,
    way: str,
    answer: Answer,
    method: str = "GET",
    url: str = "/",
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    methods: Iterable[str] = ("get",),
    settings: Mapping[str, Any] | None = None,
    **attributes: Any,
) -> Answered:
    """The answer of a view made in this way, having seen that plain DRF gives the same to the last header."""
    theirs = await serve(make_view(DRF_OF[way], answer, methods, **attributes), **(settings or {})).ask_wsgi(
        method, url, body, headers
    )
    ours = await serve(make_view(way, answer, methods, **attributes), **(settings or {})).ask(
        method, url, body, headers
    )
    assert alike(ours, theirs), (ours, theirs)
    return ours


@contextmanager
def escaped() -> Iterator[list[BaseException | None]]:
    """What came out of views meanwhile and was answered by Django, with 500."""
    seen: list[BaseException | None] = []

    def listen(**_: object) -> None:
        seen.append(sys.exc_info()[1])

    got_request_exception.connect(listen)
    try:
        yield seen
    finally:
        got_request_exception.disconnect(listen)

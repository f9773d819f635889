"""Half a body never passes as a whole one, in whatever task of the view's own it is read."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from django.urls import path
from rest_framework.response import Response

from hansa.server.lifecycle.views import APIView
from lifecycle.handler.exchanges import Ask, Exchange, ask_asgi

Read = Callable[[], Awaitable[None]]


async def in_place(read: Read) -> None:
    await read()


async def in_a_task(read: Read) -> None:
    await asyncio.ensure_future(read())


async def in_a_group(read: Read) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(read())  # type: ignore[arg-type]  # a coroutine function's


async def waited_for(read: Read) -> None:
    await asyncio.wait([asyncio.ensure_future(read())])


async def gathered(read: Read) -> None:
    await asyncio.gather(read(), return_exceptions=True)


WAYS = {way.__name__: way for way in (in_place, in_a_task, in_a_group, waited_for, gathered)}
taken: list[bytes] = []


class Upload(APIView):
    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    streams_body = True

    async def put(self, request: Any, way: str) -> Response:
        pieces: list[bytes] = []

        async def read() -> None:
            pieces.extend([piece async for piece in request.stream()])

        await WAYS[way](read)
        await asyncio.sleep(0)
        taken.append(b"".join(pieces))
        return Response({})


urlpatterns = [path("<str:way>/", Upload.as_view())]


@pytest.mark.parametrize("way", WAYS)
async def test_half_a_body_is_not_taken_for_the_whole(serve: Any, way: str) -> None:
    taken.clear()
    exchange = Exchange(serve(__name__), Ask("PUT", f"/{way}/", size=8))
    exchange.give(b"half")
    exchange.leave()
    await exchange.ended()

    assert (taken, exchange.sent) == ([], [])


@pytest.mark.parametrize("way", WAYS)
async def test_a_whole_body_is_taken(serve: Any, way: str) -> None:
    taken.clear()
    assert (await ask_asgi(serve(__name__), Ask("PUT", f"/{way}/", {}, b"the whole"))).status == 200
    assert taken == [b"the whole"]

"""Beyond DRF: what waits, streams and is cached costs nothing. Rows B8 to B10 and B12 of the lifecycle.

B8: a parked request holds no thread and no connection. B9: streams of events beat, and go on where they ended. B10:
files are sent by range, and not twice. B12: thread hops are counted, and a cached request has none.
"""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group
from django.db import connections
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from hansa.server.lifecycle import threads
from hansa.server.lifecycle.events import Event, EventStream, EventStreamRenderer, last_event_id
from hansa.server.lifecycle.files import RangedFile
from hansa.server.lifecycle.rendering import StructJSONRenderer
from hansa.server.lifecycle.threads import BorrowedThread
from lifecycle.handler.exchanges import Ask, Exchange
from lifecycle.likeness import BareView, Serve
from support.people import Person

PARKED = 50


class LongPoll(BareView):
    """Looks, gives its thread back, waits, and looks again."""

    bell: asyncio.Event
    parked: asyncio.Semaphore

    async def get(self, request: Any) -> Response:
        found = [await Group.objects.acount()]
        await threads.release()
        self.parked.release()
        await self.bell.wait()
        found.append(await Group.objects.acount())
        return Response(found)


async def test_b8_those_that_wait_hold_no_thread_and_no_connection(serve: Serve, transactional_db: None) -> None:
    bell, parked, others = asyncio.Event(), asyncio.Semaphore(0), set(threading.enumerate())
    site = serve(type("Own", (LongPoll,), {"bell": bell, "parked": parked}).as_view(), LIFECYCLE={"THREADS": 1})
    waiting = [asyncio.create_task(site.ask()) for _ in range(PARKED)]
    async with asyncio.timeout(60):
        for _ in range(PARKED):
            await parked.acquire()

    # All of them have queried, on one connection, and not one has the only thread.
    assert [thread.name for thread in threading.enumerate() if thread not in others] == ["lifecycle_0"]
    assert await _queried_on(site) == [False, 0]
    await Group.objects.acreate(name="new")
    bell.set()
    answers = await asyncio.wait_for(asyncio.gather(*waiting), 60)
    assert [answer.json for answer in answers] == [[0, 1]] * PARKED


async def _queried_on(site: Any) -> list[Any]:
    """What a borrower of the site's only thread finds there: whether a transaction is open, and how many groups."""

    def look() -> list[Any]:
        return [connections["default"].in_atomic_block, Group.objects.count()]

    borrowed = BorrowedThread(site.handler.lender)
    try:
        return await asyncio.wait_for(asyncio.wrap_future(borrowed.submit(look)), 30)
    finally:
        borrowed.release(ended=True)


async def test_b8_who_waits_inside_a_transaction_keeps_the_thread_that_has_it(
    serve: Serve, transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)

    class Storing(BareView):
        async def get(self, request: Any) -> Response:
            await Group.objects.acreate(name="of a transaction")
            await threads.release()
            await asyncio.sleep(0)
            return Response(await self.hop(lambda: connections["default"].in_atomic_block))

    assert (await serve(Storing.as_view()).ask()).json is True
    assert await Group.objects.acount() == 1


class Numbers(BareView):
    """Counts from where the client stopped."""

    renderer_classes = (EventStreamRenderer, StructJSONRenderer)

    async def get(self, request: Any) -> EventStream:
        return EventStream(self.count(int(last_event_id(request) or 0)), heartbeat=0.001)

    async def count(self, last: int) -> AsyncIterator[Event]:
        for number in range(last + 1, 4):
            yield Event(number, id=str(number))


class Silent(Numbers):
    async def count(self, last: int) -> AsyncIterator[Event]:
        await asyncio.Event().wait()
        yield Event("never")


async def test_b9_a_silent_stream_beats_until_its_client_goes(serve: Serve) -> None:
    exchange = Exchange(serve(Silent.as_view()).handler, Ask("GET", "/", {"Accept": "text/event-stream"}))
    exchange.give(b"", last=True)
    await exchange.until_sent(6)
    exchange.leave()
    await exchange.ended()
    beats = {bytes(message["body"]) for message in exchange.sent[1:] if message.get("body")}
    assert all(beat.startswith(b":") for beat in beats), beats


async def test_b9_a_client_that_comes_again_gets_what_it_has_not(serve: Serve) -> None:
    site = serve(Numbers.as_view())
    first = await site.ask(headers={"Accept": "text/event-stream"})
    again = await site.ask(headers={"Accept": "text/event-stream", "Last-Event-ID": "2"})
    assert [first.body.count(b"id: %d\n" % number) for number in (1, 2, 3)] == [1, 1, 1]
    assert [again.body.count(b"id: %d\n" % number) for number in (1, 2, 3)] == [0, 0, 1]
    assert first.headers["Content-Type"] == "text/event-stream"


CONTENT = bytes(range(256)) * 1000


@pytest.mark.parametrize(
    ("sent", "status", "body"),
    [
        ({}, 200, CONTENT),
        ({"Range": "bytes=100-199"}, 206, CONTENT[100:200]),
        ({"Range": "bytes=-10"}, 206, CONTENT[-10:]),
        ({"Range": "bytes=999999-"}, 416, None),
        ({"Range": "bytes=100-", "If-Range": '"of this"'}, 206, CONTENT[100:]),
        ({"Range": "bytes=100-", "If-Range": '"of another"'}, 200, CONTENT),
        ({"If-None-Match": '"of this"'}, 304, b""),
        ({"If-None-Match": '"of another"'}, 200, CONTENT),
    ],
)
async def test_b10_files_are_sent_by_range_and_not_twice(
    serve: Serve, tmp_path: Path, sent: dict[str, str], status: int, body: bytes | None
) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    file = RangedFile(
        source=tmp_path / "file", size=len(CONTENT), etag='"of this"', media_type="application/octet-stream"
    )

    class Download(BareView):
        async def get(self, request: Any) -> Any:
            return file.respond(request._request)

    answer = await serve(Download.as_view()).ask(headers=sent)
    assert answer.status == status
    assert body is None or answer.body == body
    assert "GET" in answer.headers["Allow"]
    if status in (200, 206):
        assert answer.headers["ETag"] == '"of this"'


class Known(AnonymousUser):
    is_authenticated = True  # type: ignore[assignment]  # Django's property says no


class Cached(BaseAuthentication):
    """Finds its token in memory."""

    async def aauthenticate(self, request: Any) -> Any:
        return Known(), "token"


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every call that was brought to a borrowed thread."""
    calls: list[Any] = []
    submit = BorrowedThread.submit

    def counting(self: BorrowedThread, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        calls.append(fn)
        return submit(self, fn, *args, **kwargs)

    monkeypatch.setattr(BorrowedThread, "submit", counting)
    return calls


@pytest.mark.parametrize("renderer", [JSONRenderer, StructJSONRenderer])
async def test_b12_a_cached_token_and_a_json_answer_need_no_thread(
    serve: Serve, submitted: list[Any], renderer: type
) -> None:
    counted: list[int] = []

    class Hot(BareView):
        renderer_classes = (renderer,)
        authentication_classes = (Cached,)
        permission_classes = (IsAuthenticated,)

        async def get(self, request: Any) -> Response:
            counted.append(threads.hops())
            return Response({"n": 1})

        async def post(self, request: Any) -> Response:
            return Response(request.data)

        async def delete(self, request: Any) -> Response:
            await self.hop(int)
            await self.hop(int)
            counted.append(threads.hops())
            return Response(status=204)

    site = serve(Hot.as_view())
    assert (await site.ask()).json == {"n": 1}
    assert (await site.ask_json("POST", "/", {"n": 2})).json == {"n": 2}
    assert submitted == []
    assert (await site.ask("DELETE")).status == 204
    assert (counted, len(submitted)) == ([0, 2], 2)


async def test_b12_so_it_is_through_all_of_the_servers_own_middleware(alice: Person, submitted: list[Any]) -> None:
    first = await alice.get("/api/users/myself/")  # the token is looked up once
    submitted.clear()
    second = await alice.get("/api/users/myself/")
    assert (first.status_code, second.status_code, second.json()) == (200, 200, first.json())
    assert submitted == []
    assert (await alice.get("/api/users/myself/", headers={"Authorization": "Token wrong"})).status_code == 401

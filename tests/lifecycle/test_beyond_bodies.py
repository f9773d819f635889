"""Beyond DRF: bodies and clients that go. Rows B5 to B7 and B11 of the lifecycle.

B5: a request that is cancelled cleans up after itself. B6: the body is not read before `initial` has passed. B7: nobody
is told to continue who may not. B11: what is streamed is checked while it streams.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connections
from django.http import StreamingHttpResponse
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle

from hansa.server.lifecycle.bridge import work
from lifecycle import streams
from lifecycle.handler.exchanges import Ask, Exchange
from lifecycle.likeness import BareView, Serve
from lifecycle.project import make_view

GIGABYTE = 10**9


class Parked(BareView):
    """Stores a group, says that it is there, and waits for ever."""

    async def get(self, request: Any) -> Response:
        self.reached: asyncio.Event
        await Group.objects.acreate(name="unfinished")
        self.reached.set()
        await asyncio.Event().wait()
        return Response()


@pytest.mark.parametrize("leaving", ["the client goes", "the server ends"])
@pytest.mark.parametrize("atomic", [True, False])
async def test_b5_whoever_is_cancelled_leaves_no_transaction_and_gives_the_thread_back(
    serve: Serve, transactional_db: None, monkeypatch: pytest.MonkeyPatch, leaving: str, atomic: bool
) -> None:
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", atomic)
    reached = asyncio.Event()
    site = serve(type("Own", (Parked,), {"reached": reached}).as_view(), LIFECYCLE={"THREADS": 1, "WATCH_AFTER": 0.001})
    exchange = Exchange(site.handler, Ask("GET", "/"))
    await asyncio.wait_for(reached.wait(), 30)
    if leaving == "the client goes":
        exchange.give(b"", last=True)
        exchange.leave()
        await exchange.ended()
    else:
        exchange.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await exchange.ended()
    assert exchange.sent == []
    # The only thread serves the next request, outside any transaction of the last one.
    assert await Group.objects.acount() == (0 if atomic else 1)
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", False)

    def looking(request: Any) -> Response:
        return Response([connections["default"].in_atomic_block, Group.objects.count()])

    plain = serve(make_view("plain class", looking), LIFECYCLE={"THREADS": 1})
    plain.handler.lender = site.handler.lender
    assert (await asyncio.wait_for(plain.ask(), 30)).json == [False, 0 if atomic else 1]


class Slow(Exchange):
    """Takes two pieces of a stream, and not the third."""

    async def _send(self, message: Any) -> None:
        await super()._send(message)
        if len(self.sent) == 4:
            await asyncio.Event().wait()


@pytest.mark.parametrize("leaving", ["the client goes", "the server ends"])
@pytest.mark.parametrize("busy", [True, False], ids=["while it works", "while it is sent"])
async def test_b5_the_stream_of_a_client_that_has_gone_is_closed_before_the_request_ends(
    serve: Serve, leaving: str, busy: bool
) -> None:
    closed_late: list[bool] = []

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"more"
                await asyncio.sleep(0)
        finally:
            closed_late.append(exchange.task.done())

    site = serve(make_view("awaited class", lambda request: StreamingHttpResponse(endless())))
    exchange = (Exchange if busy else Slow)(site.handler, Ask("GET", "/"))
    exchange.give(b"", last=True)
    await exchange.until_sent(4)
    if leaving == "the client goes":
        exchange.leave()
        await exchange.ended()
    else:
        exchange.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await exchange.ended()
    assert closed_late == [False]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Upload(BareView):
    """Streams its body into a file, which it removes if anything but the end comes."""

    streams_body = True
    folder: Path

    async def put(self, request: Any) -> Response:
        partial = self.folder / "partial"
        digest = hashlib.sha256()
        try:
            with partial.open("wb") as file:
                async for chunk in request.stream():
                    digest.update(chunk)
                    await work(file.write, chunk)
            if digest.hexdigest() != request.headers["X-Digest"]:
                raise exceptions.ValidationError({"digest": [f"The bytes that came have {digest.hexdigest()}."]})
        except BaseException:
            partial.unlink()
            raise
        partial.rename(self.folder / "whole")
        return Response({"digest": digest.hexdigest()}, status=201)


def uploading(folder: Path) -> Any:
    return type("Uploading", (Upload,), {"folder": folder}).as_view()


async def test_b5_an_upload_that_breaks_off_removes_what_came(serve: Serve, tmp_path: Path) -> None:
    site = serve(uploading(tmp_path))
    exchange = Exchange(site.handler, Ask("PUT", "/", {"X-Digest": "of all"}, size=GIGABYTE))
    exchange.give(b"x" * 2**20)
    await exchange.until_asked()
    exchange.leave()
    await exchange.ended()
    assert exchange.sent == []
    assert files(tmp_path) == []


CONTENT = bytes(range(256)) * 4096


@pytest.mark.parametrize("spoilt", [False, True])
async def test_b11_what_is_streamed_is_checked_while_it_comes(serve: Serve, tmp_path: Path, spoilt: bool) -> None:
    sent = CONTENT[:-1] + b"!" if spoilt else CONTENT
    pieces = [sent[start : start + 2**16] for start in range(0, len(sent), 2**16)]
    digest = hashlib.sha256(CONTENT).hexdigest()
    answer = await serve(uploading(tmp_path)).ask("PUT", "/", pieces, {"X-Digest": digest})
    if spoilt:
        assert (answer.status, files(tmp_path)) == (400, [])
    else:
        assert (answer.status, answer.json) == (201, {"digest": digest})
        assert (tmp_path / "whole").read_bytes() == CONTENT


class BadToken(BaseAuthentication):
    def authenticate(self, request: Any) -> Any:
        raise exceptions.AuthenticationFailed("The token is not valid.")

    def authenticate_header(self, request: Any) -> str:
        return "Bearer"


class AwaitedBadToken(BadToken):
    async def aauthenticate(self, request: Any) -> Any:
        await asyncio.sleep(0)
        return self.authenticate(request)


class No(BasePermission):
    def has_permission(self, request: Any, view: Any) -> bool:
        return False


class Exhausted(BaseThrottle):
    async def aallow_request(self, request: Any, view: Any) -> bool:
        return False


REFUSED: list[tuple[int, dict[str, Any]]] = [
    (401, {"authentication_classes": (BadToken,)}),
    (401, {"authentication_classes": (AwaitedBadToken,)}),
    (403, {"permission_classes": (No,)}),
    (429, {"throttle_classes": (Exhausted,)}),
    (413, {"body_limit": 1000}),
]


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "in chunks"])
@pytest.mark.parametrize("streams_body", [True, False], ids=["streamed", "parsed"])
@pytest.mark.parametrize(("status", "policies"), REFUSED)
async def test_b6_who_is_refused_is_refused_before_the_first_byte(
    serve: Serve, tmp_path: Path, status: int, policies: dict[str, Any], streams_body: bool, announced: bool
) -> None:
    class Put(Upload):
        folder = tmp_path

        async def put(self, request: Any) -> Response:
            return await super().put(request) if self.streams_body else Response(await request.adata())

    view = type("Put", (Put,), {**policies, "streams_body": streams_body}).as_view()
    # A client that does not send anything: whoever asks it for a byte waits for ever.
    framing: dict[str, Any] = {"size": GIGABYTE} if announced else {"body": b"begun", "announced": False}
    exchange = Exchange(serve(view).handler, Ask("PUT", "/", {"Content-Type": "application/json"}, **framing))
    if status == 413 and not announced:
        exchange.give(b"x" * 1001)  # nobody can know before
    answer = await exchange.answer()
    assert (answer.status, answer.header("connection")) == (status, "close")
    assert exchange.received == (1001 if status == 413 and not announced else 0)


async def test_b6_who_is_refused_by_negotiation_or_method_is_so_as_well(serve: Serve, tmp_path: Path) -> None:
    site = serve(uploading(tmp_path))
    for status, ask in (
        (406, Ask("PUT", "/", {"Accept": "image/png"}, size=GIGABYTE)),
        (404, Ask("PUT", "/nowhere/", size=GIGABYTE)),
    ):
        exchange = Exchange(site.handler, ask)
        if status == 404:
            exchange.leave()  # no view: Django's middleware may still read the body of it
            await exchange.ended()
        else:
            assert ((await exchange.answer()).status, exchange.received) == (status, 0)


async def respond(socket: Path, headers: str, *, then: bytes) -> bytes:
    """All that comes over a real socket; the body is sent only to whom says `100 Continue`."""
    reader, writer = await asyncio.open_unix_connection(socket)
    writer.write(f"PUT / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n{headers}\r\n".encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    if head.startswith(b"HTTP/1.1 100"):
        writer.write(then)
        head += await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    writer.close()
    return head


async def test_b7_who_may_not_is_never_told_to_continue(serve: Serve, tmp_path: Path) -> None:
    refusing = type("Refusing", (Upload,), {"folder": tmp_path, "authentication_classes": (AwaitedBadToken,)})
    serve(refusing.as_view())
    async with streams.serving(tmp_path) as served:
        head = await respond(served.socket, f"Content-Length: {GIGABYTE}\r\n", then=b"")
    assert head.startswith(b"HTTP/1.1 401")
    assert b"100 Continue" not in head


async def test_b7_who_may_is_told_when_the_handler_wants_the_body(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    serve(uploading(tmp_path / "files"))
    digest = hashlib.sha256(CONTENT).hexdigest()
    async with streams.serving(tmp_path) as served:
        head = await respond(served.socket, f"Content-Length: {len(CONTENT)}\r\nX-Digest: {digest}\r\n", then=CONTENT)
    assert head.startswith(b"HTTP/1.1 100")
    assert b"HTTP/1.1 201" in head
    assert (tmp_path / "files" / "whole").read_bytes() == CONTENT

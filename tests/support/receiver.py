"""A push client's HTTP server: it notes what it is told, and answers as the test wants."""

import asyncio
import json
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from django.conf import settings

from hansa.server.destinations import Destinations
from hansa.server.notifications import deliverer as module
from hansa.server.trainings.services import deliveries
from support.federation import SOON

Message = dict[str, Any]  # Any: JSON


@dataclass(frozen=True)
class Told:
    """One request that came in."""

    line: str
    headers: dict[str, str]
    """Names in lower case."""
    content: bytes

    @property
    def id(self) -> str:
        """The notification's."""
        return self.headers["hansa-notification-id"]

    @property
    def message(self) -> Message:
        """The body."""
        message: Message = json.loads(self.content)
        return message

    @property
    def kind(self) -> str:
        """What the notification is about."""
        return str(self.message["notification_type"])


Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


def answers(status: int, *headers: str, content: bytes = b"") -> Behaviour:
    """Answer at once, and in full."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        head = [f"HTTP/1.1 {status} Whatever", *headers, f"Content-Length: {len(content)}", "", ""]
        writer.write("\r\n".join(head).encode() + content)
        await writer.drain()

    return behave


def holds_back(until: asyncio.Event, behave: Behaviour) -> Behaviour:
    """Behave so, but not before the test says so."""

    async def later(writer: asyncio.StreamWriter) -> None:
        await until.wait()
        await behave(writer)

    return later


def answers_once(allowed: threading.Event, done: threading.Event) -> Behaviour:
    """Answer 202 when the test, in another thread, allows it; then tell it so."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        await asyncio.to_thread(allowed.wait)
        await answers(202)(writer)
        done.set()

    return behave


def redirects(to: str, status: int = 307) -> Behaviour:
    """Send the caller elsewhere."""
    return answers(status, f"Location: {to}")


def says(text: bytes, *, then_waits: bool = False) -> Behaviour:
    """Answer with these very bytes, HTTP or not."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await writer.drain()
        if then_waits:
            await hangs(writer)

    return behave


def floods(head: bytes) -> Behaviour:
    """Answer with a head, and then without end."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(b"x" * 16384)
            await writer.drain()

    return behave


async def hangs(writer: asyncio.StreamWriter) -> None:
    """Say nothing, for ever."""
    await asyncio.Event().wait()


async def closes(writer: asyncio.StreamWriter) -> None:
    """Hang up without a word."""


class Receiver:
    """A server on a port of its own. `then`: how it behaves, request by request; the last one goes on for ever."""

    def __init__(self, *then: Behaviour) -> None:
        self.told: list[Told] = []
        self.then = list(then) or [answers(202)]
        self.gate = asyncio.Event()
        """Closed, it lets requests come in and answers none."""
        self.gate.set()
        self.port = 0
        self.secure = False
        self._news = asyncio.Condition()

    @property
    def url(self) -> str:
        """Its endpoint."""
        return f"{'https' if self.secure else 'http'}://127.0.0.1:{self.port}/told"

    @property
    def kinds(self) -> list[str]:
        """What it was told, in order."""
        return [told.kind for told in self.told]

    @asynccontextmanager
    async def listening(self, *, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator["Receiver"]:
        """It can be told things within."""
        self.secure = tls is not None
        handling: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            handling.add(task)
            try:
                await self._serve(reader, writer)
            except asyncio.CancelledError:
                pass  # the test is over; asyncio's streams would complain of a cancelled handler
            finally:
                handling.discard(task)
                writer.transport.abort() if task.cancelling() else writer.close()

        server = await asyncio.start_server(accept, "127.0.0.1", port, ssl=tls, backlog=512)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(handling):
                task.cancel()
            await asyncio.gather(*handling, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, *fields = head.rstrip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
            content = await reader.readexactly(int(headers.get("content-length", "0")))
            behave = self.then[min(len(self.told), len(self.then) - 1)]
            async with self._news:
                self.told.append(Told(line, headers, content))
                self._news.notify_all()
            await self.gate.wait()
            await behave(writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the caller had enough

    async def has(self, count: int, *, seconds: float = 20) -> list[Told]:
        """Wait until it was told so many things."""
        try:
            async with asyncio.timeout(seconds), self._news:
                await self._news.wait_for(lambda: len(self.told) >= count)
        except TimeoutError:
            raise AssertionError(f"after {seconds:g} s it was told only {self.kinds}") from None
        return self.told


@contextmanager
def listening_in_a_thread(*then: Behaviour) -> Iterator[Receiver]:
    """A receiver for tests that have no loop of their own."""
    ready, stop = threading.Event(), []
    held: list[Receiver] = []

    async def main() -> None:
        async with Receiver(*then).listening() as receiver:
            held.append(receiver)
            loop, end = asyncio.get_running_loop(), asyncio.Event()
            stop.append(lambda: loop.call_soon_threadsafe(end.set))
            ready.set()
            await end.wait()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        assert ready.wait(10)
        yield held[0]
    finally:
        stop[0]()
        thread.join()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that answers 202 to everything, unless the test sets its `then`."""
    async with Receiver().listening() as one:
        yield one


Allow = Callable[[str], None]


@pytest.fixture
def allow(monkeypatch: pytest.MonkeyPatch, django_db_modify_db_settings: None) -> Allow:
    """Set the operator's list: `allow("client-01,10.0.0.0/8")`."""

    def set_list(text: str) -> None:
        allowed = Destinations.parse(text) if text else Destinations()
        monkeypatch.setattr(settings, "CONFIG", replace(settings.CONFIG, push_allow=allowed))

    return set_list


@asynccontextmanager
async def delivering(sender: Any = None) -> AsyncIterator[None]:  # Any: a Sender, or something like it
    """The outbox is delivered within, as in the server's lifespan."""
    running = asyncio.create_task(module.Deliverer(deliveries.take, sender=sender).run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
def promptly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The deliverer does not let a test wait."""
    monkeypatch.setattr(module, "SWEEP_SECONDS", SOON)
    monkeypatch.setattr(module, "PARTING_SECONDS", 0.05)


@pytest.fixture
async def outbox_served(home: object, transactional_db: None, promptly: None, allow: Allow) -> AsyncIterator[None]:
    """The outbox is delivered for the whole test, to receivers on this machine."""
    allow("127.0.0.0/8")
    async with delivering():
        yield

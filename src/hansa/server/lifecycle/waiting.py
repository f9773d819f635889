"""Requests that wait for something to happen, without a thread and without a database connection."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Generic, Protocol, TypeVar

from django.http import HttpRequest
from rest_framework.request import Request

from hansa.server.lifecycle.body import UnreadRequest
from hansa.server.lifecycle.request import AsyncRequest
from hansa.server.lifecycle.threads import release

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
K_contra = TypeVar("K_contra", bound=Hashable, contravariant=True)


COARSE = 0.02
"""Seconds by which a timer may come too early for the loop's own clock. uvloop's do, one in eight, by a rounding: who
then waited for the rest of the time would wait for a timer that has been."""


class Flag:
    """An asyncio.Event for one who waits: without a queue for more, which takes 600 bytes."""

    __slots__ = ("_is_set", "_waiting")

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: asyncio.Future[None] | None = None

    def is_set(self) -> bool:
        """Whether the next `wait` returns at once."""
        return self._is_set

    def set(self, _: object = None) -> None:
        """Wake who waits, now or later. Any argument is ignored, so that this can be a callback."""
        self._is_set = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def clear(self) -> None:
        """From now on `wait` waits for the next `set`."""
        self._is_set = False

    async def wait(self) -> None:
        """Return when it is set. For one at a time."""
        if not self._is_set:
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None


class Registry(Protocol[K_contra]):
    """What `wait_for` asks of a registry: `Waiters`, or something of a project's own."""

    @property
    def closing(self) -> bool:
        """Whether nobody should wait any longer."""

    def waiter(self, key: K_contra, /) -> AbstractContextManager[Flag]:
        """A flag that is set when something happened under the key, until the context is left."""


class Waiters(Generic[K]):
    """Who waits, by key; woken from any thread. A key costs nothing while nobody waits under it."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: defaultdict[K, set[Flag]] = defaultdict(set)
        self.closing = False
        """The server is about to end: nobody should wait any longer."""

    def bind(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Wake on this loop from now on: needed only to be told of what happens before anybody waits.

        Who waits first binds to the running loop. None: nobody is woken (commands that run beside the server).
        """
        self._loop = loop
        self.closing = False

    def close(self) -> None:
        """Wake everybody, so that waiting requests are answered before the server ends. To be called on the loop."""
        self.closing = True
        self._wake(list(self._waiting))

    @contextmanager
    def waiter(self, key: K, /) -> Iterator[Flag]:
        """Register *before* looking, so that nothing falls between the look and the wait."""
        running = asyncio.get_running_loop()
        if self._loop is None or self._loop.is_closed():
            self.bind(running)
        flag = Flag()
        self._waiting[key].add(flag)
        try:
            yield flag
        finally:
            self._waiting[key].discard(flag)
            if not self._waiting[key]:
                del self._waiting[key]

    def has_waiter(self, key: K) -> bool:
        """Whether somebody waits under the key just now. From any thread."""
        return key in self._waiting

    def wake(self, keys: Iterable[K]) -> None:
        """Something happened under these keys. From any thread; a service calls it on commit."""
        self.post(self._wake, list(keys))

    def post(self, function: Callable[[T], object], argument: T) -> None:
        """Call on the loop; not at all where there is none."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, argument)

    def _wake(self, keys: list[K]) -> None:
        for key in keys:
            for flag in self._waiting.get(key, ()):
                flag.set()


async def wait_for(
    look: Callable[[], Awaitable[T | None]],
    *,
    waiters: Registry[K],
    key: K,
    seconds: float,
    request: HttpRequest | Request,
    settle: float = 0,
) -> T | None:
    """Look; if there is nothing, wait to be woken under `key` and look again, until there is or the time is over.

    `settle` seconds pass between being woken and looking, where several changes may be one answer. The waiter is
    registered before the first look, so that nothing can happen in between unseen. A client that has gone away is not
    answered: it must not be given what it will never hear of. DRF's request is authenticated anew before each later
    look, so that a credential which was revoked meanwhile is refused. HEAD and OPTIONS do not wait. The body of the
    request must have been read.
    """
    if request.method in ("HEAD", "OPTIONS") or seconds <= 0:
        return await look()
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    with waiters.waiter(key) as woken:
        if (found := await look()) is not None:
            return found
        # Before the first wait only: who is answered at once needs nobody to watch the line, nor the clock.
        with _also_woken(woken, request, end) as leaving:
            while not waiters.closing:
                await release()
                await woken.wait()
                if settle and loop.time() < end and not waiters.closing:
                    await asyncio.sleep(min(settle, end - loop.time()))
                if leaving is not None and leaving.done():
                    return None
                woken.clear()
                if isinstance(request, AsyncRequest):
                    await request.reauthenticate()
                if (found := await look()) is not None:
                    return found
                if loop.time() + COARSE > end:
                    return None
    return None


@contextmanager
def _also_woken(woken: Flag, request: HttpRequest | Request, end: float) -> "Iterator[asyncio.Task[None] | None]":
    """Until it is left, the flag is also set at `end`, and when the client goes: then what is given is done."""
    leaving = _watch(request, woken)
    over = asyncio.get_running_loop().call_at(end, woken.set)
    try:
        yield leaving
    finally:
        over.cancel()
        if leaving is not None:
            leaving.remove_done_callback(woken.set)


def _watch(request: HttpRequest | Request, woken: Flag) -> "asyncio.Task[None] | None":
    """What is done, and wakes, when the client goes; None where the server cannot tell."""
    unread = request._request if isinstance(request, Request) else request  # DRF has no public name for it
    if not isinstance(unread, UnreadRequest):
        return None
    leaving = unread.wire.watch()
    leaving.add_done_callback(woken.set)
    return leaving

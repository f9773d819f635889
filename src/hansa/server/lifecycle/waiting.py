"""Requests that wait for something to happen, without a thread and without a database connection."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Generic, Protocol, TypeVar

from django.http import HttpRequest
from rest_framework.request import Request

from hansa.server.lifecycle.body import UnreadRequest
from hansa.server.lifecycle.threads import release

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
K_contra = TypeVar("K_contra", bound=Hashable, contravariant=True)


class Registry(Protocol[K_contra]):
    """What `wait_for` asks of a registry: `Waiters`, or something of a project's own."""

    @property
    def closing(self) -> bool:
        """Whether nobody should wait any longer."""

    def waiter(self, key: K_contra, /) -> AbstractContextManager[asyncio.Event]:
        """An event that is set when something happened under the key, until the context is left."""


class Waiters(Generic[K]):
    """Who waits, by key; woken from any thread. A key costs nothing while nobody waits under it."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: defaultdict[K, set[asyncio.Event]] = defaultdict(set)
        self.closing = False
        """The server is about to end: nobody should wait any longer."""

    def bind(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Wake on this loop from now on; None: nobody is woken (commands that run beside the server)."""
        self._loop = loop
        self.closing = False

    def close(self) -> None:
        """Wake everybody, so that waiting requests are answered before the server ends. To be called on the loop."""
        self.closing = True
        self._wake(list(self._waiting))

    @contextmanager
    def waiter(self, key: K, /) -> Iterator[asyncio.Event]:
        """Register *before* looking, so that nothing falls between the look and the wait."""
        event = asyncio.Event()
        self._waiting[key].add(event)
        try:
            yield event
        finally:
            self._waiting[key].discard(event)
            if not self._waiting[key]:
                del self._waiting[key]

    def wake(self, keys: Iterable[K]) -> None:
        """Something happened under these keys. From any thread; a service calls it on commit."""
        self.post(self._wake, list(keys))

    def post(self, function: Callable[[T], object], argument: T) -> None:
        """Call on the loop; not at all where there is none."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, argument)

    def _wake(self, keys: list[K]) -> None:
        for key in keys:
            for event in self._waiting.get(key, ()):
                event.set()


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
    answered: it must not be given what it will never hear of. HEAD and OPTIONS do not wait. The body of the request
    must have been read.
    """
    if request.method in ("HEAD", "OPTIONS") or seconds <= 0:
        return await look()
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    with waiters.waiter(key) as woken:
        if (found := await look()) is not None:
            return found
        # Before the first wait only: who is answered at once needs nobody to watch the line.
        gone = _watch(request, woken)
        try:
            while loop.time() < end and not waiters.closing:
                await release()
                if await _woken(woken, until=end) and settle and not waiters.closing:
                    await asyncio.sleep(min(settle, max(0, end - loop.time())))
                if gone is not None and gone.done():
                    return None
                woken.clear()
                if (found := await look()) is not None:
                    return found
            return None
        finally:
            if gone is not None:
                gone.cancel()


def _watch(request: HttpRequest | Request, woken: asyncio.Event) -> "asyncio.Task[None] | None":
    """A task that ends, and wakes, when the client goes; None where the server cannot tell."""
    unread = request._request if isinstance(request, Request) else request  # DRF has no public name for it
    if not isinstance(unread, UnreadRequest):
        return None
    gone = asyncio.create_task(unread.disconnected())
    gone.add_done_callback(lambda _: woken.set())
    return gone


async def _woken(woken: asyncio.Event, *, until: float) -> bool:
    try:
        async with asyncio.timeout_at(until):
            return await woken.wait()
    except TimeoutError:
        return False

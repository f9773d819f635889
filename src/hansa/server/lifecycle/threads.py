"""Threads that requests borrow for synchronous code.

asgiref wants the synchronous code of one request on one thread, one call at a time: two threads would be two database
connections, and a transaction begun on one could not be rolled back on the other. Django's own handler starts a thread
per request for that. Here a request borrows one of a few single threads at its first hop, keeps it to its end, and may
`release` it before it parks. The threads live on, and so do their database connections (CONN_MAX_AGE).
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial, wraps
from typing import Any, TypeVar

from asgiref.sync import async_to_sync, markcoroutinefunction, sync_to_async
from django.db import close_old_connections, connections, reset_queries

log = logging.getLogger(__name__)

T = TypeVar("T")
Job = Callable[[], None]


class Lender:
    """A few single threads. Started when first needed, lent in order of asking."""

    def __init__(self, size: int) -> None:
        self._lock = threading.Lock()
        self._unstarted = size
        self._idle: list[ThreadPoolExecutor] = []
        self._asking: deque[BorrowedThread] = deque()

    def ask(self, borrower: "BorrowedThread") -> None:
        """Lend a thread by `borrower.take`: at once, or when the next one comes back."""
        with self._lock:
            if self._idle:
                thread = self._idle.pop()
            elif self._unstarted:
                self._unstarted -= 1
                thread = ThreadPoolExecutor(1, thread_name_prefix="lifecycle")
            else:
                self._asking.append(borrower)
                return
        borrower.take(thread)

    def give_back(self, thread: ThreadPoolExecutor) -> None:
        """Take a thread back. What it still has to do is done before anything of the next borrower."""
        with self._lock:
            if not self._asking:
                self._idle.append(thread)
                return
            borrower = self._asking.popleft()
        borrower.take(thread)

    def shutdown(self) -> None:
        """End the idle threads, and close their connections."""
        with self._lock:
            idle, self._idle = self._idle, []
            self._unstarted += len(idle)
        for thread in idle:
            thread.submit(connections.close_all)
            thread.shutdown()


class BorrowedThread(Executor):
    """The thread of one request, for asgiref's thread-sensitive calls. Borrowed at the first call, not before."""

    def __init__(self, lender: Lender) -> None:
        self._lender = lender
        self._lock = threading.Lock()
        self._thread: ThreadPoolExecutor | None = None
        self._waiting: list[Job] = []
        self._unfinished = 0
        self._asked = False
        self._ended = False
        self.hops = 0
        """Calls so far. A request with cached credentials and a JSON answer has none."""
        self.pins = 0
        """While above 0 the thread holds something open (a transaction), and is not given back."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> "Future[T]":  # Any: as in Executor
        """Run on this request's thread, after what was submitted before."""
        future: Future[T] = Future()
        job = partial(_run, future, partial(fn, *args, **kwargs))
        with self._lock:
            self.hops += 1
            self._unfinished += 1
            future.add_done_callback(self._finished)
            if self._thread is not None:
                self._thread.submit(job)
                return future
            self._waiting.append(job)
            if self._asked:
                return future
            self._asked = True
        self._lender.ask(self)
        return future

    def take(self, thread: ThreadPoolExecutor) -> None:
        """The lender's answer."""
        thread.submit(_begin)
        with self._lock:
            self._thread, self._asked = thread, False
            for job in self._waiting:
                thread.submit(job)
            self._waiting.clear()
            ended = self._ended
        if ended:
            # The request was cancelled while it stood in line.
            self.release(ended=True)

    def release(self, *, ended: bool = False) -> None:
        """Give the thread back; the next call borrows one again.

        Without effect while the thread is inside a call (a synchronous middleware around an awaited view) or a
        transaction is open on it, unless the request has `ended`.
        """
        with self._lock:
            self._ended = self._ended or ended  # what a request has started may outlive it, and release as well
            if self._thread is None or (not ended and (self._unfinished or self.pins)):
                return
            thread, self._thread = self._thread, None
            busy = self._unfinished > 0
        thread.submit(_end)
        if busy:
            # A call cannot be stopped when its request is: nobody else is to stand behind it.
            thread.submit(self._lender.give_back, thread)
        else:
            self._lender.give_back(thread)

    def _finished(self, future: "Future[T]") -> None:
        with self._lock:
            self._unfinished -= 1


CURRENT: ContextVar[BorrowedThread | None] = ContextVar("borrowed_thread", default=None)
"""The thread of the request that is being served, under our handler."""


async def release() -> None:
    """Give the thread of this request back, to be called before waiting for long. It costs one call of `release`."""
    if (borrowed := CURRENT.get()) is not None:
        borrowed.release()


def hops() -> int:
    """How often this request has gone to a thread so far."""
    borrowed = CURRENT.get()
    return 0 if borrowed is None else borrowed.hops


def _run(future: "Future[T]", job: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = job()
    except BaseException as error:  # noqa: BLE001  # as Executor does: whatever it is, it belongs to the caller
        future.set_exception(error)
    else:
        future.set_result(result)


def _begin() -> None:
    """What Django does when a request starts, on the thread that has the connections."""
    reset_queries()
    close_old_connections()


def _end() -> None:
    """Nothing of one request reaches the next: not a transaction, not a broken connection."""
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:
            log.error("A request ended inside a transaction on %r; it was rolled back.", connection.alias)
            del connections[connection.alias]
            if connection.connection is not None:
                connection.connection.close()
    close_old_connections()


async def hop(function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:  # Any: whatever the function takes
    """Call on the request's thread; under another server than ours, wherever asgiref finds right."""
    return await sync_to_async(function, thread_sensitive=True)(*args, **kwargs)


def either(function: Callable[..., Any], is_on_the_loop: Callable[[], bool]) -> Callable[..., Any]:  # Any: any hook
    """A coroutine function that plain code, wherever the event loop is not, may call as a plain function."""

    @wraps(function)
    def either(*args: Any, **kwargs: Any) -> Any:  # Any: as above
        if is_on_the_loop():
            return function(*args, **kwargs)
        return async_to_sync(function)(*args, **kwargs)

    return markcoroutinefunction(either)

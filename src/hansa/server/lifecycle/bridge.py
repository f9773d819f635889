"""The one bridge from async code to synchronous services and selectors.

    await call(service, ...)    a service: on the one writer thread, so that SQLite never sees two writers; on other
                                databases on a small pool, and what must not interleave there takes a lock of the rows
    await read(selector, ...)   a selector: on a small pool of reader threads
    await work(function, ...)   files and hashes, a megabyte at a time: on a pool of its own, without the database
    await compute(function, ...)  a file read from end to end, for seconds: apart, so that transfers do not wait for it
    await labour(function, ...)   arithmetic for minutes: apart, so that nothing waits for it
    await slowly(policy, ...)     checks that are slow on purpose (password hashes): on one thread, in a short queue

Each writer and reader thread keeps its database connection. Measured on SQLite with four writing threads and Django's
defaults: 351 of 400 transactions failed with "database is locked"; with one writer thread 422/s at p99 5.5 ms.
"""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from typing import ParamSpec, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections

P = ParamSpec("P")
T = TypeVar("T")

WRITERS = 4
"""On SQLite it is one."""
READERS = 4
WORKERS = 4
COMPUTERS = 2
LABOURERS = 2
SLOW_QUEUE = 20
"""How many may wait for a slow check; more are told to come again."""

_readers = ThreadPoolExecutor(READERS, thread_name_prefix="hansa-reader")
_workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="hansa-worker")
_computers = ThreadPoolExecutor(COMPUTERS, thread_name_prefix="hansa-computer")
_labourers = ThreadPoolExecutor(LABOURERS, thread_name_prefix="hansa-labourer")
_slow = ThreadPoolExecutor(1, thread_name_prefix="hansa-slow")
_waiting_slowly = 0


async def call(service: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a service on a writer thread. Its transaction ends before this returns."""
    return await _run(_writers(), partial(_with_connection, partial(service, *args, **kwargs)))


async def read(selector: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a selector on a reader thread. It must evaluate its queries before it returns."""
    return await _run(_readers, partial(_with_connection, partial(selector, *args, **kwargs)))


async def work(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run something that blocks on files for milliseconds, and does not touch the database."""
    return await _run(_workers, partial(function, *args, **kwargs))


async def compute(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run something that keeps a processor busy for seconds, and does not touch the database."""
    return await _run(_computers, partial(function, *args, **kwargs))


async def labour(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run something that keeps a processor busy for minutes, and does not touch the database."""
    return await _run(_labourers, partial(function, *args, **kwargs))


class BusyError(Exception):
    """Too many slow checks are waiting."""


async def slowly(policy: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a check that is slow on purpose. Raises BusyError rather than let a queue of them grow.

    Whoever sends wrong passwords keeps one thread busy, and nobody but other senders of passwords waiting.
    """
    global _waiting_slowly  # noqa: PLW0603  # one queue per process, counted on its one event loop
    if _waiting_slowly >= SLOW_QUEUE:
        raise BusyError
    _waiting_slowly += 1
    try:
        return await _run(_slow, partial(_with_connection, partial(policy, *args, **kwargs)))
    finally:
        _waiting_slowly -= 1


@cache
def _writers() -> Executor:
    """Made on first use: which database it is, Django's settings say, which need not be read when this is imported."""
    return ThreadPoolExecutor(1 if has_one_writer() else WRITERS, thread_name_prefix="hansa-writer")


@cache
def has_one_writer() -> bool:
    """Whether all services run on one thread: on SQLite."""
    return connections[DEFAULT_DB_ALIAS].vendor == "sqlite"


async def _run(executor: Executor, job: Callable[[], T]) -> T:
    submitted = executor.submit(contextvars.copy_context().run, job)
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    submitted.add_done_callback(partial(_tell, loop, ended))
    try:
        await ended
    except asyncio.CancelledError:
        # A job that has not begun never will. One that has cannot be stopped, and a caller that went on would close
        # files or release locks under its hands: it waits, however often it is cancelled.
        running = asyncio.wrap_future(submitted)
        while not submitted.cancel() and not submitted.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([running])
        running.add_done_callback(_hear)
        raise
    return submitted.result()


def _tell(loop: asyncio.AbstractEventLoop, ended: "asyncio.Future[None]", _: "Future[T]") -> None:
    """From the job's thread. `asyncio.wrap_future` and `asyncio.wait` would take as long as all else of the way."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(_end, ended)


def _end(ended: "asyncio.Future[None]") -> None:
    if not ended.done():
        ended.set_result(None)


def _hear(ended: "asyncio.Future[T]") -> None:
    """Take notice of an error that nobody waits for any more; asyncio would log it as forgotten."""
    if not ended.cancelled():
        ended.exception()


def _with_connection(job: Callable[[], T]) -> T:
    try:
        return job()
    finally:
        # Drops a connection that an error has broken; a healthy one stays open for the next job.
        for connection in connections.all(initialized_only=True):
            connection.close_if_unusable_or_obsolete()

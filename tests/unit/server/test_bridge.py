"""The bridge from async code to services: one writer, some readers, and nobody goes on under a running job's hands."""

import asyncio
import threading
from contextvars import ContextVar

import pytest

from hansa.server.lifecycle import bridge
from hansa.server.lifecycle.bridge import BusyError, call, compute, labour, read, slowly, work
from support.databases import only_sqlite

pytestmark = pytest.mark.usefixtures("transactional_db")


def thread():
    return threading.current_thread().name


async def test_all_services_run_on_one_thread_on_sqlite_and_elsewhere_on_a_few():
    names = await asyncio.gather(*(call(thread) for _ in range(20)))

    assert len(set(names)) <= (1 if bridge.has_one_writer() else bridge.WRITERS)
    assert all(name.startswith("hansa-writer") for name in names)


@pytest.mark.parametrize(
    ("way", "pool"),
    [(read, "reader"), (work, "worker"), (compute, "computer"), (labour, "labourer"), (slowly, "slow")],
)
async def test_everything_else_has_threads_of_its_own(way, pool):
    assert (await way(thread)).startswith(f"hansa-{pool}")


@pytest.mark.parametrize("way", [call, read, work, compute, labour, slowly])
async def test_what_a_job_returns_or_raises_is_the_callers(way):
    assert await way(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await way(divmod, 7, 0)


async def test_a_caller_that_is_cancelled_waits_for_its_job():
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def job():
        begun.set()
        go_on.wait(10)
        done.set()

    caller = asyncio.create_task(work(job))
    while not begun.is_set():  # noqa: ASYNC110  # an event of threads, not of the loop
        await asyncio.sleep(0)
    caller.cancel()
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.sleep(0)
    assert not caller.done()

    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert done.is_set()


@only_sqlite  # elsewhere several write beside each other: it has begun
async def test_a_job_that_has_not_begun_never_will():
    go_on, ran = threading.Event(), []
    first = asyncio.create_task(call(go_on.wait, 10))
    second = asyncio.create_task(call(ran.append, 1))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second

    go_on.set()
    await first
    await call(thread)
    assert ran == []


async def test_slow_checks_have_a_short_queue(monkeypatch):
    monkeypatch.setattr(bridge, "SLOW_QUEUE", 2)
    go_on = threading.Event()
    waiting = [asyncio.create_task(slowly(go_on.wait, 10)) for _ in range(2)]
    await asyncio.sleep(0)

    with pytest.raises(BusyError):
        await slowly(thread)

    go_on.set()
    await asyncio.gather(*waiting)
    assert await slowly(thread)


async def test_a_job_sees_the_context_of_its_caller():
    language = ContextVar("language", default="en")
    language.set("nds")

    assert await read(language.get) == "nds"

"""Threads of the bridge that are all taken: nobody else waits, and whoever gave up waiting leaves nothing behind."""

import asyncio
import threading

import pytest

from hansa.server.lifecycle import bridge
from hansa.server.lifecycle.bridge import call, compute, labour, read, slowly, work
from support.databases import on_postgresql

POOLS = {
    call: bridge.WRITERS if on_postgresql() else 1,
    read: bridge.READERS,
    work: bridge.WORKERS,
    compute: bridge.COMPUTERS,
    labour: bridge.LABOURERS,
    slowly: 1,
}
"""Every way over the bridge, and how many may be on it at a time."""
WAYS = pytest.mark.parametrize("way", POOLS, ids=lambda way: way.__name__)

# The bridge looks after its threads' connections, also where a job has used none.
pytestmark = pytest.mark.django_db(transaction=True)


class Job:
    """Something that blocks its thread until it is let go."""

    def __init__(self):
        self._begun = threading.Semaphore(0)
        self._go = threading.Event()

    def __call__(self):
        self._begun.release()
        assert self._go.wait(10), "nobody let the job go"

    async def begun(self, times=1):
        """Wait until it runs so many times at once."""
        for _ in range(times):
            assert await asyncio.to_thread(self._begun.acquire, timeout=10), "the job did not begin"

    def let_go(self):
        self._go.set()


@pytest.fixture
async def job():
    """Whatever becomes of the test, no thread is left behind."""
    job = Job()
    yield job
    job.let_go()


async def idle():
    """Let every task do what it can do now."""
    for _ in range(10):
        await asyncio.sleep(0)


@WAYS
async def test_while_one_pool_is_full_all_others_answer(way, job):
    full = [asyncio.create_task(way(job)) for _ in range(POOLS[way])]
    await job.begun(POOLS[way])
    another = asyncio.create_task(way(lambda: "late"))

    async with asyncio.timeout(10):
        for other in POOLS.keys() - {way}:
            assert await other(lambda: "at once") == "at once"

    assert not another.done()
    job.let_go()
    await asyncio.gather(*full)
    assert await another == "late"


@WAYS
async def test_who_gives_up_waiting_for_a_full_pool_is_free_at_once_and_the_job_never_runs(way, job):
    full = [asyncio.create_task(way(job)) for _ in range(POOLS[way])]
    await job.begun(POOLS[way])
    ran = []
    caller = asyncio.create_task(way(ran.append, "it ran"))
    await idle()

    caller.cancel()
    await asyncio.wait([caller], timeout=10)
    assert caller.cancelled()

    job.let_go()
    await asyncio.gather(*full)
    await way(lambda: None)
    assert ran == []


async def test_slow_checks_that_fail_or_are_given_up_leave_the_queue(job):
    def fail():
        raise ValueError("wrong")

    for _ in range(2 * bridge.SLOW_QUEUE):
        with pytest.raises(ValueError, match="wrong"):
            await slowly(fail)
    running, *queue = [asyncio.create_task(slowly(job)) for _ in range(bridge.SLOW_QUEUE)]
    await job.begun()
    for task in queue:
        task.cancel()
    await asyncio.wait(queue)

    later = [asyncio.create_task(slowly(lambda: "checked")) for _ in range(bridge.SLOW_QUEUE - 1)]
    await idle()
    job.let_go()

    assert set(await asyncio.gather(*later)) == {"checked"}
    await running


async def test_an_error_that_nobody_waits_for_any_more_is_not_logged_as_forgotten(job, caplog):
    def fail():
        job()
        raise ValueError("too late to matter")

    caller = asyncio.create_task(work(fail))
    await job.begun()
    caller.cancel()
    await idle()
    assert not caller.done(), "its job is still running"
    job.let_go()

    with pytest.raises(asyncio.CancelledError):
        await caller
    await idle()
    assert caplog.records == []

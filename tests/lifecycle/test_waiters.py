"""Long polls: who waits is woken from any thread, in time, by nobody else, and never for HEAD or for nobody."""

import asyncio
import threading
from contextlib import asynccontextmanager

import pytest
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.request import Request

from hansa.server.lifecycle import waiting
from hansa.server.lifecycle.body import UnreadRequest, Wire
from hansa.server.lifecycle.waiting import Waiters, wait_for

LONG = 3600.0


@pytest.fixture
async def bells():
    """A registry of this test's loop."""
    bells = Waiters()
    bells.bind(asyncio.get_running_loop())
    return bells


class Shelf:
    """What is waited for, and how often it was looked at."""

    def __init__(self, *found):
        self.found = list(found)
        self.looks = 0

    async def __call__(self):
        self.looks += 1
        return self.found.pop(0) if self.found else None


class Line:
    """A client's end of a request, to be cut."""

    def __init__(self, method="GET"):
        self._cut = asyncio.Event()
        scope = {"type": "http", "method": method, "path": "/", "query_string": b"", "headers": []}
        self.request = UnreadRequest(scope, Wire(self._receive))

    async def _receive(self):
        await self._cut.wait()
        return {"type": "http.disconnect"}

    def cut(self):
        self._cut.set()


async def parked(bells, key="key", count=1):
    """Wait until so many have looked, found nothing, and sleep."""
    async with asyncio.timeout(10):
        while sum(flag._waiting is not None for flag in bells._waiting.get(key, ())) < count:  # noqa: ASYNC110  # untold
            await asyncio.sleep(0)


@asynccontextmanager
async def waiting_for(look, bells, **changes):
    """A request that waits while the block runs."""
    request = changes.pop("request", None) or Line().request
    arguments = {"waiters": bells, "key": "key", "seconds": LONG, "request": request, **changes}
    task = asyncio.create_task(wait_for(look, **arguments))
    yield task
    async with asyncio.timeout(10):
        await asyncio.wait([task])


async def test_who_finds_something_does_not_wait(bells):
    assert await wait_for(Shelf("there"), waiters=bells, key="key", seconds=LONG, request=Line().request) == "there"
    assert not bells._waiting


async def test_who_waits_is_woken_from_another_thread(bells):
    shelf = Shelf()
    async with waiting_for(shelf, bells) as task:
        await parked(bells)
        shelf.found.append("new")
        threading.Thread(target=bells.wake, args=[["other", "key"]]).start()

    assert task.result() == "new"
    assert shelf.looks == 2
    assert not bells._waiting


async def test_who_is_woken_for_nothing_waits_on(bells):
    shelf = Shelf()
    async with waiting_for(shelf, bells) as task:
        await parked(bells)
        bells.wake(["other"])
        bells.wake(["key"])
        await asyncio.sleep(0)
        await parked(bells)
        assert not task.done()
        shelf.found.append("new")
        bells.wake(["key"])

    assert task.result() == "new"


async def test_what_happens_while_one_looks_is_not_missed(bells):
    looks = []

    async def look():
        looks.append(1)
        if len(looks) == 1:
            bells.wake(["key"])
            await asyncio.sleep(0)
            return None
        return "seen"

    async with waiting_for(look, bells) as task:
        pass
    assert task.result() == "seen"


async def test_what_nobody_was_told_of_is_found_when_the_time_is_over(bells):
    shelf = Shelf()
    async with waiting_for(shelf, bells, seconds=0.01) as task:
        await parked(bells)
        shelf.found.append("unheard of")

    assert task.result() == "unheard of"


async def test_the_time_is_over_at_its_end(bells):
    shelf = Shelf()
    async with waiting_for(shelf, bells, seconds=0.01) as task:
        pass
    assert (task.result(), shelf.looks) == (None, 2)


@pytest.mark.parametrize(("method", "seconds"), [("HEAD", LONG), ("OPTIONS", LONG), ("GET", 0)])
@pytest.mark.parametrize("there", [[], ["there"]])
async def test_who_only_asks_looks_once(bells, method, seconds, there):
    shelf = Shelf(*there)
    async with waiting_for(shelf, bells, request=Line(method).request, seconds=seconds) as task:
        pass
    assert (task.result(), shelf.looks) == (there[0] if there else None, 1)


async def test_nobody_looks_for_a_client_that_has_gone(bells):
    shelf, line, before = Shelf(), Line(), asyncio.all_tasks()
    async with waiting_for(shelf, bells, request=line.request) as task:
        await parked(bells)
        shelf.found.append("too late")
        line.cut()
        await asyncio.shield(line.request.wire.watch())
        bells.wake(["key"])

    assert (task.result(), shelf.looks) == (None, 1)
    line.request.wire.close()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_who_is_cancelled_leaves_nothing_behind(bells):
    line, before = Line(), asyncio.all_tasks()
    async with waiting_for(Shelf(), bells, request=line.request) as task:
        await parked(bells)
        task.cancel()
    line.request.wire.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert task.cancelled()
    assert asyncio.all_tasks() == before
    assert not bells._waiting


async def test_everybody_is_answered_before_the_server_ends(bells):
    shelf = Shelf()
    async with waiting_for(shelf, bells) as one, waiting_for(shelf, bells, key="other") as other:
        await parked(bells)
        await parked(bells, "other")
        bells.close()

    assert (one.result(), other.result(), shelf.looks) == (None, None, 4)
    assert await wait_for(shelf, waiters=bells, key="key", seconds=LONG, request=Line().request) is None


@pytest.mark.parametrize("wrap", [lambda request: request, Request])
async def test_a_server_that_cannot_tell_who_has_gone_is_waited_on_all_the_same(bells, wrap):
    shelf = Shelf()
    async with waiting_for(shelf, bells, request=wrap(RequestFactory().get("/"))) as task:
        await parked(bells)
        shelf.found.append("new")
        bells.wake(["key"])

    assert task.result() == "new"


async def test_the_thread_is_given_back_before_every_wait_and_not_before_an_answer(bells, monkeypatch):
    given_back = asyncio.Semaphore(0)

    async def release():
        given_back.release()

    monkeypatch.setattr(waiting, "release", release)
    shelf = Shelf("there")
    await wait_for(shelf, waiters=bells, key="key", seconds=LONG, request=Line().request)
    assert given_back.locked()

    async with waiting_for(shelf, bells), asyncio.timeout(10):
        await given_back.acquire()
        bells.wake(["key"])
        await given_back.acquire()
        shelf.found.append("new")
        bells.wake(["key"])
    assert given_back.locked()


async def test_several_changes_at_once_are_one_look(bells):
    shelf = Shelf()
    async with waiting_for(shelf, bells, settle=0.01) as task:
        await parked(bells)
        bells.wake(["key"])
        await asyncio.sleep(0)
        bells.wake(["key"])
        shelf.found.append("both")

    assert (task.result(), shelf.looks) == ("both", 2)


async def test_who_waits_first_binds_to_the_loop_it_waits_on():
    bells = Waiters()
    with bells.waiter("key") as flag:
        await asyncio.to_thread(bells.wake, ["key"])
        async with asyncio.timeout(5):
            await flag.wait()

    ended = asyncio.new_event_loop()
    bells.bind(ended)
    ended.close()
    with bells.waiter("key") as flag:
        await asyncio.to_thread(bells.wake, ["key"])
        async with asyncio.timeout(5):
            await flag.wait()


async def test_nobody_is_woken_where_there_is_no_loop():
    """Commands run beside the server, with the same services."""
    bells = Waiters()
    bells.wake(["key"])
    loop = asyncio.new_event_loop()
    bells.bind(loop)
    loop.close()
    bells.wake(["key"])


@given(keys=st.lists(st.sampled_from("abc"), max_size=8), woken=st.sets(st.sampled_from("abcd")))
def test_exactly_those_under_the_keys_are_woken(keys, woken):
    async def see():
        bells = Waiters()
        bells.bind(asyncio.get_running_loop())
        contexts = [bells.waiter(key) for key in keys]
        events = [context.__enter__() for context in contexts]
        bells.wake(woken)
        await asyncio.sleep(0)
        rung = [event.is_set() for event in events]
        for context in contexts:
            context.__exit__(None, None, None)
        assert not bells._waiting
        return rung

    assert asyncio.run(see()) == [key in woken for key in keys]

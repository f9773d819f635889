"""PUT of an update that takes more than one batch: each is written while the next comes, and none without its place."""

import asyncio
import threading

import pytest

from hansa.server.blobs import store
from hansa.server.lifecycle.bridge import call
from hansa.server.lifecycle.places import Places
from hansa.server.trainings import uploads
from hansa.server.trainings.arrivals import Partial
from support.exchange import Exchange
from support.work import lease, update


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    monkeypatch.setattr(uploads, "BATCH", 50)


def put(handler, client, task, file):
    path = f"/api/tasks/{task.id}/update/{file.digest}/"
    return Exchange(handler, client, "PUT", path, {"upload-length": str(len(file))})


class CountedPlaces(Places):
    """Knows how many have been asked for."""

    wanted = 0

    async def take(self):
        self.wanted += 1
        return await super().take()


async def test_the_next_batch_comes_while_one_is_written(bob, bobs_task, handler, monkeypatch):
    file, come, write = update(), threading.Event(), Partial.write
    monkeypatch.setattr(Partial, "write", lambda self, data: come.wait(30) and write(self, data))
    receiving = put(handler, bob, bobs_task, file)
    receiving.send(file.content[:60])
    await receiving.until_asked(2)
    receiving.send(file.content[60:70])
    await receiving.until_asked(3)

    come.set()
    receiving.send(file.content[70:], last=True)
    await receiving.finished()
    assert receiving.status == 200


async def test_a_batch_has_its_place_until_it_is_written(bob, carol, bobs_task, started, handler, monkeypatch):
    """Else each of any number of clients had one in memory for as long as the disk is slow.

    Three places are asked for: by one of the two for its second batch, by the other for its first.
    """
    places = CountedPlaces(1, seconds=60)
    monkeypatch.setattr(uploads, "BODIES", places)
    written, write = threading.Event(), Partial.write
    monkeypatch.setattr(Partial, "write", lambda self, data: written.wait(30) and write(self, data))
    carols_task = await call(lease, carol)
    first, second = update(1.0), update(2.0)
    writing = put(handler, bob, bobs_task, first)
    writing.send(first.content[:60])
    waiting = put(handler, carol, carols_task, second)
    waiting.send(second.content, last=True)
    async with asyncio.timeout(10):
        while places.wanted < 3:  # noqa: ASYNC110  # nobody tells of it
            await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert (writing.asked, waiting.asked) in ((1, 0), (0, 1)), "who came first has the one place"

    written.set()
    writing.send(first.content[60:], last=True)
    await writing.finished()
    await waiting.finished()
    assert (writing.status, waiting.status) == (200, 200)


async def test_a_file_is_checked_while_the_disk_writes_it_and_placed_when_it_is_there(
    bob, bobs_task, handler, monkeypatch
):
    happened, checked = [], threading.Event()
    check, sync, place = uploads.check, Partial.sync, store.place

    def note(name, function):
        def noted(*arguments):
            found = function(*arguments)
            happened.append(name)
            return found

        return noted

    def check_then_tell(*arguments):
        found = check(*arguments)
        checked.set()
        return found

    def sync_slowly(partial):
        assert checked.wait(30), "the check waits for the disk"
        sync(partial)

    monkeypatch.setattr(uploads, "check", check_then_tell)
    monkeypatch.setattr(Partial, "sync", note("on the disk", sync_slowly))
    monkeypatch.setattr(store, "place", note("placed", place))
    file = update()
    receiving = put(handler, bob, bobs_task, file)
    receiving.send(file.content, last=True)
    await receiving.finished()

    assert receiving.status == 200
    assert happened == ["on the disk", "placed"]

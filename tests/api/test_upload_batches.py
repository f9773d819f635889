"""PUT of an update that takes more than one batch: each is written while the next comes, and none without its place."""

import asyncio
import threading

import numpy as np
import pytest

from hansa.server.blobs import store
from hansa.server.lifecycle.bridge import call
from hansa.server.lifecycle.places import Places
from hansa.server.trainings import following, uploads
from hansa.server.trainings.approval import Checking
from hansa.server.trainings.arrivals import Partial
from support.exchange import Exchange
from support.work import File, lease, update


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
    advance, sync, place = Checking.advance, Partial.sync, store.place

    def note(name, function):
        def noted(*arguments):
            found = function(*arguments)
            happened.append(name)
            return found

        return noted

    def check_then_tell(checking, arrived):
        advance(checking, arrived)
        checked.set()

    def sync_slowly(partial):
        assert checked.wait(30), "the check waits for the disk"
        sync(partial)

    monkeypatch.setattr(Checking, "advance", check_then_tell)
    monkeypatch.setattr(Partial, "sync", note("on the disk", sync_slowly))
    monkeypatch.setattr(store, "place", note("placed", place))
    file = update()
    receiving = put(handler, bob, bobs_task, file)
    receiving.send(file.content, last=True)
    await receiving.finished()

    assert receiving.status == 200
    assert happened == ["on the disk", "placed"]


@pytest.fixture
def looked(monkeypatch):
    """How many bytes were there each time that an update was looked at."""
    seen, advance = [], Checking.advance

    async def at_once(function, *arguments):
        return function(*arguments)

    monkeypatch.setattr(following, "STEP", 1)
    monkeypatch.setattr(following, "compute", at_once)

    def noted(checking, arrived):
        seen.append(arrived)
        advance(checking, arrived)

    monkeypatch.setattr(Checking, "advance", noted)
    return seen


async def send_in_batches(receiving, content):
    """Each when the one before it was taken in."""
    for number, start in enumerate(range(0, len(content), 50), start=1):
        receiving.send(content[start : start + 50], last=start + 50 >= len(content))
        if start + 50 < len(content):
            await receiving.until_asked(number + 1)
    await receiving.finished()


async def norm_of(task):
    return (await call(lambda: type(task).objects.get(id=task.id))).uploaded_norm


async def test_an_update_is_checked_while_it_comes_and_found_the_same_as_one_that_is_checked_at_its_end(
    bob, carol, bobs_task, started, handler, looked, monkeypatch
):
    file, carols_task = update(3.0), await call(lease, carol)
    receiving = put(handler, bob, bobs_task, file)
    await send_in_batches(receiving, file.content)
    assert receiving.status == 200
    assert len(looked) > 3
    assert looked == sorted(looked)
    assert looked[-1] == len(file)

    monkeypatch.setattr(following, "AT_ONCE", 0)
    looked.clear()
    at_its_end = put(handler, carol, carols_task, file)
    at_its_end.send(file.content, last=True)
    await at_its_end.finished()
    assert looked == [len(file)], "there was no room to follow it"
    assert await norm_of(bobs_task) == await norm_of(carols_task) > 0


@pytest.mark.parametrize(
    ("file", "status", "code"),
    [
        (update(1.0, fc__bias=np.full(3, np.nan, np.float32)), 422, "not_finite"),
        (update(1.0, fc__bias=None), 422, "spec_mismatch"),
        (File(b"\xff" * 400), 422, "bad_model_file"),
    ],
)
async def test_what_is_wrong_is_told_when_the_digest_says_that_it_is_the_file(
    bob, bobs_task, handler, looked, file, status, code
):
    receiving = put(handler, bob, bobs_task, file)
    await send_in_batches(receiving, file.content)

    assert (receiving.status, receiving.json["code"]) == (status, code)
    assert list((store.home() / "partial").iterdir()) == []


async def test_a_file_that_was_changed_on_its_way_is_asked_for_again_and_not_called_wrong(
    bob, bobs_task, handler, looked
):
    file = update(1.0)
    path = f"/api/tasks/{bobs_task.id}/update/{file.digest}/"
    receiving = Exchange(handler, bob, "PUT", path, {"upload-length": str(len(file))})
    receiving.send(b"\xff" * len(file), last=True)
    await receiving.finished()

    assert (receiving.status, receiving.json["code"]) == (409, "digest_mismatch")


async def test_who_is_gone_amid_an_update_leaves_nothing_that_looks_at_it(bob, bobs_task, handler, looked):
    file = update(1.0)
    receiving = put(handler, bob, bobs_task, file)
    receiving.send(file.content[:200])
    await receiving.until_asked(2)
    receiving.disconnect()
    await receiving.finished()

    assert following._followed == set()

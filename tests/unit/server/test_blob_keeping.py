"""Which files the server keeps: those a row knows and those on their way, and no others."""

import asyncio
import os
import uuid
from functools import partial

import pytest
from django.utils import timezone

from hansa.server.blobs import services as blobs
from hansa.server.blobs import store
from hansa.server.blobs.models import Blob
from hansa.server.lifecycle.bridge import call, read
from hansa.server.trainings import assignments, uploads
from hansa.server.trainings.models import Task
from hansa.server.trainings.services import tasks, trainings
from support.exchange import Exchange
from support.work import lease, update

FOR_EVER = 2.0**40
"""Later than any file was touched, in seconds since the epoch."""


def written(content=b"a blob"):
    """A finished new file, and its digests."""
    with store.BlobFile() as file:
        file.write(content)
        return file.path, file.finish()


def noted(digests):
    """A row for the blob, as the service that refers to it writes it."""
    return blobs.record(digests=digests, media_type=blobs.SAFETENSORS, now=timezone.now())


class RefusedError(Exception):
    """What a service says that does not want the file."""


async def refuse():
    raise RefusedError


# Placing a file


def test_a_new_blob_is_moved_to_its_place(home):
    file, digests = written()
    store.place(file, digests.sha256)

    assert store.path_of(digests.sha256).read_bytes() == b"a blob"
    assert not file.exists()


@pytest.mark.parametrize("damaged", [b"a blub", b"a bl", b""])
def test_a_damaged_blob_is_healed_by_placing_it_again(home, damaged):
    file, digests = written()
    store.place(file, digests.sha256)
    store.path_of(digests.sha256).write_bytes(damaged)

    store.place(written()[0], digests.sha256)

    assert store.path_of(digests.sha256).read_bytes() == b"a blob"
    assert list((home / "tmp").iterdir()) == []


def test_who_reads_a_blob_while_it_is_placed_again_reads_on(home):
    file, digests = written()
    store.place(file, digests.sha256)
    with store.CheckedBlob(digests.sha256, digests.checksums, digests.size) as reading:
        store.place(written()[0], digests.sha256)
        buffer = bytearray(6)
        reading.read_into(0, memoryview(buffer))
    assert buffer == b"a blob"


def test_the_way_to_a_blob_is_durable_before_the_blob_is_promised(home, monkeypatch):
    """A folder that another placed may not be on the disk yet: every folder is flushed once, by whoever needs it."""
    synced = []
    monkeypatch.setattr(store, "fsync_folder", synced.append)
    file, digests = written()
    folder = store.path_of(digests.sha256).parent
    folder.mkdir(parents=True)

    store.place(file, digests.sha256)
    assert synced == [folder.parent.parent, folder.parent, folder]

    store.place(written()[0], digests.sha256)
    assert synced[3:] == [folder]


# Keeping it only with a row


async def test_a_file_whose_row_is_refused_is_removed_again(home, transactional_db):
    file, digests = written()

    with pytest.raises(RefusedError):
        await blobs.keep(file, digests.sha256, refuse)

    assert list(store.files()) == []
    assert not file.exists()


async def test_a_file_whose_row_never_comes_is_removed_again(home, transactional_db):
    file, digests = written()
    asked = asyncio.Event()

    async def never():
        asked.set()
        await asyncio.Event().wait()

    keeping = asyncio.create_task(blobs.keep(file, digests.sha256, never))
    await asyncio.wait_for(asked.wait(), 10)
    assert store.path_of(digests.sha256).exists()
    keeping.cancel()
    await asyncio.wait([keeping])

    assert keeping.cancelled()
    assert list(store.files()) == []


async def test_a_file_that_another_row_knows_stays_whoever_is_refused(home, transactional_db):
    file, digests = written()
    await blobs.keep(file, digests.sha256, partial(call, noted, digests))

    with pytest.raises(RefusedError):
        await blobs.keep(written()[0], digests.sha256, refuse)

    assert store.path_of(digests.sha256).read_bytes() == b"a blob"


async def test_two_that_keep_the_same_bytes_do_so_one_after_the_other(home, transactional_db):
    """Or the refused one would remove the file under the row of the other."""
    first, digests = written()
    at_row, go_on = asyncio.Event(), asyncio.Event()

    async def refuse_late():
        at_row.set()
        await go_on.wait()
        raise RefusedError

    refused = asyncio.create_task(blobs.keep(first, digests.sha256, refuse_late))
    await asyncio.wait_for(at_row.wait(), 10)
    kept = asyncio.create_task(blobs.keep(written()[0], digests.sha256, partial(call, noted, digests)))
    go_on.set()
    await asyncio.wait([refused, kept], timeout=10)

    assert isinstance(refused.exception(), RefusedError)
    assert kept.result().sha256 == digests.sha256
    assert store.path_of(digests.sha256).read_bytes() == b"a blob"


# Strays: files that no row knows


def old(path):
    """Make a file, or a folder, look untouched since 1970."""
    os.utime(path, (1, 1))
    return path


@pytest.fixture
def now():
    return timezone.now()


async def test_old_files_without_a_row_are_collected(home, transactional_db, now):
    stray, digests = written(b"stray")
    store.place(stray, digests.sha256)
    old(store.path_of(digests.sha256))
    forgotten = old(written(b"forgotten")[0])

    assert await blobs.collect_strays(before=now) == 2

    assert not store.path_of(digests.sha256).exists()
    assert not forgotten.exists()


async def test_files_with_a_row_and_files_just_written_are_no_strays(home, transactional_db, now):
    file, digests = written()
    await blobs.keep(file, digests.sha256, partial(call, noted, digests))
    old(store.path_of(digests.sha256))
    fresh, fresh_digests = written(b"its row is about to be written")
    store.place(fresh, fresh_digests.sha256)
    just_begun, _ = written(b"being written")
    for path in (store.path_of(fresh_digests.sha256), just_begun):
        os.utime(path, (now.timestamp(), now.timestamp()))

    assert await blobs.collect_strays(before=now) == 0

    assert store.path_of(digests.sha256).exists()
    assert store.path_of(fresh_digests.sha256).exists()
    assert just_begun.exists()


async def test_folders_are_no_strays_and_stop_nobody(home, transactional_db, now):
    """Somebody's own folder in tmp/, or one where blobs are, must not end the collection of the rest."""
    folders = [home / "tmp" / "mine", home / "blobs" / "ab" / "cd" / "mine"]
    for folder in folders:
        folder.mkdir(parents=True)
        old(folder)
    forgotten = old(written()[0])

    assert await blobs.collect_strays(before=now) == 1

    assert not forgotten.exists()
    assert all(folder.is_dir() for folder in folders)


async def test_uploads_in_progress_are_not_strays_however_old(home, transactional_db, now):
    upload = home / "partial" / "somebodys"
    upload.write_bytes(b"a slow line")
    old(upload)

    assert await blobs.collect_strays(before=now) == 0
    assert upload.exists()


# What broken uploads leave


def left_behind(task_id, content=b"half an update"):
    """What is here of an update whose connection broke."""
    path = store.partial_path(task_id, "0" * 64)
    path.write_bytes(content)
    return path


def drop_abandoned(before=FOR_EVER):
    return uploads.drop_abandoned(open_tasks=assignments.open_uploads(), before=before)


def test_what_is_left_of_a_task_that_can_be_reported_stays(bobs_task):
    path = left_behind(bobs_task.id)

    assert drop_abandoned() == 0
    assert path.exists()


def test_a_client_that_was_given_up_may_still_send_the_rest(bobs_task):
    Task.objects.filter(id=bobs_task.id).update(state="lost", lease_until=None)
    path = left_behind(bobs_task.id)

    assert drop_abandoned() == 0
    assert path.exists()


def test_what_is_left_of_tasks_that_are_over_is_dropped(bobs_task, training):
    trainings.cancel(training_id=training.id, now=timezone.now())
    paths = [left_behind(bobs_task.id), left_behind(uuid.uuid4())]

    assert drop_abandoned(before=0) == 0, "their clients may be about to be told"
    assert drop_abandoned() == 2
    assert not any(path.exists() for path in paths)


def begin_to_put(handler, client, task, file):
    path = f"/api/tasks/{task.id}/update/{file.digest}/"
    return Exchange(handler, client, "PUT", path, {"upload-length": str(len(file))})


async def test_what_is_being_received_is_not_dropped_under_its_writer(bob, bobs_task, training, handler, monkeypatch):
    monkeypatch.setattr(uploads, "BATCH", 10)  # a body of one batch has no file before it is whole
    file = update()
    exchange = begin_to_put(handler, bob, bobs_task, file)
    exchange.send(file.content[:100])
    await exchange.until_asked(2)
    await call(trainings.cancel, training_id=training.id, now=timezone.now())

    assert await read(drop_abandoned) == 0
    assert store.partial_path(bobs_task.id, file.digest).exists()

    exchange.disconnect()
    await exchange.finished()
    assert await read(drop_abandoned) == 1
    assert list(store.partial_path(bobs_task.id, file.digest).parent.iterdir()) == []


# One update of a task, and one file of it on its way


async def test_another_update_of_a_task_drops_what_is_left_of_the_first(bob, carol, bobs_task, handler):
    first, second = update(1.0), update(2.0)
    exchange = begin_to_put(handler, bob, bobs_task, first)
    exchange.send(first.content[:100])
    exchange.disconnect()
    await exchange.finished()
    carols = left_behind((await call(lease, carol)).id)
    assert store.partial_path(bobs_task.id, first.digest).exists()

    answer = await bob.put(f"/api/tasks/{bobs_task.id}/update/{second.digest}/", content=second.content)

    assert answer.status_code == 200
    assert list((store.home() / "partial").iterdir()) == [carols]


async def test_another_update_of_a_task_ends_the_first_that_is_on_its_way(bob, bobs_task, handler):
    first, second = update(1.0), update(2.0)
    exchange = begin_to_put(handler, bob, bobs_task, first)
    exchange.send(first.content[:100])
    await exchange.until_asked(2)

    answer = await bob.put(f"/api/tasks/{bobs_task.id}/update/{second.digest}/", content=second.content)
    await exchange.finished()

    assert answer.status_code == 200
    assert exchange.task.cancelled()
    assert list((store.home() / "partial").iterdir()) == []


async def test_an_update_that_comes_too_late_costs_no_room(bob, bobs_task, handler):
    file = update()
    exchange = begin_to_put(handler, bob, bobs_task, file)
    exchange.send(file.content[:100])
    await exchange.until_asked(2)
    await call(tasks.give_back, task_id=bobs_task.id, user_id=bob.user.id, reason="broken", failed=True)
    exchange.send(file.content[100:], last=True)
    await exchange.finished()

    assert exchange.status == 409
    assert exchange.json["code"] == "task_closed"
    assert not store.path_of(file.digest).exists()
    assert not await read(Blob.objects.filter(sha256=file.digest).exists)

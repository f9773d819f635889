"""Collection deletes what nothing refers to, after a while; and never anything else."""

import asyncio
from datetime import timedelta

import pytest
from django.db import models
from django.utils import timezone

from hansa.server.blobs import services, store
from hansa.server.blobs.models import Blob
from hansa.server.blobs.store import BlobFile
from hansa.server.lifecycle.bridge import call, read
from support.work import lease, update, upload_and_report

HOUR = timedelta(hours=1)

RELATIONS = [
    field
    for field in Blob._meta.get_fields(include_hidden=True)
    if field.auto_created and isinstance(field, models.ManyToOneRel)
]
"""Every foreign key to a blob there is, hidden ones included: a new one is tested without being named here."""


def stored(content=b"some bytes", seen_at=None):
    """A blob in the store with its row, which nothing refers to."""
    with BlobFile() as file:
        file.write(content)
        digests = file.finish()
    store.place(file.path, digests.sha256)
    return services.record(digests=digests, media_type="x", now=seen_at or timezone.now())


@pytest.fixture
async def full(bob, carol, started):
    """A training with an update: every table that refers to blobs has a row."""
    await upload_and_report(bob, await call(lease, bob), update())


def exists(blob):
    return Blob.objects.filter(sha256=blob.sha256).exists(), store.path_of(blob.sha256).exists()


async def test_what_nothing_refers_to_is_deleted_with_its_file(home, transactional_db, clock):
    blob = await call(stored)

    assert await services.collect(before=clock.now + HOUR) == 1

    assert await read(exists, blob) == (False, False)


async def test_what_was_seen_lately_stays(home, transactional_db, clock):
    blob = await call(stored)

    assert await services.collect(before=clock.now) == 0

    assert await read(exists, blob) == (True, True)


async def test_what_is_seen_again_stays_longer(home, transactional_db, clock):
    await call(stored, seen_at=clock.now - 2 * HOUR)
    blob = await call(stored)

    assert await services.collect(before=clock.now - HOUR) == 0
    assert await read(exists, blob) == (True, True)


@pytest.mark.parametrize("relation", RELATIONS, ids=lambda each: f"{each.related_model.__name__}.{each.field.name}")
async def test_what_a_row_refers_to_stays_however_old_it_is(full, clock, relation):
    blob = await call(stored, seen_at=clock.now - 1000 * HOUR)
    row = await read(relation.related_model._base_manager.first)
    before = getattr(row, relation.field.attname)
    await call(point, row, relation, blob.sha256)

    await services.collect(before=clock.now)
    assert await read(exists, blob) == (True, True)

    await call(point, row, relation, before)
    await services.collect(before=clock.now)
    assert await read(exists, blob) == (False, False), "let go, it is collected"


def point(row, relation, sha256):
    relation.related_model._base_manager.filter(pk=row.pk).update(**{relation.field.attname: sha256})


async def test_what_is_referred_to_while_it_is_collected_stays(full, clock):
    """Whoever writes a row holds the digest's lock from file to row; collection waits for it, and looks again."""
    blob = await call(stored)
    relation = RELATIONS[0]
    row = await read(relation.related_model._base_manager.first)
    async with store.lock(blob.sha256):
        collecting = asyncio.create_task(services.collect(before=clock.now + HOUR))
        await read(Blob.objects.count)
        await call(point, row, relation, blob.sha256)

    await collecting

    assert await read(exists, blob) == (True, True)


async def test_a_blob_that_somebody_reads_is_read_to_its_end(home, transactional_db, clock):
    blob = await call(stored, b"long content")
    with store.path_of(blob.sha256).open("rb") as reader:
        await services.collect(before=clock.now + HOUR)

        assert reader.read() == b"long content"

"""Blobs that are referred to together are kept together, or not at all."""

import asyncio
from functools import partial

import pytest
from django.utils import timezone

from hansa.server.blobs import services as blobs
from hansa.server.blobs import store
from hansa.server.blobs.models import Blob
from hansa.server.lifecycle.bridge import call, read


@pytest.fixture
def files(home, transactional_db):
    """Write files that are not in the store yet; their digests and where they lie."""

    def write(*contents):
        written = {}
        for content in contents:
            with store.BlobFile() as blob:
                blob.write(content)
                written[blob.finish()] = blob.path
        return written

    return write


async def keep(written):
    """Keep these files in their order, with a row for each."""

    def note():
        for digests in written:
            blobs.record(digests=digests, media_type=blobs.OCTETS, now=timezone.now())

    await blobs.keep_all({digests.sha256: path for digests, path in written.items()}, partial(call, note))


async def test_all_of_them_are_there(files):
    written = files(b"one", b"two")
    await keep(written)

    assert {path.read_bytes() for path in store.files()} == {b"one", b"two"}
    assert await read(Blob.objects.count) == 2


async def test_two_who_keep_the_same_in_another_order_do_not_wait_for_each_other_for_ever(files):
    one, other = files(b"one", b"two"), files(b"two", b"one")

    async with asyncio.timeout(10):
        await asyncio.gather(*(keep(each) for each in (one, other)))

    assert await read(Blob.objects.count) == 2


async def test_if_it_is_refused_only_those_stay_that_were_known_before(files):
    await keep(files(b"known"))

    async def refuse():
        raise KeyError

    written = files(b"known", b"new")
    with pytest.raises(KeyError):
        await blobs.keep_all({digests.sha256: path for digests, path in written.items()}, refuse)

    assert [path.read_bytes() for path in store.files()] == [b"known"]


async def test_if_one_cannot_be_placed_none_of_the_others_stays(files):
    written = files(b"first", b"second")
    list(written.values())[1].unlink()

    with pytest.raises(FileNotFoundError):
        await keep(written)

    assert list(store.files()) == []
    assert not await read(Blob.objects.exists)

"""The folder of rendered archives: rendered once, bounded, and expendable at any instant."""

import asyncio
import errno
import hashlib
import os
from dataclasses import replace

import pytest

from hansa.formats import modelfile
from hansa.formats.errors import SpecMismatchError
from hansa.server.blobs import store
from hansa.server.blobs.inspection import Known
from hansa.server.registry import rendered
from hansa.server.registry.ingest import ingest
from hansa.server.registry.rendered import Rendering
from support.damage import flip_a_bit
from support.torchfiles import pickled, small_net, state_of


def known(digests):
    return Known(digests.sha256, digests.size, digests.checksums)


@pytest.fixture
def stored(home, tmp_path):
    """Put a net into the store; its archive and its params."""

    def put(value):
        path = tmp_path / "net.pt"
        path.write_bytes(pickled(small_net(value)).content)
        ingested = ingest(path, buffers=None)
        store.place(ingested.file, ingested.digests.sha256)
        store.place(path, ingested.archive.sha256)
        return known(ingested.archive), known(ingested.digests)

    return put


@pytest.fixture
def rendering(stored):
    """An archive of zeros with the numbers of one of fives."""
    return Rendering(stored(0.0)[0], stored(5.0)[1])


@pytest.fixture
def renders(monkeypatch):
    """Every rendering that is begun."""
    begun = []
    render = modelfile.render

    def counted(*arguments):
        begun.append(arguments)
        return render(*arguments)

    monkeypatch.setattr(modelfile, "render", counted)
    return begun


def kept():
    return sorted(path.name for path in rendered._folder().glob("*"))


def content(rendering):
    with rendering.open() as file:
        return file.read()


async def test_an_archive_is_rendered_once_however_many_want_it_at_once(rendering, renders):
    sizes = await asyncio.gather(*(rendered.size_of(rendering) for _ in range(20)))
    sizes.append(await rendered.size_of(rendering))

    assert len(renders) == 1
    assert set(sizes) == {len(content(rendering))}
    assert state_of(content(rendering))["3.bias"].tolist() == [5.0] * 3


async def test_who_looked_before_it_was_there_and_asks_after_finds_it(rendering, renders, monkeypatch):
    """A look may be long on its way back: another asker's rendering has come and gone meanwhile."""
    size, touch, looks = await rendered.size_of(rendering), rendered._touch, []

    def late(asked):
        looks.append(asked)
        return None if len(looks) == 1 else touch(asked)

    monkeypatch.setattr(rendered, "_touch", late)

    assert await rendered.size_of(rendering) == size
    assert len(renders) == 1
    assert len(looks) == 2


async def test_who_gives_up_does_not_take_it_from_the_others(rendering, renders):
    first = asyncio.create_task(rendered.size_of(rendering))
    second = asyncio.create_task(rendered.size_of(rendering))
    await asyncio.sleep(0)
    first.cancel()

    assert await second > 0
    assert len(renders) == 1
    assert rendered._under_way == {}


async def test_the_same_numbers_in_the_same_archive_are_the_same_bytes_and_tag(rendering):
    await rendered.size_of(rendering)
    first = content(rendering)
    rendered.drop(rendering.archive.digest)
    assert kept() == []
    await rendered.size_of(rendering)

    assert content(rendering) == first
    assert rendering.etag == Rendering(rendering.archive, rendering.version).etag
    assert rendering.etag != Rendering(rendering.version, rendering.archive).etag


async def test_what_is_rendered_is_no_blob(rendering):
    await rendered.size_of(rendering)

    assert not store.path_of(hashlib.sha256(content(rendering)).hexdigest()).exists()


async def test_a_file_that_was_deleted_meanwhile_is_made_again_for_who_is_to_get_it(rendering, renders):
    size = await rendered.size_of(rendering)
    rendering.path.unlink()

    assert len(content(rendering)) == size
    assert len(renders) == 2


async def test_a_file_that_is_being_sent_is_sent_to_its_end_though_it_is_deleted(rendering):
    size = await rendered.size_of(rendering)
    with rendering.open() as file:
        beginning = file.read(10)
        rendered.drop(rendering.archive.digest)
        assert len(beginning + file.readall()) == size


async def test_what_was_used_last_stays(stored, monkeypatch):
    archive, _ = stored(0.0)
    renderings = [Rendering(archive, stored(float(value))[1]) for value in range(1, 5)]
    size = await rendered.size_of(renderings[0])
    monkeypatch.setattr(rendered, "LIMIT", 3 * size)
    for age, each in enumerate(renderings[:3]):
        await rendered.size_of(each)
        os.utime(each.path, (age, age))
    await rendered.size_of(renderings[0])  # used again
    await rendered.size_of(renderings[3])

    assert kept() == sorted(each.path.name for each in (renderings[0], renderings[2], renderings[3]))


async def test_one_that_is_larger_than_all_the_room_stays_alone(stored, monkeypatch):
    monkeypatch.setattr(rendered, "LIMIT", 10)
    archive, _ = stored(0.0)
    for value in (1.0, 2.0):
        last = Rendering(archive, stored(value)[1])
        await rendered.size_of(last)

    assert kept() == [last.path.name]


async def test_what_nobody_wants_any_more_is_dropped(stored):
    archive, version = stored(0.0)
    old, new = Rendering(archive, version), Rendering(archive, stored(1.0)[1])
    for each in (old, new):
        await rendered.size_of(each)
    os.utime(old.path, (1000, 1000))

    assert rendered.drop_unused(before=2000) == 1
    assert kept() == [new.path.name]


async def test_a_full_disk_empties_the_folder_and_is_tried_again(stored, monkeypatch):
    archive, version = stored(0.0)
    old, new = Rendering(archive, version), Rendering(archive, stored(1.0)[1])
    await rendered.size_of(old)
    render, full = modelfile.render, OSError(errno.ENOSPC, "No space left on device")

    def only_if_empty(*arguments):
        if kept():
            raise full
        return render(*arguments)

    monkeypatch.setattr(modelfile, "render", only_if_empty)
    await rendered.size_of(new)

    assert kept() == [new.path.name]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyError("x")])
async def test_a_rendering_that_fails_leaves_nothing_behind(rendering, monkeypatch, home, error):
    def fails(template, version, out):
        out.write(b"half of it")
        raise error

    monkeypatch.setattr(modelfile, "render", fails)
    with pytest.raises(type(error)):
        await rendered.size_of(rendering)

    assert (kept(), list((home / "tmp").iterdir()), rendered._under_way) == ([], [], {})


@pytest.mark.parametrize("part", ["archive", "version"])
async def test_nothing_is_rendered_from_a_damaged_file(rendering, part):
    flip_a_bit(getattr(rendering, part).digest)

    with pytest.raises(store.TornBlobError, match=getattr(rendering, part).digest):
        await rendered.size_of(rendering)
    assert kept() == []


async def test_numbers_of_another_model_do_not_go_into_an_archive(stored, home, tmp_path):
    archive, _ = stored(0.0)
    path = tmp_path / "other.pt"
    path.write_bytes(pickled(small_net()[3]).content)
    other = ingest(path, buffers=None)
    store.place(other.file, other.digests.sha256)

    with pytest.raises(SpecMismatchError):
        await rendered.size_of(Rendering(archive, known(other.digests)))
    assert kept() == []


async def test_another_way_of_rendering_has_another_tag(rendering, monkeypatch):
    before = rendering.etag
    monkeypatch.setattr(rendered, "FORM", "another")

    assert replace(rendering).etag != before

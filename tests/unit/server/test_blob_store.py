"""The store: a blob appears whole and durable or not at all, and a bit that has changed since is found."""

import hashlib
import os
from pathlib import Path

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from hansa.server.blobs import store
from hansa.server.blobs.digests import BLOCK, Digester
from hansa.server.blobs.store import BlobFile, CheckedBlob, TornBlobError

CONTENT = bytes(range(256)) * (10 * BLOCK // 1024)
"""Two and a half blocks."""


@pytest.fixture
def blob(home):
    """A blob in the store, and its digests."""
    return put(CONTENT)


def put(content):
    with BlobFile() as file:
        file.write(content)
        digests = file.finish()
    store.place(file.path, digests.sha256)
    return digests


@given(pieces=st.lists(st.binary(max_size=50)), repeat=st.integers(1, 30_000))
def test_digests_do_not_depend_on_how_the_bytes_came(pieces, repeat):
    digester = Digester()
    for piece in pieces:
        digester.update(piece * repeat)
    content = b"".join(piece * repeat for piece in pieces)

    digests = digester.digests()

    assert digests.sha256 == hashlib.sha256(content).hexdigest()
    assert digests.size == len(content)
    blocks = [content[start : start + BLOCK] for start in range(0, len(content), BLOCK)]
    assert digests.checksums == b"".join(xxhash.xxh3_64(block).digest() for block in blocks)


def test_digests_can_be_asked_for_on_the_way():
    digester = Digester()
    digester.update(b"one")
    first = digester.digests()
    digester.update(b"two")

    assert first.sha256 == hashlib.sha256(b"one").hexdigest()
    assert digester.digests().sha256 == hashlib.sha256(b"onetwo").hexdigest()


def test_a_blob_lies_under_its_digest(blob, home):
    path = store.path_of(blob.sha256)

    assert path.read_bytes() == CONTENT
    assert path == home / "blobs" / blob.sha256[:2] / blob.sha256[2:4] / blob.sha256
    assert list(store.files()) == [path]
    assert list((home / "tmp").iterdir()) == []


def test_a_file_that_is_not_finished_leaves_nothing_behind(home):
    def break_off():
        with BlobFile() as file:
            file.write(b"half of it")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()

    assert list((home / "tmp").iterdir()) == []


def test_the_same_blob_again_is_one_file(blob, home):
    put(CONTENT)

    assert len(list(store.files())) == 1
    assert list((home / "tmp").iterdir()) == []


def test_the_bytes_are_durable_before_the_name_and_the_name_before_it_is_told(home, monkeypatch):
    events = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: events.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    rename = Path.replace
    monkeypatch.setattr(Path, "replace", lambda path, target: (events.append("rename"), rename(path, target)))

    digests = put(b"content")

    file, *_, before, renamed, after = events
    target = store.path_of(digests.sha256)
    assert file.parent == home / "tmp", "first the bytes"
    assert before == target.parent.parent, "then the new folders, each in its parent"
    assert renamed == "rename"
    assert after == target.parent, "and last the name"


def test_removing_what_is_not_there_does_no_harm(home):
    store.remove("0" * 64)


@pytest.fixture
def checked(blob):
    with CheckedBlob(blob.sha256, blob.checksums, blob.size) as opened:
        yield opened


@pytest.mark.parametrize(
    ("start", "length"),
    [(0, 1), (0, len(CONTENT)), (BLOCK - 1, 2), (BLOCK, BLOCK), (5, 2 * BLOCK), (len(CONTENT) - 3, 3), (7, 0)],
)
def test_any_stretch_can_be_read(checked, start, length):
    buffer = bytearray(length)
    checked.read_into(start, memoryview(buffer))

    assert buffer == CONTENT[start : start + length]


@pytest.mark.parametrize("position", [0, BLOCK - 1, BLOCK, 2 * BLOCK + 17, len(CONTENT) - 1])
@pytest.mark.parametrize("bit", [0, 7])
def test_a_bit_that_has_changed_is_found_with_its_place(blob, checked, position, bit):
    damaged = bytearray(CONTENT)
    damaged[position] ^= 1 << bit
    store.path_of(blob.sha256).write_bytes(damaged)

    with pytest.raises(TornBlobError, match=f"block {position // BLOCK} ") as caught:
        checked.read_into(position, memoryview(bytearray(1)))
    assert blob.sha256 in str(caught.value)


def test_other_blocks_of_a_damaged_blob_can_still_be_read(blob, checked):
    store.path_of(blob.sha256).write_bytes(b"x" + CONTENT[1:])

    buffer = bytearray(10)
    checked.read_into(BLOCK, memoryview(buffer))
    assert buffer == CONTENT[BLOCK : BLOCK + 10]


@pytest.mark.parametrize("size", [0, BLOCK, len(CONTENT) - 1])
def test_a_blob_that_has_become_shorter_is_found(blob, checked, size):
    store.path_of(blob.sha256).write_bytes(CONTENT[:size])

    with pytest.raises(TornBlobError):
        checked.read_into(0, memoryview(bytearray(len(CONTENT))))

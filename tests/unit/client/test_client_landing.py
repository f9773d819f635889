"""Where a download lands: every byte in the file, whatever the pieces, and the digest of what is there."""

import hashlib
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa.client.landing import BLOCK, Landing

CONTENT = bytes(range(256)) * (5 * BLOCK // 256) + b"the end"


def digest(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def file(tmp_path):
    with (tmp_path / "part").open("a+b") as opened:
        yield opened


@given(sizes=st.lists(st.integers(0, 3 * BLOCK), max_size=6), here=st.integers(0, 2 * BLOCK))
def test_all_that_came_is_in_the_file_and_in_the_digest(sizes, here):
    expected = CONTENT[:here]
    with tempfile.TemporaryFile() as file:
        file.write(expected)
        with Landing(file) as landing:
            assert landing.size == here
            for size in sizes:
                landing.take(CONTENT[:size])
                expected += CONTENT[:size]
            assert landing.size == len(expected)
            assert landing.finish(sync=False) == digest(expected)
        assert content_of(file) == expected


def test_what_came_before_the_line_broke_is_in_the_file(file):
    def broken():
        with Landing(file) as landing:
            landing.take(CONTENT[: BLOCK + 17])
            raise ConnectionError

    with pytest.raises(ConnectionError):
        broken()
    assert content_of(file) == CONTENT[: BLOCK + 17]


def test_begun_again_nothing_of_before_is_left(file):
    file.write(b"of another model")
    with Landing(file) as landing:
        landing.take(CONTENT)
        landing.restart()
        landing.take(b"new")
        assert (landing.size, landing.finish(sync=False)) == (3, digest(b"new"))
    assert content_of(file) == b"new"


def test_a_full_disk_is_told_and_no_thread_is_left():
    before = threading.active_count()

    def filled():
        with Path("/dev/full").open("r+b", buffering=0) as file, Landing(file) as landing:
            for _ in range(5):
                landing.take(CONTENT[:BLOCK])

    with pytest.raises(OSError, match="No space left"):
        filled()
    assert threading.active_count() == before


def content_of(file):
    file.flush()
    file.seek(0)
    return file.read()

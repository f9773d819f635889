"""Files of models, on their way to the sandbox."""

import os

import pytest

from hansa.server.blobs.inspection import Known
from hansa.server.blobs.models import Blob
from hansa.server.blobs.serving import BlobDamagedError
from hansa.server.inference.opening import opened
from hansa.server.lifecycle.bridge import read
from support.damage import flip_a_bit, take_away


@pytest.fixture
async def known(model):
    return Known.of(await read(lambda: Blob.objects.get(versions__model=model)))


async def test_they_are_open_for_reading_only_and_closed_in_the_end(known):
    stack, descriptors = opened([known])
    (descriptor,) = descriptors.values()
    with stack:
        assert os.pread(descriptor, 8, 0)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(descriptor, b"x")

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


@pytest.mark.parametrize("damage", [flip_a_bit, take_away])
async def test_one_that_is_damaged_is_given_to_nobody_also_if_it_was_whole_before(known, damage):
    opened([known])[0].close()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # as plain as can be

    damage(known.digest)

    with pytest.raises(BlobDamagedError):
        opened([known])
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208  # as above


async def test_one_that_has_not_changed_is_read_once(known, monkeypatch):
    opened([known])[0].close()

    monkeypatch.setattr("hansa.server.inference.opening.require_whole", pytest.fail)

    stack, descriptors = opened([known])
    stack.close()
    assert descriptors.keys() == {known.digest}

"""Whatever the strides, an array read in pieces is the array numpy sees; written into a storage, it is found there."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hansa.formats.archives import strided
from hansa.formats.archives.strided import Strided, boxes, gather

shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)
DTYPES = ("<f4", ">f4", "<i8", ">i8", "u1", "<f2")


class InMemory:
    """A source that knows the longest stretch that was asked of it."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.longest = 0

    def read_into(self, offset: int, view: memoryview) -> None:
        assert 0 <= offset <= offset + len(view) <= len(self.content), "nothing outside of the file is asked for"
        self.longest = max(self.longest, len(view))
        view[:] = self.content[offset : offset + len(view)]


@given(shape=shapes, data=st.data())
def test_boxes_are_the_stretch_in_order(shape: tuple[int, ...], data: st.DataObject) -> None:
    numbers = np.arange(int(np.prod(shape))).reshape(shape)
    start = data.draw(st.integers(0, numbers.size))
    stop = data.draw(st.integers(start, numbers.size))
    found = [
        numbers[tuple(slice(at, at + length) for at, length in zip(corner, lengths, strict=True))].reshape(-1)
        for corner, lengths in boxes(shape, start, stop)
    ]
    assert np.concatenate([np.empty(0, int), *found]).tolist() == list(range(start, stop))
    assert len(found) <= max(1, 2 * len(shape))


@pytest.mark.parametrize("small", [4, 2**16])
@given(data=st.data(), shape=shapes, dtype=st.sampled_from(DTYPES))
def test_any_stretch_of_any_strided_array_is_read(
    data: st.DataObject, shape: tuple[int, ...], dtype: str, small: int
) -> None:
    strides = tuple(data.draw(st.integers(0, 9)) for _ in shape)
    offset = data.draw(st.integers(0, 9))
    itemsize = np.dtype(dtype).itemsize
    count = offset + sum(max(length - 1, 0) * stride for length, stride in zip(shape, strides, strict=True)) + 1
    storage = np.arange(count).astype(dtype)
    array = Strided(np.dtype(dtype), 8 + offset * itemsize, shape, tuple(stride * itemsize for stride in strides))
    wanted = np.lib.stride_tricks.as_strided(storage[offset:], shape, array.strides).reshape(-1)
    start = data.draw(st.integers(0, wanted.size))
    stop = data.draw(st.integers(start, wanted.size))
    source = InMemory(bytes(8) + storage.tobytes())
    out = np.zeros(stop - start, dtype)
    before, strided._SMALL = strided._SMALL, small
    try:
        gather(source, array, start, stop, out)
    finally:
        strided._SMALL = before
    assert out.tolist() == wanted[start:stop].tolist()


def test_no_more_than_a_window_is_read_at_once() -> None:
    numbers = np.arange(3000 * 1000, dtype=np.float32)
    source = InMemory(numbers.tobytes())
    array = Strided(np.dtype("<f4"), 0, (1000, 3000), (4, 4000))
    out = np.zeros(array.size, np.float32)
    gather(source, array, 0, array.size, out)
    assert np.array_equal(out.reshape(1000, 3000), numbers.reshape(3000, 1000).T)
    assert source.longest <= strided.WINDOW

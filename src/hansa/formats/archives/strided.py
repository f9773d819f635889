"""Arrays in a file that do not lie one element after the other: transposed, channels-last, views of larger storages.

Elements are addressed in C order of the array's shape, as everywhere in Hansa, and read through the strides in pieces
of bounded size: whatever the strides say, no more than one window of the file is in memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np

from hansa.core.params import Array
from hansa.formats.chunks import Source

WINDOW = 2**20
_SPARSE = 32
"""A window is read whole if at least so small a part of it is wanted; else it is read in smaller pieces."""
_SMALL: Final = 2**16
"""A window not larger than this is read whole, whatever part of it is wanted."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Strided:
    """One array in a file."""

    dtype: "np.dtype[np.generic]"
    """With the byte order of the file."""
    begin: int
    """Byte offset of its first element."""
    shape: Shape
    strides: Shape
    """In bytes, none negative."""

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.dtype.itemsize

    @property
    def extent(self) -> int:
        """Bytes from the first to the end of the last element in the file."""
        return extent(self.shape, self.strides, self.dtype.itemsize)

    @property
    def is_contiguous(self) -> bool:
        """Whether the elements lie in the file as in memory: without gaps, in C order."""
        return self.size == 0 or all(
            length == 1 or stride == expected
            for length, stride, expected in zip(
                self.shape, self.strides, c_strides(self.shape, self.dtype.itemsize), strict=True
            )
        )


def c_strides(shape: Shape, itemsize: int) -> Shape:
    """The strides in bytes of an array in C order."""
    return tuple(itemsize * prod(shape[axis + 1 :]) for axis in range(len(shape)))


def extent(shape: Shape, strides: Shape, itemsize: int) -> int:
    """Bytes from the first to the end of the last element; 0 if there is none."""
    if 0 in shape:
        return 0
    return itemsize + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))


def gather(source: Source, array: Strided, start: int, stop: int, out: Array) -> None:
    """Read elements `start` to `stop` into `out`: 1-D, contiguous, of the array's dtype in either byte order.

    Neighbours in their own byte order are read where they belong, without a copy.
    """
    if array.is_contiguous and out.dtype == array.dtype:
        source.read_into(array.begin + start * array.dtype.itemsize, out.view(np.uint8).data)
        return
    filled = 0
    for corner, lengths in boxes(array.shape, start, stop):
        count = prod(lengths)
        begin = array.begin + sum(index * stride for index, stride in zip(corner, array.strides, strict=True))
        _read_box(source, Strided(array.dtype, begin, lengths, array.strides), out[filled : filled + count])
        filled += count


def boxes(shape: Shape, start: int, stop: int) -> Iterator[tuple[Shape, Shape]]:
    """The elements `start` to `stop` of an array, in C order, as boxes: the first index, and the lengths.

    There are at most two for each axis.

    >>> list(boxes((3, 4), 3, 12))
    [((0, 3), (1, 1)), ((1, 0), (2, 4))]
    """
    inner = [prod(shape[axis + 1 :]) for axis in range(len(shape))]
    at = start
    while at < stop:
        axis = next((axis for axis, size in enumerate(inner) if at % size == 0 and stop - at >= size), -1)
        if axis < 0:  # an array without axes
            yield (), ()
            return
        corner = tuple(at // size % length for size, length in zip(inner, shape, strict=True))
        count = min((stop - at) // inner[axis], shape[axis] - corner[axis])
        yield corner, (1,) * axis + (count,) + shape[axis + 1 :]
        at += count * inner[axis]


def _read_box(source: Source, box: Strided, out: Array) -> None:
    """All of `box`, split in halves along its widest stride until what is read is small, or mostly wanted."""
    todo = [(box.begin, box.shape, out.reshape(box.shape))]
    itemsize = box.dtype.itemsize
    while todo:
        begin, shape, target = todo.pop()
        span = extent(shape, box.strides, itemsize)
        if span <= _SMALL or (span <= WINDOW and span <= _SPARSE * prod(shape) * itemsize):
            window = bytearray(span)
            source.read_into(begin, memoryview(window))
            target[...] = np.ndarray(shape, box.dtype, window, 0, box.strides)
            continue
        axis = max(range(len(shape)), key=lambda axis: (shape[axis] > 1, box.strides[axis]))
        half = shape[axis] // 2
        cut = (slice(None),) * axis
        lower = (*shape[:axis], half, *shape[axis + 1 :])
        upper = (*shape[:axis], shape[axis] - half, *shape[axis + 1 :])
        todo.append((begin + half * box.strides[axis], upper, target[(*cut, slice(half, None))]))
        todo.append((begin, lower, target[(*cut, slice(None, half))]))

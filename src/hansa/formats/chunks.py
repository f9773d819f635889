"""The numbers of a model in pieces of a few megabytes, read from any number of files at the same place.

A chunk is a stretch of the model in its data order (`ParamSpec.in_data_order`), all of one dtype: small arrays stand
together, a large one is cut. Chunks depend on the spec alone, not on how a file lies; of a canonical file a chunk is
one read.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from hansa.core.finite import LARGEST, first_not_addable
from hansa.core.params import Array, Kind, ParamSpec
from hansa.formats.errors import BadModelFileError, NotFiniteError
from hansa.formats.layout import Layout

MAX_BYTES = 4 * 2**20
CUT = 8192
"""Large arrays are cut at multiples of so many elements, if that fits in a chunk."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Elements `start` to `stop`, in C order, of one array."""

    name: str
    dtype: str
    kind: Kind
    start: int
    stop: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.stop - self.start

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * np.dtype(self.dtype).itemsize


Chunk = tuple[Segment, ...]
"""Segments that follow each other in the model's data order, all of one dtype; never empty."""


class Source(Protocol):
    """The bytes of one file."""

    def read_into(self, offset: int, view: memoryview) -> None:
        """Fill all of `view` with the bytes from `offset` on, or raise."""


class FileSource:
    """A file on disk. Any number of threads may read it at once. Close it, or use it as a context manager."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)

    def read_into(self, offset: int, view: memoryview) -> None:
        """Fill all of `view`; raises BadModelFileError if the file ends before."""
        while view:
            count = os.preadv(self._file.fileno(), [view], offset)
            if not count:
                raise BadModelFileError(f"the file ends at byte {offset}, {len(view)} bytes too early. Fetch it again.")
            offset, view = offset + count, view[count:]

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def chunks(spec: ParamSpec, max_bytes: int = MAX_BYTES) -> Iterator[Chunk]:
    """Cut a model into chunks of at most `max_bytes`; arrays without elements are in none.

    Raises ValueError if one element of the widest dtype does not fit.
    """
    chunk: list[Segment] = []
    room = 0
    for array in spec.in_data_order:
        step = max_bytes // array.itemsize
        if step < 1:
            raise ValueError(f"max_bytes is {max_bytes}; one element of {array.name!r} has {array.itemsize}")
        step = step // CUT * CUT or step
        for start in range(0, array.size, step):
            segment = Segment(array.name, array.dtype, array.kind, start, min(start + step, array.size))
            if chunk and (segment.nbytes > room or segment.dtype != chunk[0].dtype):
                yield tuple(chunk)
                chunk, room = [], max_bytes
            room = (room if chunk else max_bytes) - segment.nbytes
            chunk.append(segment)
    if chunk:
        yield tuple(chunk)


def read_chunk(source: Source, layout: Layout, chunk: Chunk, buffer: memoryview | bytearray) -> list[Array]:
    """Read one chunk of a file that fits the model (`check_fits`) into the beginning of `buffer`.

    Segments that are neighbours in the file are read together. Returns one 1-D view of the buffer per segment; they
    lie side by side in the order of the chunk, aligned if the buffer is (`flat` is all of them as one array).
    """
    view = memoryview(buffer).cast("B")
    filled = 0
    for offset, length in _stretches(layout, chunk):
        source.read_into(offset, view[filled : filled + length])
        filled += length
    elements, arrays, start = flat(chunk, buffer), [], 0
    for segment in chunk:
        arrays.append(elements[start : start + segment.size])
        start += segment.size
    return arrays


def flat(chunk: Chunk, buffer: memoryview | bytearray) -> Array:
    """All elements of a chunk that was read into `buffer`, as one 1-D view."""
    count = sum(segment.size for segment in chunk)
    return np.frombuffer(buffer, np.dtype(chunk[0].dtype).newbyteorder("<"), count)


def check_finite(arrays: Sequence[Array], chunk: Chunk) -> None:
    """Raise NotFiniteError for the first value in the arrays of a chunk that cannot be averaged, with its name and flat
    index: a NaN, an infinity, or what is so large that a mean with others may be one.
    """
    for array, segment in zip(arrays, chunk, strict=True):
        index = first_not_addable(array)
        if index is not None:
            raise NotFiniteError(
                f"{segment.name!r} holds {array.reshape(-1)[index]} at flat index {segment.start + index}; every value "
                f"must be finite, and within ±{LARGEST:.0e}, or a mean with others would not be. The training has "
                "probably diverged: lower its learning rate, or look at its data."
            )


def _stretches(layout: Layout, chunk: Chunk) -> Iterator[tuple[int, int]]:
    """Offset and length in bytes of what must be read, neighbours joined."""
    begin = end = -1
    for segment in chunk:
        start = layout.placed(segment.name).start + segment.start * (segment.nbytes // segment.size)
        if start != end:
            if end > begin:
                yield begin, end - begin
            begin = start
        end = start + segment.nbytes
    yield begin, end - begin

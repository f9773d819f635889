"""How a model is cut for an aggregation: by its spec alone, and never into more than one dtype.

Where it is cut for reading is no part of the result. Where it is cut for inner products is.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

import numpy as np

from hansa.core.params import ArraySpec, Kind, ParamSpec
from hansa.formats import safetensors
from hansa.formats.chunks import Chunk, Segment

ALIGNED = 8
"""Bytes of the widest dtype: elements of a canonical file lie at multiples of their size."""


class Stretch(NamedTuple):
    """Segments of one kind that stand beside each other in a chunk."""

    place: slice
    segments: Chunk
    kind: Kind


def size_of(chunk: Chunk) -> int:
    """Elements of a chunk."""
    return sum(segment.size for segment in chunk)


def is_float(dtype: str) -> bool:
    """Whether rules and steps act on params of this dtype."""
    return np.dtype(dtype).kind == "f"


def stretches(chunk: Chunk) -> Iterator[Stretch]:
    """Params and buffers apart, in order."""
    start = 0
    for kind, segments in groupby(chunk, key=lambda segment: segment.kind):
        together = tuple(segments)
        yield Stretch(slice(start, start + size_of(together)), together, kind)
        start += size_of(together)


def chunks(spec: ParamSpec, max_bytes: int) -> Iterator[Chunk]:
    """All of the model, cut where its canonical file has a multiple of `max_bytes`, which should be one of the blocks
    that have a checksum each: a block that lies in two chunks is read and compared twice.
    """
    step = max(ALIGNED, max_bytes // ALIGNED * ALIGNED)
    lead = len(safetensors.canonical(spec)[0]) // ALIGNED * ALIGNED

    def room(array: ArraySpec, before: int, filled: int) -> int:
        del filled
        return (step - (lead + before) % step) // array.itemsize

    return _cut(spec.in_data_order, room)


def shorter(whole: Iterable[Chunk], elements: int, dtype_is: Callable[[str], bool]) -> Iterator[Chunk]:
    """The same chunks; those of some dtypes cut to so many elements of one array, where they have more."""
    for chunk in whole:
        if size_of(chunk) <= elements or not dtype_is(chunk[0].dtype):
            yield chunk
            continue
        for segment in chunk:
            for start in range(segment.start, segment.stop, elements):
                yield (replace(segment, start=start, stop=min(start + elements, segment.stop)),)


def panels(spec: ParamSpec, elements: int) -> Iterator[Chunk]:
    """The params of float dtypes in data order, cut at every so many elements of each dtype: by nothing but that."""

    def room(array: ArraySpec, before: int, filled: int) -> int:
        del array, before
        return elements - filled

    learned = (array for array in spec.in_data_order if array.kind is Kind.PARAM and is_float(array.dtype))
    return _cut(learned, room)


def _cut(arrays: Iterable[ArraySpec], room: Callable[[ArraySpec, int, int], int]) -> Iterator[Chunk]:
    """`room`: how many elements of an array there are to the next cut, with so many bytes before them in all, and so
    many elements in the chunk already.
    """
    chunk, filled, before = list[Segment](), 0, 0
    for array in arrays:
        start = 0
        while start < array.size:
            if chunk and chunk[0].dtype != array.dtype:
                yield tuple(chunk)
                chunk, filled = [], 0
            fits = room(array, before, filled)
            stop = min(array.size, start + fits)
            chunk.append(Segment(array.name, array.dtype, array.kind, start, stop))
            filled += stop - start  # carried on: adding up a chunk for each of 20,000 small arrays took 16 s
            before += (stop - start) * array.itemsize
            if stop - start == fits:
                yield tuple(chunk)
                chunk, filled = [], 0
            start = stop
    if chunk:
        yield tuple(chunk)

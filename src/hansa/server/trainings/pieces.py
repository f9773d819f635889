"""How a model is cut for an aggregation: by its spec alone, and never into more than one dtype.

Where it is cut for reading is no part of the result. Where it is cut for inner products is.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

import numpy as np

from hansa.core.params import Kind, ParamSpec
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
    chunk, place = list[Segment](), len(safetensors.canonical(spec)[0]) // ALIGNED * ALIGNED
    for array in spec.in_data_order:
        start = 0
        while start < array.size:
            if chunk and chunk[0].dtype != array.dtype:
                yield tuple(chunk)
                chunk = []
            stop = min(array.size, start + (step - place % step) // array.itemsize)
            chunk.append(Segment(array.name, array.dtype, array.kind, start, stop))
            place += chunk[-1].nbytes
            if place % step == 0:
                yield tuple(chunk)
                chunk = []
            start = stop
    if chunk:
        yield tuple(chunk)


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
    learned = (array for array in spec.in_data_order if array.kind is Kind.PARAM and is_float(array.dtype))
    for dtype, together in groupby(learned, key=lambda array: array.dtype):
        yield from parts((Segment(array.name, dtype, array.kind, 0, array.size) for array in together), elements)


def parts(segments: Iterable[Segment], elements: int) -> Iterator[Chunk]:
    """What stands beside each other, cut at every so many elements."""
    part, filled = list[Segment](), 0  # carried on: adding up a part for each of 20,000 small arrays took 16 s
    for segment in segments:
        start = segment.start
        while start < segment.stop:
            stop = min(segment.stop, start + elements - filled)
            part.append(replace(segment, start=start, stop=stop))
            filled += stop - start
            if filled == elements:
                yield tuple(part)
                part, filled = [], 0
            start = stop
    if part:
        yield tuple(part)

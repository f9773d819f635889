"""How one chunk of the version comes of the same chunk of every update.

    InTurn   one update after the other is read into one buffer and added with its share: means, sums, and whatever
             else a rule has told the shares of. An update with the share 0 is not read
    ByRank   a short chunk of the whole cohort is read, and the rule sees each element of all of them

Rules act on params of float dtypes. Buffers of float dtypes take the mean by the accepted list's weights; so do
integers, truncated toward zero.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import local
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hansa.core.aggregators import ByElement
from hansa.core.aggregators.shares import Shares
from hansa.core.mean import Scratch, add_product, added_exactly, total_of, weighted_mean
from hansa.core.params import Array, Kind, ParamSpec
from hansa.formats.chunks import MAX_BYTES, Chunk
from hansa.server.trainings import pipeline
from hansa.server.trainings.cohort import Base, Cohort, Room
from hansa.server.trainings.pieces import Stretch, chunks, is_float, shorter, size_of, stretches

CHUNK_BYTES = MAX_BYTES
"""Of each update, in a chunk. No part of the result."""
EXACT_ELEMENTS = 2**17
"""Integers of a chunk where they are added exactly: some 15 MB on each thread."""
COHORT_BYTES = 2**30
"""What the chunks of a whole cohort take that are in memory at a time, on all threads."""
LEAST_BYTES = 2**14
"""Of each, however many updates there are."""

Vector = NDArray[np.float64]
Seen = Callable[[int, Array], None]
"""Told of every update's values as they are read, with its place."""


class Combiner(Protocol):
    """One way, for one cohort."""

    def pieces(self, spec: ParamSpec, most: int) -> Iterator[Chunk]:
        """The model in pieces of the size that suits it, with so many bytes of each update at most."""

    def combine(self, chunk: Chunk, seen: Seen) -> Array:
        """The chunk's aggregate: float64 for float dtypes, integers as they are. It is overwritten by the next call on
        this thread.
        """


class Buffers(local):
    """One thread's working memory, kept from chunk to chunk, as large as the largest of them: the system clears each
    page that is asked for.
    """

    def __init__(self) -> None:
        self._chunk = bytearray()
        self.scratch = Scratch()
        self.block = Room()

    def room(self, chunk: Chunk) -> bytearray:
        """For the bytes of one update's chunk, of any content."""
        wanted = sum(segment.nbytes for segment in chunk)
        if len(self._chunk) < wanted:
            self._chunk = bytearray(wanted)
        return self._chunk


@dataclass(frozen=True, slots=True)
class InTurn:
    """Σ wᵢ·xᵢ / W, or the base and Σ wᵢ·(xᵢ - base) / W where the shares make no mean."""

    cohort: Cohort
    weights: Sequence[float]
    """Of the accepted list."""
    shares: Shares
    """Of params."""
    base: Base | None = None
    """For shares that make no mean."""
    _buffers: Buffers = field(default_factory=Buffers)

    def pieces(self, spec: ParamSpec, most: int) -> Iterator[Chunk]:
        """Chunks, shorter where integers are added exactly."""
        return exact_pieces(chunks(spec, most), self.weights)

    def combine(self, chunk: Chunk, seen: Seen) -> Array:
        """See `Combiner`."""
        if not is_float(chunk[0].dtype):
            return whole_numbers(self.cohort, chunk, self.weights, self._buffers, seen)
        acc = self._buffers.scratch.sum(size_of(chunk))
        parts = [self._part(stretch, acc) for stretch in stretches(chunk)]
        if self.base is not None:
            origin = self.base.chunk(chunk, self._buffers.room(chunk)).astype(np.float64)
            parts = [part._replace(origin=origin[part.place]) if part.shared else part for part in parts]
        with np.errstate(over="ignore", invalid="ignore"):
            for place in range(len(self.weights)):
                wanted = [part for part in parts if part.weights[place]]
                if not wanted:
                    continue
                values = self.cohort.chunk_of(place, chunk, self._buffers.room(chunk))
                seen(place, values)
                for part in wanted:
                    part.add(place, values, self._buffers.scratch.products)
            for part in parts:
                part.finish()
        return acc

    def _part(self, stretch: Stretch, acc: Vector) -> "_Part":
        if stretch.kind is Kind.BUFFER:
            weights = [float(weight) for weight in self.weights]
            return _Part(0, stretch.place, acc[stretch.place], weights, total_of(weights), shared=False)
        weights = self.shares.weights.tolist()
        total = total_of([weight for weight in weights if weight]) if self.shares.total is None else self.shares.total
        first = next((place for place, weight in enumerate(weights) if weight), len(weights))
        return _Part(first, stretch.place, acc[stretch.place], weights, total, shared=True)


class _Part(NamedTuple):
    """A stretch, and what its sum is made with."""

    first: int
    """The first update that has a weight; as many as there are where none has."""

    place: slice
    acc: Vector
    weights: list[float]
    total: float
    shared: bool
    """Whether it is of params, with the rule's shares."""
    origin: Vector | None = None

    def add(self, place: int, values: Array, products: Vector) -> None:
        """One update more."""
        first = place == self.first
        add_product(self.acc, values[self.place], self.weights[place], products, first=first, origin=self.origin)

    def finish(self) -> None:
        """Of the sum make the values."""
        if self.first == len(self.weights):
            self.acc[...] = 0.0
        np.divide(self.acc, self.total, out=self.acc)
        if self.origin is not None:
            np.add(self.acc, self.origin, out=self.acc)


@dataclass(frozen=True, slots=True)
class ByRank:
    """A rule that looks at one element of all updates at a time."""

    cohort: Cohort
    weights: Sequence[float]
    rule: ByElement
    scales: Vector | None = None
    """By how much each update is scaled before the rule sees it; None: none is."""
    base: Base | None = None
    """For scales."""
    _buffers: Buffers = field(default_factory=Buffers)

    def pieces(self, spec: ParamSpec, most: int) -> Iterator[Chunk]:
        """Chunks so short that those of the whole cohort have room on every thread."""
        floats = {np.dtype(array.dtype) for array in spec if is_float(array.dtype)}
        widening = max((self._dtype(dtype).itemsize // dtype.itemsize for dtype in floats), default=1)
        room = max(LEAST_BYTES, COHORT_BYTES // (pipeline.THREADS * len(self.weights) * widening))
        # A power of two, so that the blocks that have a checksum hold a whole number of them.
        return exact_pieces(chunks(spec, min(most, 1 << (room.bit_length() - 1))), self.weights)

    def combine(self, chunk: Chunk, seen: Seen) -> Array:
        """See `Combiner`."""
        if not is_float(chunk[0].dtype):
            return whole_numbers(self.cohort, chunk, self.weights, self._buffers, seen)
        block, combined = self._block(chunk, seen), self._buffers.scratch.sum(size_of(chunk))
        for stretch in stretches(chunk):
            values, out = block[:, stretch.place], combined[stretch.place]
            if stretch.kind is Kind.PARAM:
                out[...] = self.rule.combine(values, np.asarray(self.weights, np.float64))
            else:
                weighted_mean(values, self.weights, out)
        return combined

    def _block(self, chunk: Chunk, seen: Seen) -> NDArray[np.floating]:
        """The values of all updates, scaled: a row each."""
        origin = None
        if self.base is not None and self.scales is not None:
            origin = self.base.chunk(chunk, self._buffers.room(chunk)).astype(np.float64)
        dtype = self._dtype(np.dtype(chunk[0].dtype))
        block = self._buffers.block.array(len(self.weights), size_of(chunk), dtype)
        for place, values in enumerate(self.cohort.chunk_of_each(chunk, self._buffers.room(chunk))):
            seen(place, values)
            block[place] = values
            if origin is not None and self.scales is not None and self.scales[place] != 1:
                for stretch in stretches(chunk):
                    if stretch.kind is Kind.PARAM:
                        row, from_there = block[place, stretch.place], origin[stretch.place]
                        row[...] = from_there + self.scales[place] * (row - from_there)
        return block

    def _dtype(self, stored: np.dtype[np.generic]) -> np.dtype[np.generic]:
        """What holds the values of the cohort exactly, and can be sorted fast: float16 cannot."""
        wide = self.scales is not None or self.cohort.dtype_of(stored).itemsize == 8
        return np.dtype(np.float64 if wide else np.float32)


def exact_pieces(whole: Iterator[Chunk], weights: Sequence[float]) -> Iterator[Chunk]:
    """The same chunks; those of integers that are added exactly in smaller ones, for the memory that takes."""
    return shorter(whole, EXACT_ELEMENTS, lambda dtype: added_exactly(np.dtype(dtype), weights))


def whole_numbers(cohort: Cohort, chunk: Chunk, weights: Sequence[float], buffers: Buffers, seen: Seen) -> Array:
    """The mean of a chunk of integers, truncated toward zero."""
    mean = np.empty(size_of(chunk), chunk[0].dtype)

    def told() -> Iterator[Array]:
        for place, values in enumerate(cohort.chunk_of_each(chunk, buffers.room(chunk))):
            seen(place, values)
            yield values

    weighted_mean(told(), weights, mean, scratch=buffers.scratch)
    return mean

"""The updates of a cohort on the store, read chunk after chunk in canonical order, and the version they began from.

Whatever a client has sent, what is read here are the values of the whole model as it would have sent them: who combines
them does not see how they came. Files are opened for one chunk at a time, so a cohort of any size needs no more than
one descriptor on each thread; every block that is read is compared with its checksum.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import local

import numpy as np
from numpy.typing import NDArray

from hansa.core.params import Array
from hansa.formats import encodings, safetensors
from hansa.formats.chunks import Chunk, flat, read_chunk
from hansa.formats.encodings import Form
from hansa.formats.errors import ModelFileError, SpecMismatchError
from hansa.formats.layout import Layout, Placed
from hansa.server.blobs.inspection import Known
from hansa.server.blobs.store import CheckedBlob, TornBlobError
from hansa.server.blobs.suspicion import SUSPICION
from hansa.server.trainings.services.aggregation import LateUpdateUnreadableError, StoredUpdate


class Room:
    """Memory for one array, used again and again: as large as the largest that was asked for."""

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.uint8)

    def array(self, rows: int, size: int, dtype: np.dtype[np.generic]) -> NDArray[np.floating]:
        """(rows, size) of any content, of a float dtype."""
        wanted = rows * size * dtype.itemsize
        if self._bytes.size < wanted:
            self._bytes = np.empty(wanted, np.uint8)
        return np.frombuffer(self._bytes, dtype, rows * size).reshape(rows, size)


@dataclass(frozen=True, slots=True)
class _Sent:
    """How an update came."""

    layout: Layout
    form: Form | None
    base: Known | None
    """What it was trained from, where that is needed to read it."""


class _Rooms(local):
    """One thread's working memory, and the piece of a base that it has read last."""

    def __init__(self) -> None:
        self.values = Room()
        self.base = Room()
        self.has: tuple[str, Chunk] | None = None
        self.piece: Array = np.empty(0)


class Cohort:
    """The updates of one job, in its order. Any number of threads may read them, each into a buffer of its own.

    `base` is what those that are not late were trained from; without it they are read as they stand. Of the params
    that are `left_out` everybody has those it was trained from, also who has sent others.
    """

    def __init__(
        self, updates: Sequence[StoredUpdate], base: Known | None = None, left_out: frozenset[str] = frozenset()
    ) -> None:
        self.updates = updates
        self._sent = _sent(updates, base, left_out)
        self._has_differences = any(sent.form is not None and sent.form.content == "difference" for sent in self._sent)
        self._rooms = _Rooms()

    def dtype_of(self, stored: np.dtype[np.generic]) -> np.dtype[np.generic]:
        """Of the values that are read, where the model has this dtype: a base and a difference are added in float64."""
        return np.dtype("<f8") if self._has_differences and stored.kind == "f" else stored.newbyteorder("<")

    def chunk_of_each(self, chunk: Chunk, buffer: bytearray | memoryview) -> Iterator[Array]:
        """The values of the chunk, 1-D, one update after the other, each over the one before.

        Raises TornBlobError for an update whose bytes are not those that were stored, LateUpdateUnreadableError for
        such a late one.
        """
        for place in range(len(self.updates)):
            yield self.chunk_of(place, chunk, buffer)

    def chunk_of(self, place: int, chunk: Chunk, buffer: bytearray | memoryview) -> Array:
        """The same of one update, by its place in the list: good until the next is read on this thread."""
        update, sent, dtype = self.updates[place], self._sent[place], self.dtype_of(np.dtype(chunk[0].dtype))
        with _opened(update) as source:
            if sent.form is None:
                read_chunk(source, sent.layout, chunk, buffer)
                return flat(chunk, buffer).astype(dtype, copy=False)
            out: Array = self._rooms.values.array(1, sum(segment.size for segment in chunk), dtype)[0]
            base = self._piece_of_base(sent, chunk) if encodings.needs_base(sent.layout, sent.form, chunk) else None
            encodings.fill(out, encodings.parts(source, sent.layout, chunk, buffer), sent.form, base)
        return out

    def _piece_of_base(self, sent: _Sent, chunk: Chunk) -> Array:
        """Of a chunk that all updates are asked for one after the other, what they began from is read once."""
        if sent.base is None:
            raise ValueError("an update in this form is read together with what it was trained from")
        rooms, wanted = self._rooms, (sent.base.digest, chunk)
        if rooms.has != wanted:
            rooms.has = None  # should reading fail
            with ExitStack() as opened:
                size, dtype = sum(segment.size for segment in chunk), np.dtype(chunk[0].dtype)
                room = rooms.base.array(1, size, dtype).view(np.uint8)
                rooms.piece = _opened_base_of(sent.base, opened).chunk(chunk, room.data.cast("B"))
            rooms.has = wanted
        return rooms.piece


@dataclass(frozen=True, slots=True)
class Base:
    """The version that a round began from, opened."""

    source: CheckedBlob
    layout: Layout

    def chunk(self, chunk: Chunk, buffer: bytearray | memoryview) -> Array:
        """Its values of the chunk, 1-D, read into `buffer`. Raises TornBlobError or ModelFileError."""
        read_chunk(self.source, self.layout, chunk, buffer)
        return flat(chunk, buffer)


def opened_base(known: Known, opened: ExitStack) -> Base:
    """Until `opened` is closed. Raises TornBlobError or ModelFileError where it cannot be read."""
    source = opened.enter_context(CheckedBlob(known.digest, known.checksums, known.size))
    return Base(source, safetensors.read_layout(source, known.size))


def _opened_base_of(known: Known, opened: ExitStack) -> Base:
    try:
        return opened_base(known, opened)
    except TornBlobError:
        SUSPICION.raised(known.digest)
        raise


def _sent(updates: Sequence[StoredUpdate], base: Known | None, left_out: frozenset[str]) -> list[_Sent]:
    """How each update came. Clients of one SDK write the same header: those share one layout."""
    known: dict[tuple[Placed, ...], Layout] = {}
    sent = []
    for update in updates:
        form, origin = None, base if update.late_from is None else update.base
        with _opened(update) as source:
            if base is None:
                layout = safetensors.read_layout(source, update.size)
            else:
                layout, form = encodings.read_layout(source, update.size)
            if form is not None and (origin is None or origin.digest != form.base):
                raise SpecMismatchError(
                    f"update {update.digest} was trained from {form.base}, which is not what its round began from any "
                    "more"
                )
        if left_out and form is None and origin is not None:
            form = Form("params", origin.digest)
        layout = known.get(layout.arrays) or known.setdefault(layout.arrays, layout.without(left_out))
        sent.append(_Sent(layout, form, origin))
    return sent


@contextmanager
def _opened(update: StoredUpdate) -> Iterator[CheckedBlob]:
    with _late_ones_told_apart(update), CheckedBlob(update.digest, update.checksums, update.size) as source:
        yield source


@contextmanager
def _late_ones_told_apart(update: StoredUpdate) -> Iterator[None]:
    """The round can do without a late update whose file is gone or damaged, but not without one of its own."""
    try:
        yield
    except (TornBlobError, FileNotFoundError, ModelFileError) as error:
        if update.late_from is None:
            raise
        raise LateUpdateUnreadableError(update=update, number=update.late_from, why=str(error)) from error

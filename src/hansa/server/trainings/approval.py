"""Whether a complete file is the result that its task asks for, in whichever form it came."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hansa.core.norms import DifferenceNorm
from hansa.core.params import Array, Kind
from hansa.formats import chunks, encodings, safetensors
from hansa.formats.encodings import Form
from hansa.formats.header import LENGTH_BYTES
from hansa.formats.layout import Layout, check_fits
from hansa.protocol.tasks import TaskKind
from hansa.rounds.encoding import left_out
from hansa.server.blobs.inspection import Known
from hansa.server.blobs.services import SAFETENSORS, UPDATE
from hansa.server.blobs.serving import BlobDamagedError
from hansa.server.blobs.store import CheckedBlob, TornBlobError
from hansa.server.blobs.suspicion import SUSPICION
from hansa.server.trainings import moments, ties
from hansa.server.trainings.assignments import UploadTarget


@dataclass(frozen=True, slots=True)
class Approved:
    """A result that fits."""

    norm: float
    """The L2 norm of (update - what it was trained from) over params; of moments see `moments.check`."""
    media_type: str = SAFETENSORS
    """UPDATE for one that is no model by itself."""


def check(path: Path, size: int, target: UploadTarget) -> Approved:
    """Read a complete file once, from its first byte to its last. Raises as `Checking.advance`."""
    checking = Checking(path, size, target)
    checking.advance(size)
    return checking.approved()


class Checking:
    """The check of a file that may still be coming: as far as its bytes are there, in their order. For one at a time.

    Between two calls it has no file open, and a megabyte of memory.
    """

    def __init__(self, path: Path, size: int, target: UploadTarget) -> None:
        self._path = path
        self._size = size
        self._target = target
        self._layout: Layout | None = None
        self._form: Form | None = None
        self._norm = DifferenceNorm()
        self._chunks = chunks.chunks(target.spec)
        self._next = next(self._chunks, None)
        self._of_moments: float | None = None

    def advance(self, arrived: int) -> None:
        """Look at what came, up to so many bytes of the file.

        Raises ModelFileError unless the file is what the task asks for, BlobDamagedError where what it was trained from
        is damaged. It is not to be asked again after that.
        """
        is_whole = arrived >= self._size
        if self._target.kind is TaskKind.SWAG:
            if is_whole:
                self._of_moments = moments.check(self._path, self._size, self._target.spec)
            return
        if self._layout is None and (is_whole or arrived >= self._header_end(arrived)):
            self._layout, self._form = self._read_layout()
        if self._layout is None:
            return
        if self._next is not None and self._end_of(self._layout, self._next) <= arrived:
            self._add(self._layout, arrived)
        if is_whole:
            there = self._layout.find
            ties.check(
                self._path, self._layout, (tuple(each for each in names if there(each)) for names in self._target.ties)
            )

    def approved(self) -> Approved:
        """What was found, when all of the file has been looked at."""
        if self._of_moments is not None:
            return Approved(self._of_moments)
        return Approved(self._norm.value(), SAFETENSORS if self._form is None else UPDATE)

    def _header_end(self, arrived: int) -> int:
        """Where the header ends; what it says of itself is checked when it is read."""
        if arrived < LENGTH_BYTES:
            return self._size
        with self._path.open("rb") as file:
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        return LENGTH_BYTES + length if length <= safetensors.MAX_HEADER else 0

    def _read_layout(self) -> tuple[Layout, Form | None]:
        """The arrays that count, for the model's are checked to fit."""
        target = self._target
        with self._path.open("rb") as file:
            layout, form = encodings.read_layout(file, self._size)
        if form is None:
            check_fits(layout, target.spec)
        else:
            encodings.check_fits(layout, form, target.spec, target.encoding, target.base.digest)
        return layout, form

    @staticmethod
    def _end_of(layout: Layout, chunk: chunks.Chunk) -> int:
        """Where the last byte of a chunk is in the file, whose numbers may be narrower than the model's."""
        ends = [0]
        for segment in chunk:
            if (placed := layout.find(segment.name)) is not None and segment.size:
                itemsize = (placed.stop - placed.start) // math.prod(placed.shape)
                ends.append(placed.start + segment.stop * itemsize)
        return max(ends)

    def _add(self, layout: Layout, arrived: int) -> None:
        """Chunk by chunk to the norm. Of differences it is told without what they were trained from, and of those
        alone: not of integers, which come whole. Raises NotFiniteError.
        """
        target = self._target
        is_difference = self._form is not None and self._form.content == "difference"
        kept = layout.without(frozenset() if target.encoding is None else left_out(target.encoding.params, target.spec))
        room = min(chunks.MAX_BYTES, target.spec.nbytes)  # no more than is used: the system clears each page of it
        ours, theirs = bytearray(room), bytearray(0 if is_difference else room)
        with ExitStack() as opened:
            update = opened.enter_context(chunks.FileSource(self._path))
            base = None if is_difference else _Base(opened.enter_context(_checked(target.base)), target.base.size)
            while (chunk := self._next) is not None and self._end_of(layout, chunk) <= arrived:
                origin: Array | None = None
                for part in encodings.parts(update, kept, chunk, ours):
                    chunks.check_finite([part.values], (part.segment,))
                    if part.segment.kind is not Kind.PARAM:
                        continue
                    if base is None and part.values.dtype.kind == "f":
                        self._norm.add(part.values, np.broadcast_to(np.float64(0), part.values.shape))
                    elif base is not None:
                        origin = base.chunk(chunk, theirs) if origin is None else origin
                        self._norm.add(part.values, origin[part.place])
                self._next = next(self._chunks, None)


class _Base:
    """What was trained from."""

    def __init__(self, source: CheckedBlob, size: int) -> None:
        self._source = source
        self._layout = safetensors.read_layout(source, size)

    def chunk(self, chunk: chunks.Chunk, room: bytearray) -> Array:
        """Its values of the chunk, 1-D, in `room`."""
        chunks.read_chunk(self._source, self._layout, chunk, room)
        return chunks.flat(chunk, room)


@contextmanager
def _checked(base: Known) -> Iterator[CheckedBlob]:
    try:
        with CheckedBlob(base.digest, base.checksums, base.size) as source:
            yield source
    except TornBlobError as error:
        SUSPICION.raised(base.digest)
        raise BlobDamagedError(base.digest) from error

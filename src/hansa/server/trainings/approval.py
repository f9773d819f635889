"""Whether a complete file is the result that its task asks for, in whichever form it came."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hansa.core.norms import DifferenceNorm
from hansa.core.params import Array, Kind
from hansa.formats import chunks, encodings, safetensors
from hansa.formats.encodings import Form
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
    """Read the file once, from its first byte to its last.

    Raises ModelFileError unless the file is what the task asks for, BlobDamagedError where what it was trained from is
    damaged.
    """
    if target.kind is TaskKind.SWAG:
        return Approved(moments.check(path, size, target.spec))
    with path.open("rb") as file:
        layout, form = encodings.read_layout(file, size)
    if form is None:
        check_fits(layout, target.spec)
    else:
        encodings.check_fits(layout, form, target.spec, target.encoding, target.base.digest)
    sent = (tuple(name for name in names if layout.find(name) is not None) for names in target.ties)
    ties.check(path, layout, sent)
    kept = layout.without(frozenset() if target.encoding is None else left_out(target.encoding.params, target.spec))
    return Approved(_norm(path, kept, form, target), SAFETENSORS if form is None else UPDATE)


def _norm(path: Path, layout: Layout, form: Form | None, target: UploadTarget) -> float:
    """Of differences it is told without what they were trained from, and of those alone: not of integers, which come
    whole. Raises NotFiniteError.
    """
    norm, is_difference = DifferenceNorm(), form is not None and form.content == "difference"
    room = min(chunks.MAX_BYTES, target.spec.nbytes)  # no more than is used: the system clears each page of it
    ours, theirs = bytearray(room), bytearray(0 if is_difference else room)
    with ExitStack() as opened:
        update = opened.enter_context(chunks.FileSource(path))
        base = None if is_difference else _Base(opened.enter_context(_checked(target.base)), target.base.size)
        for chunk in chunks.chunks(target.spec):
            origin: Array | None = None
            for part in encodings.parts(update, layout, chunk, ours):
                chunks.check_finite([part.values], (part.segment,))
                if part.segment.kind is not Kind.PARAM:
                    continue
                if base is None and part.values.dtype.kind == "f":
                    norm.add(part.values, np.broadcast_to(np.float64(0), part.values.shape))
                elif base is not None:
                    origin = base.chunk(chunk, theirs) if origin is None else origin
                    norm.add(part.values, origin[part.place])
    return norm.value()


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

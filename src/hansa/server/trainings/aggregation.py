"""The arithmetic of a round on the files of the store: chunk after chunk, in canonical order.

For each chunk of the model the same chunk of every accepted update, and then of every late one that counts here, is
read into one buffer, its checksums compared, and added to the mean. Memory is a few megabytes whatever the model and
the cohort; the result depends on nothing but the two lists and their order.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from threading import Event, local

import numpy as np

from hansa.core.finite import first_not_finite
from hansa.core.mean import Scratch, added_exactly, weighted_mean
from hansa.core.params import Array
from hansa.crashpoints import crash_point
from hansa.formats import safetensors
from hansa.formats.chunks import MAX_BYTES, Chunk, chunks, flat, read_chunk
from hansa.formats.errors import ModelFileError, NotFiniteError
from hansa.formats.layout import Layout, Placed
from hansa.server.blobs.digests import Digests
from hansa.server.blobs.store import BlobFile, CheckedBlob, TornBlobError
from hansa.server.trainings.services.aggregation import Job, LateUpdateUnreadableError, StoredUpdate

THREADS = 2
IN_FLIGHT = 4
"""Chunks computed ahead of the one being written."""
EXACT_ELEMENTS = 2**17
"""Integers of a chunk where they are added exactly: some 15 MB on each thread."""


class _Buffers(local):
    """One thread's working memory, kept from chunk to chunk."""

    def __init__(self) -> None:
        self.chunk = bytearray(MAX_BYTES)
        self.scratch = Scratch()


class StoppedError(Exception):
    """The server ends; the aggregation is taken up again by the next one."""


def aggregate(job: Job, blob: BlobFile, stopping: Event) -> Digests:
    """Write the round's version, or its moments, into `blob`: Σ nᵢ·xᵢ / Σ nᵢ over the accepted list, in its order.

    The same job gives the same bytes, however many threads take part. Raises TornBlobError for an update whose bytes
    are not those that were stored, LateUpdateUnreadableError for such a late one, StoppedError once `stopping` is set.
    """
    header, _ = safetensors.canonical(job.spec)
    blob.write(header)
    layouts = _layouts(job.updates)
    buffers = _Buffers()
    with ThreadPoolExecutor(THREADS, thread_name_prefix="hansa-mean") as pool:
        pending = []
        for chunk in _pieces(job):
            if stopping.is_set():
                pool.shutdown(cancel_futures=True)
                raise StoppedError
            pending.append(pool.submit(_mean, job, layouts, chunk, buffers))
            if len(pending) > IN_FLIGHT:
                _write(blob, pending.pop(0).result())
        for future in pending:
            _write(blob, future.result())
    return blob.finish()


def _pieces(job: Job) -> Iterator[Chunk]:
    """The chunks of the model; those of integers that are added exactly in smaller ones, for the memory that takes."""
    weights = [update.weight for update in job.updates]
    for chunk in chunks(job.spec):
        size = sum(segment.size for segment in chunk)
        if size <= EXACT_ELEMENTS or not added_exactly(np.dtype(chunk[0].dtype), weights):
            yield chunk
            continue
        for segment in chunk:
            for start in range(segment.start, segment.stop, EXACT_ELEMENTS):
                yield (replace(segment, start=start, stop=min(start + EXACT_ELEMENTS, segment.stop)),)


def _write(blob: BlobFile, mean: Array) -> None:
    blob.write(mean.data.cast("B"))
    crash_point("aggregation.chunk")


def _layouts(updates: Sequence[StoredUpdate]) -> list[Layout]:
    """Where the arrays lie in each file. Clients of one SDK write the same header: those share one layout."""
    known: dict[tuple[Placed, ...], Layout] = {}
    layouts = []
    for update in updates:
        with _opened(update) as source:
            layout = safetensors.read_layout(source, update.size)
        layouts.append(known.setdefault(layout.arrays, layout))
    return layouts


def _mean(job: Job, layouts: list[Layout], chunk: Chunk, buffers: _Buffers) -> Array:
    """One chunk of the mean."""
    out = np.empty(sum(segment.size for segment in chunk), np.dtype(chunk[0].dtype).newbyteorder("<"))
    weighted_mean(
        _chunk_of_each(job, layouts, chunk, buffers.chunk),
        [update.weight for update in job.updates],
        out,
        scratch=buffers.scratch,
    )
    index = first_not_finite(out)
    if index is not None:
        raise NotFiniteError(
            f"the mean of the round is not finite in {chunk[0].name!r} or one of the {len(chunk) - 1} arrays after it, "
            "though every update is: their values are too large to be added. Lower the learning rate."
        )
    return out


def _chunk_of_each(job: Job, layouts: list[Layout], chunk: Chunk, buffer: bytearray) -> Iterator[Array]:
    for update, layout in zip(job.updates, layouts, strict=True):
        with _opened(update) as source:
            read_chunk(source, layout, chunk, buffer)
        yield flat(chunk, buffer)


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

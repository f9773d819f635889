"""A model's bytes: from the source into temporary files, read inertly, and kept as this server keeps them.

Nothing of them is executed. One model is on its way at a time, and of that a few megabytes are in memory.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from hansa.core.moments import moments_spec, num_elements, param_order
from hansa.crashpoints import crash_point
from hansa.formats.errors import ModelFileError
from hansa.server.blobs import store
from hansa.server.blobs.digests import Digests
from hansa.server.coming_over.rows import Model, ModelKind
from hansa.server.coming_over.source import Column, Source
from hansa.server.registry import preprocessing
from hansa.server.registry.ingest import Ingested, ingest
from hansa.server.trainings import moments
from hansa.server.trainings.older_uploads import rewrite_moments


class UnusableFileError(ValueError):
    """It cannot be read as a model; the message says why."""


@dataclass(frozen=True, slots=True)
class Files:
    """What became of a model's bytes: blobs, which are in the store if they were to be kept."""

    model: Ingested | None
    """None for a mean."""
    preprocessing: Digests | None = None
    moments: Digests | None = None
    remarks: tuple[str, ...] = ()


def receive(source: Source, row: Model, *, keep: bool) -> Files:
    """Read a model's file, its preprocessing and its moments; keep them, or delete them again.

    Raises UnusableFileError for the model's own file. The other two are left out with a remark if they cannot be read.
    """
    model = None if row.kind is ModelKind.MEAN else _model(source, row, keep=keep)
    remarks = []
    pipeline = statistics = None
    try:
        pipeline = _preprocessing(source, row, keep=keep) if row.preprocessing else None
    except ModelFileError as error:
        remarks.append(f"its preprocessing cannot be read, and is left out: {error}")
    try:
        statistics = _moments(source, row, model, keep=keep) if model and row.first_moment else None
    except ModelFileError as error:
        remarks.append(f"its SWAG moments cannot be read, and are left out: {error}")
    return Files(model, pipeline, statistics, tuple(remarks))


def _model(source: Source, row: Model, *, keep: bool) -> Ingested:
    with _copied(source, Column.WEIGHTS, row.id, row.weights) as path:
        try:
            ingested = ingest(path, buffers=None)
        except ModelFileError as error:
            raise UnusableFileError(f"its weights cannot be read: {error}") from error
        _keep(ingested.file, ingested.digests, keep=keep)
        if ingested.archive:
            _keep(path, ingested.archive, keep=keep)
    return ingested


def _preprocessing(source: Source, row: Model, *, keep: bool) -> Digests:
    with _copied(source, Column.PREPROCESSING, row.id, row.preprocessing) as path:
        digests = preprocessing.examine(path)
        _keep(path, digests, keep=keep)
    return digests


def _moments(source: Source, row: Model, model: Ingested, *, keep: bool) -> Digests:
    with (
        _copied(source, Column.FIRST_MOMENT, row.id, row.first_moment) as first,
        _copied(source, Column.SECOND_MOMENT, row.id, row.second_moment) as second,
    ):
        wanted = moments_spec(num_elements(model.spec, param_order(model.spec, model.ties, model.param_order)))
        with store.BlobFile() as blob:
            rewrite_moments((first, second), wanted, blob)
            digests = blob.finish()
            moments.check(blob.path, digests.size, wanted)
        _keep(blob.path, digests, keep=keep)
    return digests


def _keep(path: Path, digests: Digests, *, keep: bool) -> None:
    if keep:
        store.place(path, digests.sha256)
        crash_point("coming_over.placed")
    else:
        path.unlink()


@contextmanager
def _copied(source: Source, column: Column, model_id: UUID, size: int | None) -> Iterator[Path]:
    """The bytes in a file that is deleted afterwards, unless it was moved away."""
    path = store.new_file()
    try:
        with path.open("xb") as file:
            source.copy(column, model_id, size or 0, file)
        yield path
    finally:
        path.unlink(missing_ok=True)

"""Results in the form in which older clients send them: one multipart body, with torch's files in it.

The form lies on the disk before it is looked at. What it holds is read inertly and written anew as the canonical file
of the model, in bounded memory; only that is checked, stored and referred to. What was sent is deleted with the
request, and only its SHA-256 remembered.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from django.utils import timezone

from hansa.core.params import ParamSpec
from hansa.crashpoints import crash_point
from hansa.formats import chunks, modelfile, safetensors
from hansa.formats.errors import ModelFileError, SpecMismatchError
from hansa.protocol.tasks import TaskKind
from hansa.server.accounts import presence
from hansa.server.accounts.models import User
from hansa.server.blobs import store
from hansa.server.blobs.digests import Digests
from hansa.server.blobs.services import keep
from hansa.server.lifecycle.bridge import call, compute, read, work
from hansa.server.lifecycle.errors import ServiceError
from hansa.server.trainings import approval, assignments, rejections
from hansa.server.trainings.models import Task
from hansa.server.trainings.older_forms import Result
from hansa.server.trainings.older_places import Place
from hansa.server.trainings.services import older

PIECE = 2**20

Rewrite = Callable[[ParamSpec, store.BlobFile], None]
"""Writes what was sent as the canonical file of a spec. Raises ModelFileError."""


async def take(place: Place, user: User, kind: TaskKind, result: Result, rewrite: Rewrite) -> None:
    """Check and store a result, and report its task. What was accepted before is not looked at again.

    Raises ConflictError as `older.awaited`, ServiceError with the reason for a file that is refused.
    """
    presence.saw(user.id, timezone.now())
    digest = await compute(_sha256, result.files)
    sent = older.Sent(kind, result.round, digest, result.num_examples, result.metrics)
    task = await read(older.awaited, place=place, sent=sent)
    try:
        while task is not None:  # again only where a new attempt at the round began meanwhile
            target = await read(assignments.upload_target, user, task.id)
            async with rejections.noted(target.task_id, user.id):
                task = await _checked_and_accepted(place, sent, target, rewrite)
    except ModelFileError as error:
        raise ServiceError(str(error), error.code) from error


async def _checked_and_accepted(
    place: Place, sent: older.Sent, target: assignments.UploadTarget, rewrite: Rewrite
) -> Task | None:
    """Returns and raises as `older.accept`; raises ModelFileError."""
    with await work(store.BlobFile) as blob:  # gone again, unless it comes to be placed in the store
        digests, norm = await compute(_canonical, blob, rewrite, target)
        crash_point("older.rewritten")
        checked = partial(older.accept, checked_for=target.task_id, digests=digests, norm=norm)
        accept = partial(call, checked, place=place, sent=sent, now=timezone.now())
        return await keep(blob.path, digests.sha256, accept)


def _canonical(blob: store.BlobFile, rewrite: Rewrite, target: assignments.UploadTarget) -> tuple[Digests, float]:
    """The result as a file of ours, checked as every upload is; and its norm."""
    rewrite(target.spec, blob)
    digests = blob.finish()
    return digests, approval.check(blob.path, digests.size, target).norm


def _sha256(paths: Iterable[Path]) -> str:
    """Of the bytes of these files, one after the other: how a client's result is known again."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while piece := file.read(PIECE):
                digest.update(piece)
    return digest.hexdigest()


def rewrite_model(sent: Sequence[Path], spec: ParamSpec, blob: store.BlobFile) -> None:
    """The arrays of a model file of any flavour, if they are those of the model."""
    (path,) = sent
    header, _ = safetensors.canonical(spec)
    buffer = bytearray(chunks.MAX_BYTES)
    with modelfile.open_model(path) as file:
        modelfile.check_fits(file, spec)
        blob.write(header)
        for chunk in chunks.chunks(spec):
            file.read_chunk(chunk, buffer)
            blob.write(memoryview(buffer)[: sum(segment.nbytes for segment in chunk)])


def rewrite_moments(sent: Sequence[Path], spec: ParamSpec, blob: store.BlobFile) -> None:
    """Two saved tensors of one dimension, if they are as long as the vectors that are wanted."""
    header, _ = safetensors.canonical(spec)
    blob.write(header)
    for path, wanted in zip(sent, spec.in_data_order, strict=True):
        tensor = modelfile.read_tensor(path)
        if tensor.shape != wanted.shape or np.dtype(tensor.dtype).kind != "f":
            raise SpecMismatchError(
                f"{wanted.name!r} has shape {tensor.shape} and dtype {tensor.dtype}; wanted are floats in shape "
                f"{wanted.shape}: all params of the model, flattened and joined in the order of its parameters()."
            )
        for start in range(0, tensor.size, PIECE):
            elements = tensor.read(start, min(start + PIECE, tensor.size))
            blob.write(elements.astype(np.dtype(wanted.dtype).newbyteorder("<")).tobytes())

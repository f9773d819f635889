"""Files of models as open descriptors, each compared with its checksums before it is given away."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from threading import Lock
from typing import Final

from hansa.server.blobs import store
from hansa.server.blobs.inspection import Known, require_whole
from hansa.server.blobs.serving import BlobDamagedError
from hansa.server.blobs.store import TornBlobError
from hansa.server.blobs.suspicion import SUSPICION
from hansa.server.inference.programs import Asked
from hansa.server.lifecycle.bridge import work

REMEMBERED: Final = 1024
"""Files of which is remembered that they were whole. As long as a file is as it was then (inode, size, times), it is
not read again: a question to a model of a gigabyte would wait for that every time."""

_whole: dict[str, tuple[int, int, int, int]] = {}
_remembering = Lock()


def files_of(model: Asked) -> list[Known]:
    """All files that answer for a model, each once."""
    named = [known for program in model.programs for known in (program.archive, program.params)]
    named += [model.preprocessing, model.moments.file if model.moments is not None else None]
    return list({known.digest: known for known in named if known is not None}.values())


@asynccontextmanager
async def at_hand(model: Asked) -> AsyncIterator[dict[str, int]]:
    """A model's files for as long as this lasts, by digest; closed as well if their caller goes while they are opened.

    Raises BlobDamagedError.
    """
    opening = asyncio.create_task(work(opened, files_of(model)))
    try:
        stack, descriptors = await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close)
        raise
    with stack:
        yield descriptors


def _close(opening: "asyncio.Task[tuple[ExitStack, dict[str, int]]]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[0].close()


def opened(files: Sequence[Known]) -> tuple[ExitStack, dict[str, int]]:
    """Read-only descriptors by digest, and what closes them. Raises BlobDamagedError for a file that is not whole."""
    with ExitStack() as stack:
        descriptors = {known.digest: _opened(known, stack) for known in files}
        return stack.pop_all(), descriptors


def _opened(known: Known, stack: ExitStack) -> int:
    path = store.path_of(known.digest)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        SUSPICION.raised(known.digest)
        raise BlobDamagedError(known.digest) from error
    stack.callback(os.close, descriptor)
    status = os.fstat(descriptor)
    seen = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if _whole.get(known.digest) != seen:
        try:
            require_whole(known)
        except TornBlobError as error:
            raise BlobDamagedError(known.digest) from error
        with _remembering:  # several threads open files
            while len(_whole) >= REMEMBERED:
                _whole.pop(next(iter(_whole)))
            _whole[known.digest] = seen
    return descriptor

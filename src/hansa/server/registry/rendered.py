"""Archives as they are downloaded: the one a model was created from, with the numbers of a version in it.

Rendering costs a pass over both files, so what was rendered lies in `rendered/` of the data folder until room is
needed. The folder may be emptied at any time, also while files of it are being sent. A file appears in it by a rename,
complete and on the disk; the same archive and version always give the same bytes.
"""

import asyncio
import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path

from hansa.crashpoints import crash_point
from hansa.formats import modelfile
from hansa.server.blobs import store
from hansa.server.blobs.inspection import Known, require_whole
from hansa.server.lifecycle.bridge import compute, work
from hansa.server.lifecycle.errors import is_disk_full

LIMIT = 2 * 2**30
"""Bytes of the folder. What was used last stays even if it alone is larger."""
FORM = "1"
"""Part of every ETag: another one as soon as the same files render to other bytes."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """An archive with the numbers of a version."""

    archive: Known
    version: Known

    @property
    def path(self) -> Path:
        """Where it lies while it is kept."""
        return _folder() / f"{self.archive.digest}-{self.version.digest}"

    @property
    def etag(self) -> str:
        """Of its bytes, which follow from both digests."""
        return f'"{hashlib.sha256(f"{FORM} {self.archive.digest} {self.version.digest}".encode()).hexdigest()}"'

    def open(self) -> FileIO:
        """The file, from its beginning; made again if it was deleted meanwhile."""
        try:
            return FileIO(self.path)
        except FileNotFoundError:
            return _render(self)


_under_way: dict[Rendering, "asyncio.Task[int]"] = {}


async def size_of(rendering: Rendering) -> int:
    """Its size in bytes; rendered first if it does not lie there. However many ask at once, it is rendered once.

    Raises ModelFileError if the archive cannot take the numbers, TornBlobError if either is damaged, OSError if the
    disk is full.
    """
    if (size := await work(_touch, rendering)) is not None:
        return size
    task = _under_way.get(rendering)
    if task is None:
        task = _under_way[rendering] = asyncio.create_task(compute(_render_size, rendering))
        task.add_done_callback(partial(_forget, rendering))
    # Shielded: others may wait for it, and who asks again will want it.
    return await asyncio.shield(task)


def _forget(rendering: Rendering, task: "asyncio.Task[int]") -> None:
    _under_way.pop(rendering, None)
    if not task.cancelled():
        task.exception()  # heard, should everybody who waited for it have gone


def drop(archive: str) -> None:
    """Delete what was rendered from an archive."""
    for path in _folder().glob(f"{archive}-*"):
        path.unlink(missing_ok=True)


def drop_unused(*, before: float) -> int:
    """Delete what nobody has asked for since `before` (seconds since the epoch); the number of files deleted."""
    count = 0
    for path, used, _ in _kept():
        if used < before:
            path.unlink(missing_ok=True)
            count += 1
    return count


def _folder() -> Path:
    return store.home() / "rendered"


def _touch(rendering: Rendering) -> int | None:
    """Note that it was used just now; its size, or None if it is not there."""
    try:
        os.utime(rendering.path)
        return rendering.path.stat().st_size
    except FileNotFoundError:
        return None


def _render_size(rendering: Rendering) -> int:
    if (size := _touch(rendering)) is not None:
        return size  # rendered between its asker's look and this
    with _render(rendering) as file:
        return os.fstat(file.fileno()).st_size


def _render(rendering: Rendering) -> FileIO:
    try:
        return _write(rendering)
    except OSError as error:
        if not is_disk_full(error) or not _make_room(0):
            raise
        return _write(rendering)


def _write(rendering: Rendering) -> FileIO:
    for part in (rendering.archive, rendering.version):
        require_whole(part)  # what is rendered from a damaged file would look like a right one
    path = store.new_file()
    try:
        with path.open("xb") as out:
            modelfile.render(store.path_of(rendering.archive.digest), store.path_of(rendering.version.digest), out)
            out.flush()
            os.fsync(out.fileno())
            crash_point("rendered.written")
            size = os.fstat(out.fileno()).st_size
        _folder().mkdir(exist_ok=True)
        _make_room(LIMIT - size)
        file = FileIO(path)
        path.replace(rendering.path)
    except BaseException:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        raise
    return file


def _make_room(limit: int) -> int:
    """Delete what was not used for longest, until no more than `limit` bytes are left; the number of files deleted."""
    kept = sorted(_kept(), key=lambda each: each[1])
    total, count = sum(size for _, _, size in kept), 0
    for path, _, size in kept:
        if total <= limit:
            break
        path.unlink(missing_ok=True)
        total, count = total - size, count + 1
    return count


def _kept() -> list[tuple[Path, float, int]]:
    """Path, time of the last use and size of every file."""
    found = []
    for path in _folder().glob("*"):
        with suppress(FileNotFoundError):
            status = path.stat()
            found.append((path, status.st_mtime, status.st_size))
    return found

"""Whether a blob's file still is what was stored, and setting aside one that is not.

Three things can be wrong with it: it is gone, it has another size, or a block of it does not match its checksum. In the
last case the SHA-256 has the final word: the checksums are bytes of a disk as well, and may be what was damaged.
"""

import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from hansa.server.blobs import store
from hansa.server.blobs.digests import BLOCK, Digester, Digests
from hansa.server.blobs.models import Blob
from hansa.server.blobs.suspicion import SUSPICION

FOLDER = "damaged"
"""Of the data folder: where damaged files lie until somebody deletes them, each with its reason beside it."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the row of a blob says its file is."""

    digest: str
    size: int
    checksums: bytes

    @classmethod
    def of(cls, blob: Blob) -> "Known":
        """As the row has it."""
        return cls(blob.sha256, blob.size, bytes(blob.checksums))


class Wrong(StrEnum):
    """What is wrong with a blob."""

    MISSING = "missing"
    SIZE = "size"
    BYTES = "bytes"
    CHECKSUMS = "checksums"
    """The file is right, and its row is not: nothing is lost."""


@dataclass(frozen=True, slots=True)
class Damage:
    """What was found of a blob that is not as it was stored."""

    digest: str
    wrong: Wrong
    seen: str
    """In words, to stand after "blob … is damaged"."""
    actual: Digests | None = None
    """CHECKSUMS: what the row should say."""


def missing(known: Known) -> Damage | None:
    """What can be seen without reading the file: that it is gone, or has another size."""
    try:
        size = store.path_of(known.digest).stat().st_size
    except FileNotFoundError:
        return Damage(known.digest, Wrong.MISSING, "its file is not in the store")
    if size != known.size:
        return Damage(known.digest, Wrong.SIZE, f"its file has {size:,} bytes, not {known.size:,}")
    return None


def inspect(known: Known, *, read: Callable[[int], object] = id) -> Damage | None:
    """Read the whole file and compare each block. `read` hears of the bytes of each block, and may end it by raising.

    Raises OSError where they cannot be read for another reason than the disk's: then nothing is known of them.
    """
    if (damage := missing(known)) is not None:
        return damage
    buffer = memoryview(bytearray(min(BLOCK, known.size)))
    try:
        with store.CheckedBlob(known.digest, known.checksums, known.size) as blob:
            for offset in range(0, known.size, BLOCK):
                length = min(BLOCK, known.size - offset)
                blob.read_into(offset, buffer[:length])
                read(length)
    except store.TornBlobError as error:
        return _judged(known, error.seen)
    return None


def inspect_thoroughly(known: Known, *, read: Callable[[int], object] = id) -> Damage | None:
    """As `inspect`, and by the SHA-256 as well: what the checksums let pass is found too."""
    if (damage := missing(known)) is not None:
        return damage
    return _compared(known, "its bytes have another SHA-256", read)


def require_whole(known: Known) -> None:
    """Raise TornBlobError, and have it looked after, unless every block of the file is as it was stored."""
    damage = inspect(known)
    if damage is not None and damage.wrong is not Wrong.CHECKSUMS:
        SUSPICION.raised(known.digest)
        raise store.TornBlobError(known.digest, damage.seen)


def _judged(known: Known, seen: str) -> Damage | None:
    """Of a file with a block that is not as its checksum says."""
    return _compared(known, seen, id)


def _compared(known: Known, seen: str, read: Callable[[int], object]) -> Damage | None:
    digester = Digester()
    try:
        for piece in _pieces(store.path_of(known.digest)):
            digester.update(piece)
            read(len(piece))
    except FileNotFoundError:
        return missing(known)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return Damage(known.digest, Wrong.BYTES, f"the disk does not give its bytes ({error.strerror})")
    actual = digester.digests()
    if actual.sha256 != known.digest:
        return Damage(known.digest, Wrong.BYTES, seen)
    if actual.checksums != known.checksums:
        return Damage(known.digest, Wrong.CHECKSUMS, "its file is right, but its row has other checksums", actual)
    return None


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while piece := file.read(BLOCK):
            yield piece


def set_aside(damage: Damage) -> Path | None:
    """Move a damaged file out of the store, with the reason beside it; None if there is no file. Under its lock.

    Never deleted: a person may want to know what the disk did, or save what is left.
    """
    source = store.path_of(damage.digest)
    folder = store.home() / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    target = folder / f"{damage.digest}-{_unused_number(folder, damage.digest)}"
    target.with_name(f"{target.name}.txt").write_text(f"Blob {damage.digest} is damaged: {damage.seen}.\n")
    try:
        source.replace(target)
    except FileNotFoundError:
        target.with_name(f"{target.name}.txt").unlink()
        return None
    store.fsync_folder(folder)
    store.fsync_folder(source.parent)
    return target


def _unused_number(folder: Path, digest: str) -> int:
    """One more than the highest there is, of a file or of a reason: somebody may have deleted the other."""
    numbers = (path.name.removeprefix(f"{digest}-").removesuffix(".txt") for path in folder.glob(f"{digest}-*"))
    return max((int(number) for number in numbers if number.isdecimal()), default=0) + 1

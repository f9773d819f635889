"""The directory of a zip file as torch writes it, read with bounds.

    local header · name · extra (padding) · data · [data descriptor]     once for each entry
    central directory · [zip64 end record · zip64 locator] · end record

The end record is the last 22 bytes (torch writes no comment), so there is one way to read a file. All entries lie in
one folder, `<root>/`, whatever its name. Sizes, offsets and checksums are the directory's; the local header must agree
where it speaks (it is silent where a data descriptor follows).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from hansa.core.params import name_fault
from hansa.formats.chunks import Source
from hansa.formats.errors import BadModelFileError

MAX_ENTRIES = 100_000
MAX_DIRECTORY = 16 * 2**20

STORED, DEFLATED = 0, 8
SIGNATURE = b"PK\x03\x04"
DESCRIPTOR_SIGNATURE = b"PK\x07\x08"
LOCAL_CRC_AT, CENTRAL_CRC_AT = 14, 16
"""Where the checksum stands in a local header and in an entry of the directory."""

_LOCAL: Final = struct.Struct("<4s5H3L2H")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_END: Final = struct.Struct("<4s4H2LH")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64: Final = struct.Struct("<4sLQL")
_ZIP64 = 1
_ENCRYPTED = 1 | 1 << 6 | 1 << 13
_DESCRIPTOR = 1 << 3
_MIN_DESCRIPTOR = 12
_FULL16, _FULL32 = 2**16 - 1, 2**32 - 1

_ADVICE = "Save the model again with torch.save or torch.jit.save, and send the file as it was written."


@dataclass(frozen=True, slots=True)
class Entry:
    """One file in the archive; offsets are from the beginning of the archive."""

    name: str
    """Without the root folder."""
    method: int
    compressed: int
    size: int
    crc: int
    header_at: int
    start: int
    """Where its bytes begin; they end at `stop`."""
    listed_at: int
    """Where the directory lists it."""
    has_descriptor: bool

    @property
    def stop(self) -> int:
        """The end of its bytes, as they are stored."""
        return self.start + self.compressed


@dataclass(frozen=True, slots=True)
class Directory:
    """The entries of an archive by name."""

    entries: dict[str, Entry]
    size: int
    """Bytes of the whole archive."""

    @property
    def has_checksums(self) -> bool:
        """False if torch was told to compute none (`torch.serialization.set_crc32_options(False)`): all are zero then.

        A single checksum of zero does not count: it is a checksum like others.
        """
        return any(entry.crc for entry in self.entries.values() if entry.size)


def read_directory(source: Source, size: int) -> Directory:
    """The directory of an archive of `size` bytes.

    Raises BadModelFileError for what cannot be read in one way only: names that come twice, entries that overlap or
    leave the file, encrypted ones, archives on several disks.
    """
    count, at, length = _place(source, size)
    if count > MAX_ENTRIES or length > MAX_DIRECTORY:
        raise BadModelFileError(
            f"the archive lists {count:,} entries in {length:,} bytes; the limits are {MAX_ENTRIES:,} and "
            f"{MAX_DIRECTORY:,}. Save a model with fewer, larger arrays."
        )
    listed = list(_listed(_read(source, at, length), count, at, size))
    entries = [_located(source, entry, at) for entry in sorted(listed, key=lambda entry: entry.header_at)]
    _check_apart(entries)
    return Directory(_by_name(entries), size)


def _place(source: Source, size: int) -> tuple[int, int, int]:
    """How many entries the directory has, where it begins and how long it is."""
    if size < _END.size:
        raise BadModelFileError(f"the file has {size} bytes, too few for a zip archive: it is cut off. Send all of it.")
    end_at = size - _END.size
    signature, disk, first, here, count, length, at, comment = _END.unpack(_read(source, end_at, _END.size))
    if signature != b"PK\x05\x06" or comment:
        raise BadModelFileError(
            "the archive does not end with the end of its directory: the file is cut off, or something was added to "
            f"it. {_ADVICE}"
        )
    stop = end_at
    locator_at = end_at - _LOCATOR64.size
    if locator_at >= 0 and (record := _read(source, locator_at, _LOCATOR64.size)).startswith(b"PK\x06\x07"):
        stop, wide = _place64(source, record, locator_at)
        narrow = (disk, first, here, count, length, at)
        limits = (_FULL16, _FULL16, _FULL16, _FULL16, _FULL32, _FULL32)
        if any(seen not in (limit, true) for seen, limit, true in zip(narrow, limits, wide, strict=True)):
            raise BadModelFileError(f"the two end records of the archive disagree. {_ADVICE}")
        disk, first, here, count, length, at = wide
    if disk or first or here != count:
        raise BadModelFileError(f"the archive is one of several disks. {_ADVICE}")
    if at + length != stop or length < count * _CENTRAL.size:
        raise BadModelFileError(
            f"the archive's directory should lie at bytes {at} to {at + length} and list {count} entries, but ends at "
            f"byte {stop}: something was added before it, or it is damaged. {_ADVICE}"
        )
    return count, at, length


def _place64(source: Source, locator: bytes, locator_at: int) -> tuple[int, tuple[int, ...]]:
    """Where the zip64 end record begins, and what it says in the order of the shorter one."""
    _, disk, at, disks = _LOCATOR64.unpack(locator)
    if disk or disks > 1 or at + _END64.size > locator_at:
        raise BadModelFileError(f"the archive's zip64 locator points to byte {at} of disk {disk}. {_ADVICE}")
    signature, rest, _, _, disk, first, here, count, length, begin = _END64.unpack(_read(source, at, _END64.size))
    if signature != b"PK\x06\x06" or at + 12 + rest != locator_at:
        raise BadModelFileError(f"the archive has no zip64 end record at byte {at}, as its locator says. {_ADVICE}")
    return at, (disk, first, here, count, length, begin)


def _listed(directory: bytes, count: int, at: int, size: int) -> Iterator[Entry]:
    """The entries as the directory lists them; where their bytes begin is not known yet."""
    cursor = 0
    for _ in range(count):
        if cursor + _CENTRAL.size > len(directory):
            raise BadModelFileError(f"the archive's directory is shorter than its {count} entries. {_ADVICE}")
        (signature, _, _, flags, method, _, _, crc, compressed, full, named, extra, comment, disk, _, _, header_at) = (
            _CENTRAL.unpack_from(directory, cursor)
        )
        fields_at = cursor + _CENTRAL.size + named
        following = fields_at + extra + comment
        if signature != b"PK\x01\x02" or following > len(directory):
            raise BadModelFileError(f"the archive's directory is damaged at byte {at + cursor}. {_ADVICE}")
        name = _name(directory[cursor + _CENTRAL.size : fields_at])
        if _FULL32 in (compressed, full, header_at):
            wide = _wide(directory[fields_at : fields_at + extra], (full, compressed, header_at), name)
            full, compressed, header_at = wide
        if flags & _ENCRYPTED or disk or method not in (STORED, DEFLATED):
            raise BadModelFileError(
                f"{name!r} in the archive is encrypted, on another disk, or compressed by method {method}; wanted are "
                f"plain entries. {_ADVICE}"
            )
        if (method == STORED and compressed != full) or header_at + _LOCAL.size + named + compressed > at:
            raise BadModelFileError(
                f"{name!r} in the archive should have {compressed} bytes from byte {header_at} on, which do not fit "
                f"into the file of {size} bytes. {_ADVICE}"
            )
        described = bool(flags & _DESCRIPTOR)
        yield Entry(name, method, compressed, full, crc, header_at, 0, at + cursor, described)
        cursor = following
    if cursor != len(directory):
        raise BadModelFileError(f"the archive's directory has {len(directory) - cursor} bytes too many. {_ADVICE}")


def _wide(extra: bytes, values: tuple[int, int, int], name: str) -> Iterator[int]:
    """Size, compressed size and offset, with the full ones replaced by those of the zip64 field."""
    cursor = 0
    while cursor + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, cursor)
        cursor += 4
        if kind == _ZIP64 and length >= 8 * values.count(_FULL32) and cursor + length <= len(extra):
            found = iter(struct.unpack_from(f"<{length // 8}Q", extra, cursor))
            return iter([next(found) if value == _FULL32 else value for value in values])
        cursor += length
    raise BadModelFileError(f"{name!r} in the archive has no zip64 sizes, but says that it has. {_ADVICE}")


def _name(raw: bytes) -> str:
    try:
        name = raw.decode()
    except UnicodeDecodeError as error:
        raise BadModelFileError(f"an entry of the archive has the name {raw[:60]!r}, no UTF-8. {_ADVICE}") from error
    if fault := name_fault(name):
        raise BadModelFileError(f"an entry of the archive is named {name[:80]!r}: {fault}. {_ADVICE}")
    return name


def _located(source: Source, entry: Entry, end: int) -> Entry:
    """The entry with the place of its bytes, which the local header tells."""
    name = entry.name.encode()
    header = _read(source, entry.header_at, _LOCAL.size + len(name))
    signature, _, flags, method, _, _, crc, compressed, full, named, extra = _LOCAL.unpack_from(header)
    described = bool(flags & _DESCRIPTOR)
    agrees = described or (
        crc == entry.crc and compressed in (entry.compressed, _FULL32) and full in (entry.size, _FULL32)
    )
    if (
        signature != SIGNATURE
        or method != entry.method
        or described != entry.has_descriptor
        or flags & _ENCRYPTED
        or named != len(name)
        or header[_LOCAL.size :] != name
        or not agrees
    ):
        raise BadModelFileError(
            f"{entry.name!r} in the archive is described in two ways, by the directory and at its own place. {_ADVICE}"
        )
    start = entry.header_at + _LOCAL.size + named + extra
    if start + entry.compressed + _MIN_DESCRIPTOR * described > end:
        raise BadModelFileError(f"{entry.name!r} in the archive reaches into the archive's directory. {_ADVICE}")
    return Entry(
        entry.name,
        entry.method,
        entry.compressed,
        entry.size,
        entry.crc,
        entry.header_at,
        start,
        entry.listed_at,
        described,
    )


def _check_apart(entries: list[Entry]) -> None:
    for before, after in pairwise(entries):
        if after.header_at < before.stop + _MIN_DESCRIPTOR * before.has_descriptor:
            raise BadModelFileError(f"{after.name!r} in the archive overlaps {before.name!r}. {_ADVICE}")


def _by_name(entries: list[Entry]) -> dict[str, Entry]:
    """Entries by their name in the root folder, which is that of the first one."""
    named: dict[str, Entry] = {}
    root = entries[0].name.partition("/")[0] + "/" if entries else "/"
    for entry in entries:
        if not entry.name.startswith(root):
            raise BadModelFileError(
                f"{entry.name!r} in the archive is not in the folder {root!r} like the first entry; torch keeps all of "
                f"a model in one folder. {_ADVICE}"
            )
        name = entry.name.removeprefix(root)
        if name in named:
            raise BadModelFileError(f"{entry.name!r} comes twice in the archive. {_ADVICE}")
        named[name] = entry
    return named


def _read(source: Source, at: int, count: int) -> bytes:
    buffer = bytearray(count)
    source.read_into(at, memoryview(buffer))
    return bytes(buffer)

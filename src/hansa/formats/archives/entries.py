"""The bytes of small entries: pickles and code, inflated within a limit and compared with their checksum."""

import zlib

from hansa.formats.archives.zipdirectory import DEFLATED, Directory, Entry
from hansa.formats.chunks import Source
from hansa.formats.errors import BadModelFileError

MAX_PICKLE = 16 * 2**20
MAX_CODE = 16 * 2**20
"""Bytes of all code of an archive that its objects refer to, inflated."""


def read_entry(source: Source, directory: Directory, entry: Entry, limit: int) -> bytes:
    """All bytes of an entry, if they are at most `limit`. Raises BadModelFileError."""
    if entry.size > limit or entry.compressed > limit:
        raise BadModelFileError(
            f"{entry.name!r} in the archive has {entry.size:,} bytes; at most {limit:,} are read. Save a model with "
            "fewer, larger arrays."
        )
    content = bytearray(entry.compressed)
    source.read_into(entry.start, memoryview(content))
    if entry.method == DEFLATED:
        content = _inflated(entry, content)
    if directory.has_checksums and zlib.crc32(content) != entry.crc:
        raise damaged(entry)
    return bytes(content)


def damaged(entry: Entry) -> BadModelFileError:
    """An entry whose bytes are not those of its checksum."""
    return BadModelFileError(
        f"{entry.name!r} in the archive is damaged: its checksum is not {entry.crc:#010x}, which was written with it. "
        "Send the file again, or save the model again."
    )


def _inflated(entry: Entry, content: bytearray) -> bytearray:
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = bytearray(stream.decompress(content, entry.size + 1))
    except zlib.error as error:
        raise damaged(entry) from error
    if len(inflated) != entry.size or not stream.eof or stream.unused_data:
        raise BadModelFileError(
            f"{entry.name!r} in the archive does not inflate to the {entry.size:,} bytes that it should have. "
            "Send the file again, or save the model again."
        )
    return inflated

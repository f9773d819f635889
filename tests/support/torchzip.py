"""Zip files as the versions of torch since 1.6 lay them out, and as none of them ever would.

`entries_of` takes a file of the torch at hand apart, `packed` puts entries together again in any layout.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

STORED, DEFLATED = 0, 8


@dataclass(frozen=True)
class Entry:
    """One file in the archive. What is None is told as it is; anything else is told instead."""

    name: str
    content: bytes
    method: int = STORED
    crc: int | None = None
    size: int | None = None
    compressed: int | None = None
    header_at: int | None = None
    local_name: str | None = None
    flags: int = 0
    disk: int = 0

    @property
    def data(self) -> bytes:
        if self.method != DEFLATED:
            return self.content
        deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        return deflate.compress(self.content) + deflate.flush()


@dataclass(frozen=True)
class Layout:
    """How the entries are put together."""

    root: str = "archive"
    descriptors: bool = True
    """Sizes and checksum after the data, as torch's writer does, and not before."""
    signed_descriptors: bool = True
    alignment: int = 64
    zip64_end: bool = False
    zip64_entries: bool = False
    checksums: bool = True
    comment: bytes = b""


def entries_of(content: bytes) -> list[Entry]:
    """What is in an archive, in the order of its directory; the code of scripts stays deflated."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [(info.filename.partition("/")[2], info.compress_type) for info in archive.infolist()]
        return [
            Entry(name, _content(archive, info), method)
            for (name, method), info in zip(names, archive.infolist(), strict=True)
        ]


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    info.CRC = zlib.crc32(b"") if not info.file_size else info.CRC
    return archive.read(info)


def changed(entries: Iterable[Entry], name: str, **changes: object) -> list[Entry]:
    """The same entries, one of them with something else in it."""
    return [replace(entry, **changes) if entry.name == name else entry for entry in entries]


def without(entries: Iterable[Entry], *names: str) -> list[Entry]:
    return [entry for entry in entries if entry.name not in names]


def packed(entries: Iterable[Entry], layout: Layout | None = None) -> bytes:
    layout = layout or Layout()
    out, directory, count = io.BytesIO(), io.BytesIO(), 0
    for entry in entries:
        directory.write(_pack_one(out, entry, layout))
        count += 1
    at, listed = out.tell(), directory.getvalue()
    out.write(listed)
    if layout.zip64_end:
        end64 = out.tell()
        out.write(struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, len(listed), at))
        out.write(struct.pack("<4sLQL", b"PK\x06\x07", 0, end64, 1))
    full = layout.zip64_end
    fields = (0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF) if full else (count, count, len(listed), at)
    out.write(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, *fields, len(layout.comment)) + layout.comment)
    return out.getvalue()


def _pack_one(out: io.BytesIO, entry: Entry, layout: Layout) -> bytes:
    """Write an entry; returns its line in the directory."""
    data, at = entry.data, out.tell()
    crc = zlib.crc32(entry.content) if entry.crc is None else entry.crc
    crc = crc if layout.checksums else 0
    size = len(entry.content) if entry.size is None else entry.size
    compressed = len(data) if entry.compressed is None else entry.compressed
    described = layout.descriptors and bool(data)
    flags = entry.flags | 0x800 | (8 if described else 0)
    name = f"{layout.root}/{entry.name if entry.local_name is None else entry.local_name}".encode()
    extra = struct.pack("<2H2Q", 1, 16, size, compressed) if layout.zip64_entries and not described else b""
    short = (0xFFFFFFFF, 0xFFFFFFFF) if extra else (compressed, size)
    told = (0, 0, 0) if described else (crc, *short)
    padding = -(at + 30 + len(name) + len(extra) + 4) % layout.alignment
    extra += b"FB" + struct.pack("<H", padding) + b"Z" * padding
    out.write(struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, flags, entry.method, 0, 0, *told, len(name), len(extra)))
    out.write(name + extra + data)
    if described:
        width = "2Q" if layout.zip64_entries else "2L"
        out.write(b"PK\x07\x08" * layout.signed_descriptors + struct.pack(f"<L{width}", crc, compressed, size))
    listed_name = f"{layout.root}/{entry.name}".encode()
    header_at = at if entry.header_at is None else entry.header_at
    wide = struct.pack("<2H3Q", 1, 24, size, compressed, header_at) if layout.zip64_entries else b""
    fields = (0xFFFFFFFF, 0xFFFFFFFF) if wide else (compressed, size)
    return (
        struct.pack(
            "<4s6H3L5H2L",
            *(b"PK\x01\x02", 20, 20, flags, entry.method, 0, 0, crc, *fields),
            *(len(listed_name), len(wide), 0, entry.disk, 0, 0, 0xFFFFFFFF if wide else header_at),
        )
        + listed_name
        + wide
    )


NEW = ("byteorder", ".data/serialization_id", ".format_version", ".storage_alignment")
"""What torch 1.6 did not write yet."""

ERAS = {
    "torch 1.6": (Layout(), NEW, b"3\n"),
    "torch 1.6, version 2": (Layout(root="model"), NEW, b"2\n"),
    "torch 2.1": (Layout(), NEW[1:], b"3\n"),
    "torch 2.2": (Layout(), NEW[2:], b"3\n"),
    "torch 2.7": (Layout(), (), b"3\n"),
    "format 10": (Layout(), (), b"10\n"),
    "aligned to pages": (Layout(alignment=4096), (), b"3\n"),
    "not aligned": (Layout(alignment=1), (), b"3\n"),
    "zip64 end": (Layout(zip64_end=True), (), b"3\n"),
    "zip64 everywhere": (Layout(zip64_end=True, zip64_entries=True), (), b"3\n"),
    "zip64, no descriptors": (Layout(zip64_end=True, zip64_entries=True, descriptors=False), (), b"3\n"),
    "no descriptors": (Layout(descriptors=False), (), b"3\n"),
    "unsigned descriptors": (Layout(signed_descriptors=False), (), b"3\n"),
    "no checksums": (Layout(checksums=False), (), b"3\n"),
    "another folder": (Layout(root="some model of 2024"), (), b"3\n"),
}
"""Layout, what is missing, and the text of `version`."""


def of_era(content: bytes, era: str) -> bytes:
    """A file of the torch at hand as that era would have laid it out."""
    layout, missing, version = ERAS[era]
    return packed(changed(without(entries_of(content), *missing), "version", content=version), layout)

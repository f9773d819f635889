"""The same archive with other numbers: for clients that want the model in the format in which it was made.

Everything is copied from the template but the bytes of the state's arrays and the checksums of their storages: the
same entries, names, code and padding, so that what loaded the template loads this. Nothing is held in memory but one
window of a storage.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import BinaryIO, Final

import numpy as np

from hansa.formats.archives.storages import Stored
from hansa.formats.archives.strided import Shape, Strided, boxes, c_strides, gather
from hansa.formats.archives.torchfile import TorchFile
from hansa.formats.archives.zipdirectory import CENTRAL_CRC_AT, DESCRIPTOR_SIGNATURE, LOCAL_CRC_AT, Entry
from hansa.formats.chunks import FileSource, Source
from hansa.formats.errors import BadModelFileError
from hansa.formats.flavour import Flavour
from hansa.formats.layout import Layout, check_fits

WINDOW: Final = 4 * 2**20
"""Bytes of a storage that are made at once; a multiple of every itemsize, so that no element is cut."""
_CRC_BYTES = 4


def check_renderable(file: TorchFile) -> None:
    """Raise BadModelFileError for an archive into which a version cannot be written."""
    if file.flavour is Flavour.TENSOR:
        raise BadModelFileError("the file holds a single tensor; wanted is a model.")
    if file.overlap is not None:
        one, other = file.overlap
        which = f"elements of {one!r}" if one == other else f"the arrays {one!r} and {other!r}"
        raise BadModelFileError(
            f"{which} share some of their bytes, so other numbers cannot be written into the file. Give each param "
            "memory of its own before saving, as by `p.data = p.data.clone()`."
        )


def render_archive(file: TorchFile, version: FileSource, layout: Layout, out: BinaryIO) -> None:
    """Write the archive with the numbers of a canonical version. Of tied names the first one's numbers are taken.

    Raises SpecMismatchError if the version is not of this model, BadModelFileError as `check_renderable` does.
    """
    check_renderable(file)
    check_fits(layout, file.spec())
    target = _Target(file.source, out)
    crcs: dict[str, int] = {}
    for storage in _storages(file):
        entry = storage.entry
        if not entry.has_descriptor:  # the checksum stands before the numbers: they are made twice
            for piece in _pieces(file.source, storage, version, layout):
                crcs[entry.name] = zlib.crc32(piece, crcs.get(entry.name, 0))
            target.replace(entry.header_at + LOCAL_CRC_AT, _crc(file, crcs[entry.name]))
        target.copy_until(entry.start)
        crc = 0
        for piece in _pieces(file.source, storage, version, layout):
            target.write(piece)
            crc = zlib.crc32(piece, crc)
        crcs[entry.name] = crc
        if entry.has_descriptor:
            target.replace(_descriptor_crc_at(file, entry), _crc(file, crc))
    for entry in sorted(file.directory.entries.values(), key=lambda entry: entry.listed_at):
        if entry.name in crcs:
            target.replace(entry.listed_at + CENTRAL_CRC_AT, _crc(file, crcs[entry.name]))
    target.copy_until(file.directory.size)


@dataclass(frozen=True, slots=True)
class _Painted:
    """One array as it is written into its storage: its axes in the order in which its elements lie there."""

    name: str
    at: int
    """Byte of the file where it begins, and `stop` where it ends."""
    stop: int
    dtype: "np.dtype[np.generic]"
    shape: Shape
    strides: Shape
    """In the storage."""
    axes: Shape
    """Of the array, as they come here."""

    def before(self, byte: int) -> int:
        """How many elements begin before that byte of the file."""
        rest, count, inner = byte - self.at, 0, 1
        if rest <= 0:
            return 0
        sizes = []
        for length in reversed(self.shape):
            sizes.append(inner)
            inner *= length
        for length, stride, size in zip(self.shape, self.strides, reversed(sizes), strict=True):
            if rest // stride >= length:
                return count + length * size
            count, rest = count + rest // stride * size, rest % stride
        return count + (rest > 0)


@dataclass(frozen=True, slots=True)
class _Storage:
    entry: Entry
    arrays: tuple[_Painted, ...]
    """In the order in which they lie."""


def _storages(file: TorchFile) -> list[_Storage]:
    """What must be written, in the order of the file."""
    first = {array.tensor.place: (name, array) for name, array in sorted(file.stored.items(), reverse=True)}
    painted = sorted(
        ((array.entry.start, _painted(name, array)) for name, array in first.values() if array.tensor.size),
        key=lambda item: (item[0], item[1].at),
    )
    entries = {array.entry.start: array.entry for array in file.stored.values() if array.entry.size}
    return [
        _Storage(entries[start], tuple(array for _, array in group))
        for start, group in groupby(painted, key=lambda item: item[0])
    ]


def _painted(name: str, array: Stored) -> _Painted:
    lies = array.lies
    axes = sorted((axis for axis, length in enumerate(lies.shape) if length > 1), key=lambda axis: -lies.strides[axis])
    return _Painted(
        name,
        lies.begin,
        lies.begin + lies.extent,
        lies.dtype,
        tuple(lies.shape[axis] for axis in axes) or (1,),
        tuple(lies.strides[axis] for axis in axes) or (lies.dtype.itemsize,),
        tuple(axes),
    )


def _pieces(template: Source, storage: _Storage, version: Source, layout: Layout) -> Iterator[memoryview]:
    """The bytes of a storage with the version's numbers in them, window by window; each is valid until the next."""
    entry, arrays = storage.entry, list(reversed(storage.arrays))
    buffer = memoryview(bytearray(min(WINDOW, entry.size)))
    for start in range(entry.start, entry.stop, WINDOW):
        window = buffer[: min(WINDOW, entry.stop - start)]
        stop = start + len(window)
        if not _covers(arrays[-1] if arrays else None, start, stop):
            template.read_into(start, window)
        while arrays and arrays[-1].at < stop:
            _paint(window, start, arrays[-1], version, layout)
            if arrays[-1].stop > stop:
                break
            arrays.pop()
        yield window


def _covers(array: _Painted | None, start: int, stop: int) -> bool:
    """Whether all bytes of the window are the array's."""
    if array is None or array.at > start or array.stop < stop:
        return False
    return array.strides == c_strides(array.shape, array.dtype.itemsize)


def _paint(window: memoryview, start: int, array: _Painted, version: Source, layout: Layout) -> None:
    """Write those elements of one array that lie in the window, which begins at byte `start` of the file."""
    placed = layout.placed(array.name)
    dtype = np.dtype(placed.dtype).newbyteorder("<")
    own = c_strides(placed.shape, dtype.itemsize)
    strides = tuple(own[axis] for axis in array.axes) or (dtype.itemsize,)
    first, last = array.before(start), array.before(start + len(window))
    numbers = np.empty(last - first, dtype)
    gather(version, Strided(dtype, placed.start, array.shape, strides), first, last, numbers)
    done = 0
    for corner, lengths in boxes(array.shape, first, last):
        offset = array.at - start + sum(index * stride for index, stride in zip(corner, array.strides, strict=True))
        box = np.ndarray(lengths, array.dtype, window, offset, array.strides)
        box[...] = numbers[done : done + box.size].reshape(lengths)
        done += box.size


class _Target:
    """Writes a file from front to back, partly as it is, partly replaced."""

    def __init__(self, source: Source, out: BinaryIO) -> None:
        self._source = source
        self._out = out
        self._at = 0
        self._buffer = memoryview(bytearray(2**18))

    def copy_until(self, stop: int) -> None:
        while self._at < stop:
            piece = self._buffer[: min(len(self._buffer), stop - self._at)]
            self._source.read_into(self._at, piece)
            self.write(piece)

    def replace(self, at: int, content: bytes) -> None:
        self.copy_until(at)
        self.write(memoryview(content))

    def write(self, piece: memoryview) -> None:
        self._out.write(piece)
        self._at += len(piece)


def _crc(file: TorchFile, crc: int) -> bytes:
    """Zero where the template has no checksums."""
    return (crc if file.directory.has_checksums else 0).to_bytes(_CRC_BYTES, "little")


def _descriptor_crc_at(file: TorchFile, entry: Entry) -> int:
    """Where the checksum stands behind the numbers: the descriptor's signature is optional."""
    begin = bytearray(len(DESCRIPTOR_SIGNATURE))
    file.source.read_into(entry.stop, memoryview(begin))
    return entry.stop + (len(begin) if begin == DESCRIPTOR_SIGNATURE else 0)

"""Where a tensor's numbers lie in the archive: from storage and offsets to bytes of the file."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from hansa.formats.archives.strided import Strided
from hansa.formats.archives.tensors import Tensor
from hansa.formats.archives.zipdirectory import STORED, Directory, Entry
from hansa.formats.errors import BadModelFileError


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor in an archive."""

    tensor: Tensor
    entry: Entry
    """The storage."""
    lies: Strided
    """In the file."""


def stored(tensor: Tensor, directory: Directory, byteorder: Literal["<", ">"], name: str) -> Stored:
    """Where a tensor lies. Raises BadModelFileError if its storage is missing, compressed, or of another size."""
    entry = directory.entries.get(f"data/{tensor.storage}")
    if entry is None:
        raise BadModelFileError(
            f"the numbers of {name!r} should be in {f'data/{tensor.storage[:60]}'!r}, which the archive lacks. "
            "Save the model again."
        )
    if entry.method != STORED:
        raise BadModelFileError(
            f"{entry.name!r} in the archive is compressed; torch stores numbers as they are. Send the file as torch "
            "wrote it, not packed again."
        )
    if entry.size != tensor.storage_bytes:
        raise BadModelFileError(
            f"{entry.name!r} in the archive has {entry.size} bytes; the storage of {name!r} should have "
            f"{tensor.storage_bytes}. Save the model again."
        )
    dtype = np.dtype(tensor.dtype).newbyteorder(byteorder)
    strides = tuple(stride * dtype.itemsize for stride in tensor.strides)
    lies = Strided(dtype, entry.start + tensor.offset * dtype.itemsize, tensor.shape, strides)
    return Stored(tensor, entry, lies)


def ties(arrays: Iterable[tuple[str, Stored]]) -> tuple[tuple[str, ...], ...]:
    """Groups of names that are one array; arrays without elements are not tied."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for name, array in arrays:
        if array.tensor.size:
            groups.setdefault(array.tensor.place, []).append(name)
    return tuple(sorted(tuple(sorted(names)) for names in groups.values() if len(names) > 1))


def overlap(arrays: Iterable[tuple[str, Stored]]) -> tuple[str, str] | None:
    """Two names whose arrays share bytes without being one array, or one name twice whose elements share some.

    On the safe side: arrays that lie within each other without touching (columns of one matrix) count as overlapping.
    """
    distinct = {array.tensor.place: (name, array.lies) for name, array in arrays if array.tensor.size}
    ordered = sorted(distinct.values(), key=lambda named: named[1].begin)
    for name, lies in ordered:
        if not _is_apart(lies):
            return name, name
    for (before, left), (after, right) in pairwise(ordered):
        if right.begin < left.begin + left.extent:
            return before, after
    return None


def _is_apart(lies: Strided) -> bool:
    """Whether no two elements share bytes: each stride leaps over all that the smaller ones reach."""
    reach = lies.dtype.itemsize
    for stride, length in sorted(zip(lies.strides, lies.shape, strict=True)):
        if length > 1:
            if stride < reach:
                return False
            reach += (length - 1) * stride
    return True

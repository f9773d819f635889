"""The native model file: https://github.com/huggingface/safetensors#format.

Eight bytes (the length of the header, little-endian), a JSON header that places every array, the arrays' bytes. Any
valid file can be read; Hansa itself writes one canonical form, so that equal models are equal bytes: the header is
compact JSON with sorted names, and the data begins at a multiple of 64 and lies in the order of
`ParamSpec.in_data_order`, by which every array is aligned.
"""

import json
import mmap
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from hansa.core.params import Array, Kind, Params, ParamSpec, spec_of
from hansa.formats.errors import BadModelFileError
from hansa.formats.header import DTYPES, ITEMSIZES, LENGTH_BYTES, METADATA, UPDATE_DTYPES, parse_header
from hansa.formats.layout import BUFFERS_KEY, Described, Layout, Placed, check_fits

__all__ = ["Layout", "Placed", "canonical", "check_fits", "mapped", "read", "read_layout", "write"]

MAX_HEADER = 16 * 2**20
ALIGNMENT = 64

_NAMES = {numpy_name: name for name, numpy_name in UPDATE_DTYPES.items()}


class Readable(Protocol):
    """What is asked of a file whose header is read."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, as many as asked for unless the file ends before."""


def read_layout(file: Readable, size: int, dtypes: Mapping[str, str] = DTYPES) -> Layout:
    """Read the header of a file of `size` bytes, from its beginning, and nothing after the header.

    The file may hold arrays of these `dtypes`: those of models, or those of updates. Nothing is allocated before the
    header's length was compared with the limit and with the size of the file. Raises BadModelFileError for whatever is
    not a model file that can be read to its last byte.
    """
    if size < LENGTH_BYTES:
        raise BadModelFileError(
            f"the file has {size} bytes; a safetensors file has more than {LENGTH_BYTES}. Send a model."
        )
    length = int.from_bytes(_exactly(file, LENGTH_BYTES), "little")
    if length > MAX_HEADER:
        raise BadModelFileError(
            f"the first eight bytes say that the header has {length} bytes; the limit is {MAX_HEADER}. "
            "If the file is not safetensors, convert it."
        )
    if length > size - LENGTH_BYTES:
        raise BadModelFileError(
            f"the header should have {length} bytes, but only {size - LENGTH_BYTES} follow: the file is cut off, "
            "or not safetensors. Send the whole file."
        )
    return parse_header(_exactly(file, length), size, dtypes)


def canonical(spec: ParamSpec) -> tuple[bytes, Layout]:
    """What stands before the data in the canonical file of a model, and where its arrays go.

    Raises BadModelFileError for a model whose file could not be read again: an array named `__metadata__`, too many
    arrays or buffers.
    """
    buffers = [array.name for array in spec if array.kind is Kind.BUFFER]
    header, layout = placed_in_order(spec.in_data_order, {BUFFERS_KEY: _compact(buffers)} if buffers else {})
    if buffers:
        layout.spec()
    return header, layout


def placed_in_order(arrays: Iterable[Described], metadata: Mapping[str, str]) -> tuple[bytes, Layout]:
    """What stands before the data in a file of arrays that lie in this order, and where they go. Raises as
    `canonical`.
    """
    entries, end = dict[str, object](), 0
    for array in arrays:
        if array.name == METADATA:
            raise BadModelFileError(f"an array is named {METADATA!r}, which safetensors keeps for itself. Rename it.")
        begin, end = end, end + prod(array.shape) * ITEMSIZES[array.dtype]
        place = {"dtype": _NAMES[array.dtype], "shape": list(array.shape), "data_offsets": [begin, end]}
        entries[array.name] = place
    header = ({METADATA: dict(metadata)} if metadata else {}) | dict(sorted(entries.items()))
    text = _compact(header).encode()
    text += b" " * (-(LENGTH_BYTES + len(text)) % ALIGNMENT)
    if len(text) > MAX_HEADER:
        raise BadModelFileError(
            f"the header would have {len(text)} bytes; the limit is {MAX_HEADER}. Use fewer arrays."
        )
    layout = parse_header(text, LENGTH_BYTES + len(text) + end, UPDATE_DTYPES)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text, layout


def write(file: BinaryIO, params: Params, buffers: frozenset[str] = frozenset()) -> Layout:
    """Write arrays as a canonical file. Raises ValueError for what a model cannot hold (see `spec_of`)."""
    spec = spec_of(params, buffers=buffers)
    header, layout = canonical(spec)
    file.write(header)
    for array in spec.in_data_order:
        little_endian = np.dtype(array.dtype).newbyteorder("<")
        file.write(np.ascontiguousarray(params[array.name], little_endian).reshape(-1).view(np.uint8).data)
    return layout


def read(path: Path) -> dict[str, Array]:
    """The arrays of a file, sorted by name, in memory of their own. Raises BadModelFileError."""
    with path.open("rb") as file:
        layout = read_layout(file, path.stat().st_size)
        arrays = {array.name: np.empty(array.shape, _dtype(array)) for array in layout.arrays}
        for placed in sorted(layout.arrays, key=lambda array: array.start):
            file.seek(placed.start)
            if file.readinto(arrays[placed.name].reshape(-1).view(np.uint8).data) < placed.stop - placed.start:
                raise BadModelFileError(f"{path.name} became shorter while it was read. Read it again.")
    return arrays


def mapped(path: Path) -> dict[str, Array]:
    """The arrays of a file, sorted by name, as read-only views of the file itself: no memory until they are looked at.

    The file must not become shorter while they are in use. Raises BadModelFileError.
    """
    with path.open("rb") as file:
        layout = read_layout(file, path.stat().st_size)
        content = mmap.mmap(file.fileno(), layout.size, access=mmap.ACCESS_READ)
    return {
        array.name: np.ndarray(array.shape, _dtype(array), buffer=content, offset=array.start)
        for array in layout.arrays
    }


def _dtype(array: Placed) -> np.dtype[np.generic]:
    return np.dtype(array.dtype).newbyteorder("<")


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _exactly(file: Readable, count: int) -> bytes:
    parts = []
    while count:
        part = file.read(count)
        if not part:
            raise BadModelFileError(f"the file ends {count} bytes before its header does. Send the whole file.")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)

"""Arrays in .npy files, versions 1 to 3 of the format, as `numpy.save` writes them.

numpy's own reader evaluates the header as Python's literals, with a tokenizer and a parser that have many ways to fail,
and makes any dtype that a header can spell. This one knows one sentence.
"""

import re
from math import prod
from typing import Final

import numpy as np

from hansa.core.params import Array
from hansa.server.inference.errors import InputError

MAGIC: Final = b"\x93NUMPY"
MAX_DIMENSIONS: Final = 32
_LENGTHS: Final = {1: 2, 2: 4, 3: 4}
"""Major version of the format → bytes that say how long the header is."""
_MAX_HEADER: Final = 4096
_HEADER: Final = re.compile(
    rb"\{'descr': ?'([<>|=])([biuf])([1248])', ?'fortran_order': ?(True|False), ?"
    rb"'shape': ?\(((?:[0-9]{1,18}, ?)*(?:[0-9]{1,18})?)\),? ?\}[ \n]*"
)


def read(content: bytes) -> Array:
    """The array of a file that lies in memory, in this machine's byte order. Raises InputError.

    The header is compared with what follows before anything is allocated.
    """
    header, start = _header(content)
    found = _HEADER.fullmatch(header)
    if found is None:
        raise _unreadable(
            f"its header is {header[:120]!r}; wanted is that of an array of bool, int, uint or float of native size"
        )
    order, kind, width, by_column, lengths = (part.decode() for part in found.groups())
    shape = tuple(int(length) for length in lengths.split(",") if length.strip())
    if len(shape) > MAX_DIMENSIONS:
        raise _unreadable(f"it has {len(shape)} dimensions; wanted are at most {MAX_DIMENSIONS}")
    dtype = _dtype(order, kind, width)
    size, there = dtype.itemsize * prod(shape), len(content) - start
    if size != there or max(shape, default=0) > len(content):
        raise _unreadable(f"its header says {list(shape)} of {dtype.name}, {size:,} bytes; {there:,} follow")
    flat = np.frombuffer(content, dtype, offset=start)
    return np.ascontiguousarray(flat.reshape(shape, order="F" if by_column == "True" else "C"), dtype.newbyteorder("="))


def _header(content: bytes) -> tuple[bytes, int]:
    """The header's text, and where the numbers begin."""
    width = _LENGTHS.get(content[6]) if len(content) > 8 else None
    if width is None:
        raise _unreadable(f"its version is {list(content[6:8])}; wanted is 1, 2 or 3")
    start = 8 + width
    length = int.from_bytes(content[8:start], "little")
    if length > _MAX_HEADER or start + length > len(content):
        raise _unreadable(
            f"its header is said to have {length:,} bytes, of which {max(0, len(content) - start):,} are there; "
            f"wanted are at most {_MAX_HEADER:,}"
        )
    return content[start : start + length], start + length


def _dtype(order: str, kind: str, width: str) -> "np.dtype[np.generic]":
    try:
        return np.dtype(f"{order}{kind}{width}")
    except TypeError as error:
        raise _unreadable(f"its numbers are of type {kind}{width}, which numpy has not") from error


def _unreadable(what: str) -> InputError:
    return InputError(f"The input begins as .npy, and {what}. Write it with numpy.save, without objects.")

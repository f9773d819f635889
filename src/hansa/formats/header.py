"""The JSON header of a safetensors file, read without trust.

`{"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …, "__metadata__": {"key": "text"}}`, where
offsets count from the end of the header.

The header is walked one member at a time instead of being given to a JSON parser as a whole: what is nested, repeated
or endless is refused where it stands, so that no header makes more of itself in memory than the arrays it may describe.
"""

import json
import re
from collections.abc import Iterator, Mapping
from math import prod
from typing import Final

import numpy as np

from hansa.core.params import MAX_NAME, name_fault
from hansa.formats.errors import BadModelFileError
from hansa.formats.layout import Layout, Placed

MAX_ARRAYS = 100_000
MAX_RANK = 32
MAX_METADATA = 10_000
"""Members of `__metadata__`."""
MAX_ENTRY = 4096
"""Characters of one array's description: 32 dimensions of 19 digits, with room."""

METADATA = "__metadata__"
LENGTH_BYTES = 8

DTYPES: Final = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
}
"""The format's name of a dtype → numpy's."""

UPDATE_DTYPES: Final = {**DTYPES, "BF16": "bfloat16"}
"""The same for updates, which may be sent in fewer bytes than their model has (`encodings`)."""

ITEMSIZES: Final = {"bfloat16": 2, **{name: np.dtype(name).itemsize for name in DTYPES.values()}}

_REFUSED: Final = {
    "BOOL": "truth values have no mean; save them as U8, or leave them out of the model's arrays",
    "BF16": "numpy has no such dtype; save it as F32",
    "C64": "complex numbers are not aggregated; save the real and imaginary parts as two arrays",
    "C128": "complex numbers are not aggregated; save the real and imaginary parts as two arrays",
    "F8_E4M3": "numpy has no such dtype; save it as F16 or F32",
    "F8_E5M2": "numpy has no such dtype; save it as F16 or F32",
    "F8_E8M0": "numpy has no such dtype; save it as F16 or F32",
}

_ADVICE = "Write the file with the safetensors library or hansa.formats.safetensors.write."
_SPACE = re.compile(r"[ \t\n\r]*")
_MAX_BYTES = 2**63 - 1


def parse_header(header: bytes, size: int, dtypes: Mapping[str, str] = DTYPES) -> Layout:
    """The layout of a file of `size` bytes whose header (without the eight bytes of its length) is `header`.

    It may hold arrays of these `dtypes`. Raises BadModelFileError unless the arrays cover the rest of the file exactly:
    no hole, no overlap, no byte more.
    """
    try:
        text = header.decode()
    except UnicodeDecodeError as error:
        raise BadModelFileError(
            f"the header is not UTF-8: {error.reason} at its byte {error.start}. {_ADVICE}"
        ) from error
    origin = LENGTH_BYTES + len(header)
    scanner = _Scanner(text)
    placed: list[Placed] = []
    metadata: dict[str, str] = {}
    for name in scanner.members(MAX_ARRAYS + 1, "the header"):
        if name == METADATA:
            metadata = {key: scanner.string() for key in scanner.members(MAX_METADATA, METADATA)}
        else:
            placed.append(_placed(name, scanner.entry(name), origin, dtypes))
    scanner.end()
    if not placed:
        raise BadModelFileError("the file holds no arrays; a model has at least one. Save the model's state.")
    if len(placed) > MAX_ARRAYS:
        raise BadModelFileError(f"the file holds more than {MAX_ARRAYS} arrays. Merge small arrays into larger ones.")
    _check_coverage(placed, origin, size)
    return Layout(tuple(placed), size, metadata)


class _Scanner:
    """A position in the header's text, and the few things that may stand there."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self._value = json.JSONDecoder()
        self._pairs = json.JSONDecoder(object_pairs_hook=list)

    def members(self, limit: int, what: str) -> Iterator[str]:
        """The names in the object that begins here. Whoever takes one reads its value before taking the next."""
        self._take("{")
        if self._next() == "}":
            return self._take("}")
        names = set()
        while True:
            name = self.string()
            if name in names:
                raise BadModelFileError(f"{name[:MAX_NAME]!r} comes twice in {what}; names are unique. {_ADVICE}")
            names.add(name)
            if len(names) > limit:
                raise BadModelFileError(f"{what} has more than {limit} members, the most that are read. {_ADVICE}")
            self._take(":")
            yield name
            if self._next() != ",":
                return self._take("}")
            self._take(",")

    def string(self) -> str:
        """The string that begins here."""
        if self._next() != '"':
            raise self._unexpected('a string, beginning with "')
        try:
            value, self.at = self._value.raw_decode(self.text, self.at)
        except json.JSONDecodeError as error:
            raise BadModelFileError(
                f"the header is not JSON: {error.msg} at character {error.pos}. {_ADVICE}"
            ) from error
        return str(value)

    def entry(self, name: str) -> list[tuple[str, object]]:
        """The members of the object that begins here; it is short and holds no other object."""
        if self._next() != "{":
            raise self._unexpected("an array's description, beginning with {")
        stop = self.text.find("}", self.at, self.at + MAX_ENTRY) + 1
        if not stop:
            raise BadModelFileError(
                f"the description of {name[:MAX_NAME]!r} does not end within {MAX_ENTRY} characters. {_ADVICE}"
            )
        try:
            pairs: list[tuple[str, object]] = self._pairs.decode(self.text[self.at : stop])
        except (ValueError, RecursionError) as error:
            raise BadModelFileError(
                f"the description of {name[:MAX_NAME]!r} cannot be read: {self.text[self.at : stop][:80]!r}. {_ADVICE}"
            ) from error
        self.at = stop
        return pairs

    def end(self) -> None:
        """Nothing may follow but the padding."""
        if self._next():
            raise self._unexpected("the end of the header")

    def _next(self) -> str:
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.text[self.at : self.at + 1]

    def _take(self, wanted: str) -> None:
        if self._next() != wanted:
            raise self._unexpected(wanted)
        self.at += 1

    def _unexpected(self, wanted: str) -> BadModelFileError:
        seen = repr(self.text[self.at : self.at + 20]) if self.at < len(self.text) else "its end"
        return BadModelFileError(f"the header has {seen} at character {self.at}; wanted there: {wanted}. {_ADVICE}")


def _placed(name: str, entry: list[tuple[str, object]], origin: int, dtypes: Mapping[str, str]) -> Placed:
    if fault := name_fault(name):
        raise BadModelFileError(f"an array is named {name[:80]!r}: {fault}. Rename it in the model.")
    members = dict(entry)
    if len(entry) != 3 or members.keys() != {"dtype", "shape", "data_offsets"}:
        raise BadModelFileError(
            f"the description of {name!r} has the members {[key[:20] for key, _ in entry[:5]]}; "
            f"it has dtype, shape and data_offsets, once each. {_ADVICE}"
        )
    dtype, shape = _dtype(name, members["dtype"], dtypes), _shape(name, members["shape"])
    offsets = _integers(members["data_offsets"])
    if offsets is None or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise BadModelFileError(
            f"{name!r} has data_offsets {_short(members['data_offsets'])}; "
            f"wanted are two integers, the second not less than the first. {_ADVICE}"
        )
    begin, end = offsets
    itemsize = ITEMSIZES[dtype]
    if prod(max(length, 1) for length in shape) * itemsize > _MAX_BYTES:
        raise BadModelFileError(f"{name!r} has shape {list(shape)}, larger than any array can be. {_ADVICE}")
    if end - begin != prod(shape) * itemsize:
        raise BadModelFileError(
            f"{name!r} has {end - begin} bytes at data_offsets [{begin}, {end}]; "
            f"shape {list(shape)} of {dtype} takes {prod(shape) * itemsize}. {_ADVICE}"
        )
    return Placed(name, dtype, shape, origin + begin, origin + end)


def _dtype(name: str, value: object, dtypes: Mapping[str, str]) -> str:
    if isinstance(value, str) and value in dtypes:
        return dtypes[value]
    reason = _REFUSED.get(value) if isinstance(value, str) else None
    raise BadModelFileError(
        f"{name!r} has dtype {_short(value)}; a model may hold {', '.join(DTYPES)}"
        + (f" ({reason})." if reason else f". {_ADVICE}")
    )


def _shape(name: str, value: object) -> tuple[int, ...]:
    shape = _integers(value)
    if shape is None or len(shape) > MAX_RANK:
        raise BadModelFileError(
            f"{name!r} has shape {_short(value)}; wanted are at most {MAX_RANK} integers from 0 on. {_ADVICE}"
        )
    return shape


def _integers(value: object) -> tuple[int, ...] | None:
    """A JSON list of integers in [0, 2^63), or None. `true` is no integer here, nor is 1.0."""
    if isinstance(value, list) and all(type(item) is int and 0 <= item <= _MAX_BYTES for item in value):
        return tuple(value)
    return None


def _check_coverage(placed: list[Placed], origin: int, size: int) -> None:
    cursor, before = origin, "the header"
    for array in sorted(placed, key=lambda array: (array.start, array.stop)):
        if array.start != cursor:
            fault = "overlaps" if array.start < cursor else "leaves a hole after"
            raise BadModelFileError(
                f"{array.name!r} begins at byte {array.start} and {fault} {before}, which ends at byte {cursor}; "
                f"arrays follow each other without holes. {_ADVICE}"
            )
        cursor, before = array.stop, repr(array.name)
    if cursor != size:
        raise BadModelFileError(
            f"the file has {size} bytes, its header describes {cursor}: "
            f"it is {'cut off' if size < cursor else 'too long'}. Send the whole file and nothing after it."
        )


def _short(value: object) -> str:
    """A value from the file, for a message. Lists are cut before they are printed: an integer may have 4,000 digits."""
    if isinstance(value, list):
        return f"[{', '.join(_short(item) for item in value[:8])}{', …' if len(value) > 8 else ''}]"
    if type(value) is int and abs(value) > _MAX_BYTES:
        return "an integer beyond 63 bits"
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:59] + "…"

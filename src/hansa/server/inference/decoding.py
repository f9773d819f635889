"""What callers send as a model's input, as an array: read inertly, nothing unpickled, nothing of it run.

Images are only recognised here. Decoding them is work for the sandbox: their decoders have a history.
"""

import base64
import binascii
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from hansa.core.params import DTYPES, Array
from hansa.formats.archives.tensorfile import read_tensor
from hansa.formats.archives.zipdirectory import SIGNATURE
from hansa.formats.beginnings import beginning
from hansa.formats.errors import BadModelFileError
from hansa.formats.safetensors import read_layout
from hansa.server.inference import numpyfile
from hansa.server.inference.errors import FIELD, InputError
from hansa.server.inference.numpyfile import MAX_DIMENSIONS

TEXT_LIMIT: Final = 4 * 2**20
"""Bytes of numbers that are written as text, wherever they stand: as Python's objects they take ten times as much."""
WANTED: Final = "wanted are nested numbers, a tensor saved by torch.save, safetensors, .npy, or an image"
_PICKLE: Final = b"\x80"
_IMAGES: Final = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"BM")
_DTYPES: Final = frozenset({*DTYPES, "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"})
_NUMERIC: Final = frozenset(b"[-0123456789")


@dataclass(frozen=True, slots=True)
class Image:
    """An image file, as it came."""

    content: bytes


Input = Array | Image


def of_bytes(content: bytes) -> Input:
    """The input in a file, or in text. Raises InputError."""
    found = _recognised(content)
    if found is None and (inner := _from_base64(content)) is not None:
        found = _recognised(inner)
    if found is None:
        raise InputError(f"The input begins with {beginning(content[:16])}, as nothing does that is read; {WANTED}.")
    return found


def of_json(value: bytes) -> Input:
    """The input in a piece of JSON: numbers, or a text as in a form. Raises InputError."""
    if not value.startswith(b'"'):
        return numbers(value)
    try:
        text = msgspec.json.decode(value, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"The input is a text that is no JSON in UTF-8: {error}.") from error
    return of_bytes(text.encode())


def numbers(text: bytes) -> Array:
    """Nested numbers: int64 if all of them are whole and written so, else float32. Raises InputError."""
    if len(text) > TEXT_LIMIT:
        raise InputError(
            f"The input is {len(text):,} bytes of numbers as text, of which at most {TEXT_LIMIT:,} are read. Send them "
            "as safetensors or .npy, in a form: a twentieth of the work, and no limit but that of all inputs."
        )
    try:
        nested = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"The input looks like nested numbers, and is no JSON: {error}.") from error
    except RecursionError as error:
        raise InputError(_too_deep()) from error
    return _array(nested)


def converted(array: Array, dtype: str | None) -> Array:
    """The array in the type that was asked for. Raises InputError for a number that the type does not hold."""
    if dtype is None or array.dtype.name == dtype:
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        made = array.astype(dtype)
    if not np.issubdtype(made.dtype, np.floating) and not np.array_equal(made, array):
        raise InputError(f"Not all numbers of the input are {dtype}: it is {array.dtype.name}. Leave `dtype` out.")
    check_finite(made)
    return made


def check_finite(array: Array) -> None:
    """Raise InputError for an array with NaN or infinity."""
    if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
        place = tuple(int(each) for each in np.argwhere(~np.isfinite(array))[0])
        raise InputError(f"The input has {array[place]} at {list(place)}; wanted are finite numbers. Replace it.")


def check_shape(array: Array, wanted: list[int | None]) -> None:
    """Compare each dimension with the model's `input_shape`, in which null is any. Raises InputError."""
    fits = array.ndim == len(wanted) and all(
        length is None or length == seen for length, seen in zip(wanted, array.shape, strict=True)
    )
    if not fits:
        shown = [length if length is not None else "any" for length in wanted]
        raise InputError(
            f"The input has shape {list(array.shape)}; the model's input_shape is [{', '.join(map(str, shown))}]. "
            "Send that; a batch of one has a first dimension of 1."
        )


def _recognised(content: bytes) -> Input | None:
    if _is_image(content):
        return Image(content)
    if (read := _reader(content)) is None:
        return None
    array = read(content)
    if array.dtype.name not in _DTYPES:
        raise InputError(f"The input is of dtype {array.dtype.name}; wanted is one of {', '.join(sorted(_DTYPES))}.")
    if array.ndim > MAX_DIMENSIONS:
        raise InputError(_too_deep())
    check_finite(array)
    return array


def _reader(content: bytes) -> Callable[[bytes], Array] | None:
    if content.startswith(SIGNATURE):
        return _tensor
    if content[8:9] == b"{":
        return _of_safetensors
    if content.startswith(numpyfile.MAGIC):
        return numpyfile.read
    if content.startswith(_PICKLE):
        raise InputError(f"The input is a pickle, or a file of torch before 1.6, which are never read; {WANTED}.")
    text = content.strip()
    return numbers if text and text[0] in _NUMERIC and (text[0] == ord("[") or _is_number(text)) else None


def _is_image(content: bytes) -> bool:
    return content.startswith(_IMAGES) or (content[:4] == b"RIFF" and content[8:12] == b"WEBP")


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _from_base64(content: bytes) -> bytes | None:
    """What the text stands for, if it is canonical base64: the very text that encoding it again gives."""
    try:
        inner = base64.b64decode(content.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    return inner if inner and base64.b64encode(inner) == content.strip() else None


def _tensor(content: bytes) -> Array:
    """A saved tensor. The reader wants a file; this one lies in memory."""
    descriptor = os.memfd_create(FIELD)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        tensor = read_tensor(Path(f"/proc/self/fd/{descriptor}"))
        return tensor.read().reshape(tensor.shape)
    except BadModelFileError as error:
        raise InputError(f"The input is a zip file, and no saved tensor: {error}") from error
    finally:
        os.close(descriptor)


def _of_safetensors(content: bytes) -> Array:
    try:
        layout = read_layout(io.BytesIO(content), len(content))
    except BadModelFileError as error:
        raise InputError(f"The input looks like safetensors: {error}") from error
    named = {array.name: array for array in layout.arrays}
    placed = named.get(FIELD) or (next(iter(named.values())) if len(named) == 1 else None)
    if placed is None:
        names = ", ".join(repr(name) for name in [*named][:5]) or "none"
        raise InputError(f"The safetensors hold {len(named)} arrays ({names}); wanted is one, or one named {FIELD!r}.")
    return np.ndarray(placed.shape, np.dtype(placed.dtype).newbyteorder("<"), buffer=content, offset=placed.start)


def _array(nested: object) -> Array:
    """A nested list as an array. Raises InputError where it is ragged, or holds anything but numbers."""
    shape, level = [], nested
    while isinstance(level, list):
        shape.append(len(level))
        level = level[0] if level else None
        if len(shape) > MAX_DIMENSIONS:
            raise InputError(_too_deep())
    try:
        array = np.array(nested)
    except (ValueError, OverflowError) as error:
        raise InputError(_ragged(nested, shape)) from error
    if array.dtype.kind == "b":
        return array
    if array.dtype.kind == "i":
        return array.astype(np.int64)
    if array.dtype.kind != "f":
        raise InputError(_ragged(nested, shape))
    with np.errstate(over="ignore"):
        made = array.astype(np.float32)
    check_finite(made)
    return made


def _ragged(nested: object, shape: list[int]) -> str:
    """What is wrong with a list that is no array: the first place that differs."""
    place = _odd_place(nested, shape, [])
    where, seen = place if place is not None else ([], "numbers that are too large")
    return f"The input has {seen} at {where}; wanted are numbers nested evenly, here to shape {shape}."


def _odd_place(level: object, shape: list[int], path: list[int]) -> tuple[list[int], str] | None:
    if not shape:
        is_number = isinstance(level, int | float)
        return None if is_number else (path, "a list" if isinstance(level, list) else f"{type(level).__name__}")
    if not isinstance(level, list):
        return path, f"a {type(level).__name__}" if level is not None else "null"
    if len(level) != shape[0]:
        return path, f"{len(level)} entries"
    for number, each in enumerate(level):
        if (found := _odd_place(each, shape[1:], [*path, number])) is not None:
            return found
    return None


def _too_deep() -> str:
    return f"The input is nested too deeply; wanted are at most {MAX_DIMENSIONS} dimensions."

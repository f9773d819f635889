"""Updates in fewer bytes than their model has: narrower floats, differences to what was trained from, a part of them.

An update is a safetensors file. One that says nothing of a form holds whole params in the model's dtypes. The others
say in their metadata, under `hansa.update`, what they hold and what they were trained from:

    {"content": "difference", "base": "<SHA-256 of the params that the task begins from>"}

and by their header in which dtype, and which params: one that is not there was not trained, and is the base's. Buffers
are always there, as they are; integers are neither narrowed nor subtracted. Whoever reads such a file sees the whole
params: the base plus the difference, added in float64, element by element, so in whatever pieces it is read.

The largest error of a param x, or of its difference u, in its normal range: float32 2^-24, float16 2^-11, bfloat16 2^-8
of itself. Below 2^-14 float16 is off by up to 2^-25; it ends at 65,504.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import BinaryIO, Final, Literal, Protocol

import msgspec
import numpy as np

from hansa.core import bfloat16
from hansa.core.finite import first_not_finite
from hansa.core.params import Array, ArraySpec, Kind, Params, ParamSpec
from hansa.formats.chunks import Chunk, Segment, Source, read_chunk
from hansa.formats.errors import BadModelFileError, NotFiniteError, SpecMismatchError
from hansa.formats.header import ITEMSIZES, UPDATE_DTYPES
from hansa.formats.layout import Layout, shown
from hansa.formats.safetensors import Readable, placed_in_order
from hansa.formats.safetensors import read_layout as read_layout_of

FORM_KEY: Final = "hansa.update"
MAX_FORM = 4096
"""Characters of what a file says of its form."""
PIECE = 2**18
"""Elements that are converted at a time when an update is written."""

Content = Literal["params", "difference"]


class Encoding(Protocol):
    """What updates may be sent as; see `hansa.protocol.encodings`."""

    @property
    def content(self) -> Content:
        """Params, or their difference to the base."""

    @property
    def dtype(self) -> str:
        """Of floats; "as_model" for the model's own."""

    @property
    def params(self) -> Sequence[str] | None:
        """Names, or patterns of them; None: all."""


class Form(msgspec.Struct, frozen=True):
    """What a file says of itself."""

    content: Content
    base: str
    """SHA-256 of the params that it was trained from."""


@dataclass(frozen=True, slots=True)
class Carried:
    """One array of an update, as it is sent."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    subtracted: bool
    """Whether it is a difference to the base."""


def selected(names: Collection[str], patterns: Sequence[str] | None) -> frozenset[str]:
    """The names that one of the patterns stands for.

    >>> sorted(selected(["body.weight", "head.bias", "head.weight"], ["head.*"]))
    ['head.bias', 'head.weight']
    """
    if patterns is None:
        return frozenset(names)
    return frozenset(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))


def carried(spec: ParamSpec, encoding: Encoding) -> tuple[Carried, ...]:
    """The arrays of an update of the model, in the order in which they lie in its file: as in a model's."""
    sent = selected([array.name for array in spec if array.kind is Kind.PARAM], encoding.params)
    arrays = [
        Carried(array.name, _sent_as(array, encoding), array.shape, encoding.content == "difference" and _moves(array))
        for array in spec
        if array.kind is Kind.BUFFER or array.name in sent
    ]
    return tuple(sorted(arrays, key=lambda array: (-ITEMSIZES[array.dtype], array.dtype, array.name)))


def _moves(array: ArraySpec | Segment) -> bool:
    """Whether it is narrowed and subtracted: a param of a float dtype."""
    return array.kind is Kind.PARAM and np.dtype(array.dtype).kind == "f"


def _sent_as(array: ArraySpec, encoding: Encoding) -> str:
    is_narrowed = encoding.dtype != "as_model" and _moves(array) and ITEMSIZES[encoding.dtype] < array.itemsize
    return encoding.dtype if is_narrowed else array.dtype


def read_layout(file: Readable, size: int) -> tuple[Layout, Form | None]:
    """The arrays of an update's file, and its form; None: it is to be whole params in the model's dtypes.

    Raises BadModelFileError.
    """
    layout = read_layout_of(file, size, UPDATE_DTYPES)
    text = layout.metadata.get(FORM_KEY)
    if text is None:
        return layout, None
    try:
        if len(text) > MAX_FORM:
            raise msgspec.DecodeError(f"it has {len(text)} characters, the limit is {MAX_FORM}")
        return layout, msgspec.json.decode(text, type=Form)
    except msgspec.DecodeError as error:
        raise BadModelFileError(
            f"metadata {FORM_KEY!r} is {text[:80]!r}, which cannot be read ({error}); it tells how the update is "
            'encoded, as {"content": "difference", "base": "<SHA-256 of what it was trained from>"}. Write it so, or '
            "send whole params without it."
        ) from error


def check_fits(layout: Layout, form: Form, spec: ParamSpec, encoding: Encoding | None, base: str) -> None:
    """Raise SpecMismatchError unless the file is an update of the model in this encoding, trained from `base`."""
    whole = "send whole params in the model's dtypes, without saying of a form"
    if encoding is None:
        raise SpecMismatchError(
            f"update says that it holds {_described(form)} in a form of its own (metadata {FORM_KEY!r}), which the "
            f"training's plan does not offer: {whole}."
        )
    if form.content != encoding.content:
        raise SpecMismatchError(
            f"update holds {_described(form)}; the task offers the content {encoding.content!r}. Send that, or {whole}."
        )
    if form.base != base:
        raise SpecMismatchError(
            f"update was trained from {form.base[:80]!r}; the task begins from {base}. Train from what the task names."
        )
    wanted = {array.name: array for array in carried(spec, encoding)}
    faults = list(_faults(layout, wanted))
    if faults:
        more = f"; and {len(faults) - 3} more differences" if len(faults) > 3 else ""
        raise SpecMismatchError(f"{'; '.join(faults[:3])}{more}. Write it as the task's encoding says, or {whole}.")


def _described(form: Form) -> str:
    return "differences" if form.content == "difference" else "params"


def _faults(layout: Layout, wanted: dict[str, Carried]) -> Iterator[str]:
    if missing := sorted(name for name in wanted if layout.find(name) is None):
        yield f"update lacks {shown(missing)}, which the encoding carries"
    if unexpected := [array.name for array in layout.arrays if array.name not in wanted]:
        yield f"update holds {shown(unexpected)}, which the encoding does not carry"
    for array in layout.arrays:
        model = wanted.get(array.name)
        if model is not None and array.shape != model.shape:
            yield f"update has shape {array.shape} for {array.name!r}; the model has {model.shape}"
        elif model is not None and array.dtype != model.dtype:
            yield f"update has dtype {array.dtype} for {array.name!r}; the encoding carries {model.dtype}"


@dataclass(frozen=True, slots=True)
class Part:
    """A segment of a chunk as it was sent: 1-D, in memory that the next read overwrites, or new."""

    segment: Segment
    place: slice
    """Of the chunk."""
    values: Array


def parts(source: Source, layout: Layout, chunk: Chunk, room: bytearray | memoryview) -> Iterator[Part]:
    """What an update holds of a chunk of its model, read into `room`: as numbers, yet not what they stand for.

    Segments of one dtype come together: in the file they are neighbours.
    """
    together: dict[str, list[tuple[Segment, slice]]] = {}
    start = 0
    for segment in chunk:
        placed, place = layout.find(segment.name), slice(start, start + segment.size)
        start += segment.size
        if placed is not None:
            together.setdefault(placed.dtype, []).append((segment, place))
    for dtype, found in together.items():
        stored = "uint16" if dtype == "bfloat16" else dtype
        arrays = read_chunk(source, layout, tuple(replace(segment, dtype=stored) for segment, _ in found), room)
        for (segment, place), array in zip(found, arrays, strict=True):
            yield Part(segment, place, bfloat16.decoded(array.view("<u2")) if dtype == "bfloat16" else array)


def needs_base(layout: Layout, form: Form | None, chunk: Chunk) -> bool:
    """Whether the chunk's values are told from the base as well."""
    if form is None:
        return False
    differs = form.content == "difference" and any(_moves(segment) for segment in chunk)
    return differs or any(layout.find(segment.name) is None for segment in chunk)


def fill(out: Array, found: Iterator[Part], form: Form | None, base: Array | None) -> None:
    """Write the values that a chunk's parts stand for into `out`, 1-D: of the model's dtype, or float64 if the form is
    of differences. `base`, 1-D: its values of the chunk, where they are needed.
    """
    if base is not None:
        out[...] = base
    for part in found:
        if form is not None and form.content == "difference" and _moves(part.segment):
            np.add(out[part.place], part.values, out=out[part.place])
        else:
            out[part.place] = part.values


@dataclass(frozen=True, slots=True)
class Origin:
    """The params that an update was trained from, in a file."""

    digest: str
    source: Source
    layout: Layout


def write(file: BinaryIO, params: Params, spec: ParamSpec, encoding: Encoding, origin: Origin) -> Layout:
    """Write an update of the model in this encoding, in memory for a piece of one array.

    Raises NotFiniteError for a value that the dtype has no number for.
    """
    form = Form(content=encoding.content, base=origin.digest)
    arrays = carried(spec, encoding)
    header, layout = placed_in_order(arrays, {FORM_KEY: msgspec.json.encode(form).decode()})
    file.write(header)
    dtypes = {array.name: array.dtype for array in spec}
    room = bytearray(PIECE * max(array.itemsize for array in spec))
    for array in arrays:
        flat, dtype = params[array.name].reshape(-1), dtypes[array.name]
        for start in range(0, flat.size, PIECE):
            piece = flat[start : start + PIECE]
            if array.subtracted:
                segment = Segment(array.name, dtype, Kind.PARAM, start, start + piece.size)
                (base,) = read_chunk(origin.source, origin.layout, (segment,), room)
                piece = np.subtract(piece, base, dtype=np.float64)
            file.write(_converted(piece, array, start).data.cast("B"))
    return layout


def _converted(piece: Array, array: Carried, start: int) -> Array:
    """In the dtype that is sent, contiguous and little-endian."""
    if array.dtype == "bfloat16":
        bits = bfloat16.encoded(piece.astype(np.float64, copy=False))
        fault = first_not_finite(bfloat16.decoded(bits))
        sent: Array = bits
    else:
        with np.errstate(over="ignore", under="ignore"):
            sent = np.ascontiguousarray(piece, np.dtype(array.dtype).newbyteorder("<"))
        fault = first_not_finite(sent)
    if fault is not None:
        what, ends = "changed by" if array.subtracted else "holds", " (65,504)" if array.dtype == "float16" else ""
        raise NotFiniteError(
            f"{array.name!r} {what} {piece[fault]:g} at flat index {start + fault}, beyond what {array.dtype} has "
            f"numbers for{ends}. Lower the learning rate, or give the plan's encoding another dtype: bfloat16 reaches "
            "as far as float32."
        )
    return sent

"""What is said between the server and a cell. Both sides bound the length; a cell's word is checked as a stranger's."""

from collections.abc import Mapping
from math import prod
from typing import Final, Literal

import msgspec
import numpy as np
from msgspec.structs import replace

from hansa.core.params import Array

MAX_CALL: Final = 256 * 2**20
MAX_ANSWER: Final = 64 * 2**20
MAX_TEXT: Final = 2000
MAX_DIMENSIONS: Final = 32
MAX_EMPTY: Final = 2**16
"""Places of an array without numbers, a dimension of zero counted as one: as nested lists they take memory as well."""
MAX_LAYERS: Final = 10_000
MAX_PATH: Final = 500
MAX_COUNT: Final = 2**53
"""Of what a summary counts: numbers that every reader of JSON holds exactly."""

Limit = Literal["memory", "cpu", "wall_clock", "files", "network", "processes", "output"]
Passes = Literal["one", "dropout", "swag", "summary"]


class Tensor(msgspec.Struct, frozen=True, tag=True):
    """An array as its bytes, C order, little-endian."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    @classmethod
    def of(cls, array: Array) -> "Tensor":
        """The message of an array."""
        return cls(array.dtype.name, array.shape, np.ascontiguousarray(array).tobytes())

    def array(self) -> Array:
        """The array, read-only. Raises ValueError unless the bytes are exactly those of the shape."""
        dtype = _dtype(self.dtype)
        fits = len(self.shape) <= MAX_DIMENSIONS and min(self.shape, default=0) >= 0
        if not fits or prod(self.shape) * dtype.itemsize != len(self.data):
            raise ValueError(f"{len(self.data)} bytes are no array of shape {self.shape[:8]} and dtype {self.dtype!r}")
        if not self.data and prod(max(length, 1) for length in self.shape) > MAX_EMPTY:
            raise ValueError(f"an array without numbers has shape {self.shape[:8]}; at most {MAX_EMPTY:,} empty places")
        return np.frombuffer(self.data, dtype).reshape(self.shape)


class EncodedImage(msgspec.Struct, frozen=True, tag=True):
    """An image file, decoded in the cell: channels, height, width; uint8."""

    content: bytes


class Program(msgspec.Struct, frozen=True):
    """Digests of an archive and of the params that are put into it; None: the archive's own."""

    archive: str
    params: str | None = None


class Moments(msgspec.Struct, frozen=True):
    """SWAG's moments: the digest of their file, and in which order params are joined in its vectors."""

    file: str
    order: tuple[str, ...]


class Call(msgspec.Struct, frozen=True):
    """What is computed: inputs, preprocessed and made a batch, by every program and in every pass."""

    programs: tuple[Program, ...]
    inputs: tuple[Tensor | EncodedImage, ...]
    """One tensor: the batch itself. Else each is one element of the batch."""
    preprocessing: str | None = None
    shape: tuple[int | None, ...] | None = None
    """Of the batch that the programs take, where images are given to them as they are; None within: any length."""
    moments: Moments | None = None
    passes: Passes = "one"
    samples: int = 1
    seed: int = 0

    @property
    def digests(self) -> frozenset[str]:
        """Of all files that the cell needs."""
        named = {each for program in self.programs for each in (program.archive, program.params)}
        return frozenset(
            each for each in (*named, self.preprocessing, self.moments.file if self.moments else None) if each
        )


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The program wanted more than it may have."""

    limit: Limit
    detail: str


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The program's own error, in its words."""

    detail: str


class Unsupported(msgspec.Struct, frozen=True, tag=True):
    """A class, an operator or a kind of file that is not run here."""

    what: str


class BadInput(msgspec.Struct, frozen=True, tag=True):
    """What was sent is no input: an image that cannot be read, or parts that make no batch."""

    detail: str


class Broken(msgspec.Struct, frozen=True, tag=True):
    """The fault of this machine or of the sandbox, not of the program: asked again in a moment, it may answer."""

    detail: str


class Traced(msgspec.Struct, frozen=True):
    """What one pass told of one module; None: it was not told."""

    input_size: tuple[int, ...] | None
    output_size: tuple[int, ...] | None
    macs: int | None
    """Multiplications with an addition; None for a module that has modules."""


class Summary(msgspec.Struct, frozen=True, tag=True):
    """The answer to passes "summary": what one pass of the first program told, by the paths of its modules."""

    layers: dict[str, Traced]


Outcome = Tensor | Summary | Refused | Failed | Unsupported | BadInput | Broken


class Answer(msgspec.Struct, frozen=True):
    """What a cell says of one call."""

    outcome: Outcome
    again: bool
    """Whether it may be asked again: nothing of the call is left in it, and nothing of it runs on."""


def checked(content: bytes | bytearray) -> Answer:
    """What a cell has said, if it is an answer within all bounds; texts are cleaned. Raises ValueError."""
    try:
        answer = msgspec.msgpack.decode(content, type=Answer)
        match answer.outcome:
            case Tensor() as tensor:
                if tensor.dtype not in ("float32", "float64"):
                    raise ValueError(f"the answer has dtype {tensor.dtype[:20]!r}")
                tensor.array()
            case Summary(layers):
                _check_layers(layers)
            case Unsupported(what):
                return Answer(Unsupported(cleaned(what)), again=False)
            case Refused() | Failed() | BadInput() | Broken() as told:
                return Answer(replace(told, detail=cleaned(told.detail)), again=False)
    except (msgspec.MsgspecError, OverflowError, RecursionError) as error:
        raise ValueError(f"the answer is none: {cleaned(str(error))}") from error
    return answer


def _check_layers(layers: Mapping[str, Traced]) -> None:
    if len(layers) > MAX_LAYERS or max(map(len, layers), default=0) > MAX_PATH:
        raise ValueError(
            f"a summary of {len(layers):,} modules; at most {MAX_LAYERS:,}, of paths of {MAX_PATH} characters"
        )
    for layer in layers.values():
        shapes = [size for size in (layer.input_size, layer.output_size) if size is not None]
        counts = [each for size in shapes for each in size] + ([] if layer.macs is None else [layer.macs])
        if max(map(len, shapes), default=0) > MAX_DIMENSIONS or not all(0 <= each <= MAX_COUNT for each in counts):
            raise ValueError("a summary with sizes that no layer has")


def _dtype(name: str) -> "np.dtype[np.generic]":
    """A type of numbers by its name. Raises ValueError."""
    try:
        dtype: np.dtype[np.generic] = np.dtype(name)
    except TypeError as error:
        raise ValueError(f"{name[:20]!r} is no type of numbers") from error
    if dtype.kind not in "biuf":
        raise ValueError(f"{name[:20]!r} is no type of numbers")
    return dtype


def cleaned(text: str) -> str:
    """Text of a program as it may be shown: one line, printable, bounded."""
    line = " ".join(text[: 4 * MAX_TEXT].split())
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in line)[:MAX_TEXT]

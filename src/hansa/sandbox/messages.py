"""What is said between the server and a cell. Both sides bound the length; a cell's word is checked as a stranger's."""

from math import prod
from typing import Final, Literal

import msgspec
import numpy as np

from hansa.core.params import Array

MAX_CALL: Final = 256 * 2**20
MAX_ANSWER: Final = 64 * 2**20
MAX_TEXT: Final = 2000
MAX_DIMENSIONS: Final = 32

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
        dtype = np.dtype(self.dtype)
        fits = len(self.shape) <= MAX_DIMENSIONS and min(self.shape, default=0) >= 0
        if dtype.hasobject or not fits or prod(self.shape) * dtype.itemsize != len(self.data):
            raise ValueError(f"{len(self.data)} bytes are no array of shape {self.shape[:8]} and dtype {self.dtype!r}")
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


def cleaned(text: str) -> str:
    """Text of a program as it may be shown: one line, printable, bounded."""
    line = " ".join(text[: 4 * MAX_TEXT].split())
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in line)[:MAX_TEXT]

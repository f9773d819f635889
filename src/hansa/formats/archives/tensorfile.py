"""One tensor as torch.save writes it: moments of SWAG, inputs of a model. Read and written without torch."""

import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from hansa.core.params import DTYPES, Array
from hansa.formats.archives.strided import Strided, gather
from hansa.formats.archives.tensors import STORAGES
from hansa.formats.archives.torchfile import TorchFile
from hansa.formats.chunks import FileSource
from hansa.formats.errors import BadModelFileError
from hansa.formats.flavour import Flavour

ROOT = "archive"
_BLOCK = 2**20
_CLASSES = {dtype: name for name, dtype in STORAGES.items()}


@dataclass(frozen=True, slots=True)
class TensorFile:
    """A saved tensor, its numbers still in the file."""

    path: Path
    lies: Strided

    @property
    def dtype(self) -> str:
        """The name numpy has for it."""
        return self.lies.dtype.name

    @property
    def shape(self) -> tuple[int, ...]:
        """One length per axis."""
        return self.lies.shape

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.lies.size

    def read(self, start: int = 0, stop: int | None = None) -> Array:
        """Elements `start` to `stop` in C order: 1-D, little-endian. Raises BadModelFileError if the file ended."""
        stop = self.size if stop is None else stop
        out = np.empty(stop - start, self.lies.dtype.newbyteorder("<"))
        with FileSource(self.path) as source:
            gather(source, self.lies, start, stop, out)
        return out


def opened(path: Path) -> TorchFile:
    """A torch archive. Raises BadModelFileError."""
    source = FileSource(path)
    try:
        return TorchFile(source, path.stat().st_size)
    except BaseException:  # whatever it is: the file is given back, and it goes on
        source.close()
        raise


def read_tensor(path: Path) -> TensorFile:
    """What a file says of the one tensor in it. Raises BadModelFileError for anything else, or a wrong checksum."""
    with opened(path) as file:
        if file.flavour is not Flavour.TENSOR:
            raise BadModelFileError(
                f"the file holds a {file.flavour.replace('_', ' ')}; wanted is one tensor, by torch.save(tensor, file)."
            )
        file.check("")
        return TensorFile(path, file.stored[""].lies)


def write_tensor(file: BinaryIO, array: Array) -> None:
    """Write an array as a file that `torch.load(file, weights_only=True)` reads; equal arrays make equal files.

    Raises ValueError for a dtype that a model cannot hold.
    """
    if array.dtype.name not in DTYPES:
        raise ValueError(f"the array has dtype {array.dtype}; a tensor's is one of {', '.join(DTYPES)}")
    little_endian = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in {"data.pkl": _pickled(array), "byteorder": b"little"}.items():
            archive.writestr(zipfile.ZipInfo(f"{ROOT}/{name}"), content)
        numbers = zipfile.ZipInfo(f"{ROOT}/data/0")
        numbers.file_size = array.nbytes
        with archive.open(numbers, "w") as entry:
            for start in range(0, array.nbytes, _BLOCK):
                entry.write(little_endian[start : start + _BLOCK].data)
        archive.writestr(zipfile.ZipInfo(f"{ROOT}/version"), b"3\n")


def _pickled(array: Array) -> bytes:
    """The description of the tensor, instruction by instruction: see `machine` for what they mean."""
    kind = _CLASSES.get(array.dtype.name)
    storage = b"ctorch\n" + f"{kind}\n".encode() if kind else b"ctorch.storage\nUntypedStorage\n"
    count = array.size if kind else array.nbytes
    strides = _c_order(array.shape)
    return b"".join(
        [
            b"\x80\x02ctorch._utils\n",
            b"_rebuild_tensor_v2\n" if kind else b"_rebuild_tensor_v3\n",
            b"((" + _text("storage") + storage + _text("0") + _text("cpu") + _integer(count) + b"tQ",
            _integer(0) + _integers(array.shape) + _integers(strides),
            b"\x89ccollections\nOrderedDict\n)R",
            b"" if kind else f"ctorch\n{array.dtype.name}\n".encode(),
            b"tR.",
        ]
    )


def _c_order(shape: tuple[int, ...]) -> list[int]:
    strides = [1]
    for length in reversed(shape[1:]):
        strides.insert(0, strides[0] * max(length, 1))
    return strides[: len(shape)]


def _text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def _integer(value: int) -> bytes:
    return b"\x8a\x08" + value.to_bytes(8, "little", signed=True)


def _integers(values: "tuple[int, ...] | list[int]") -> bytes:
    return b"(" + b"".join(_integer(value) for value in values) + b"t"

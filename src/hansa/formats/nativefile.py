"""A safetensors file behind the interface that all model files have."""

from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from hansa.core.params import Array, ArraySpec, ParamSpec
from hansa.formats.chunks import Chunk, FileSource, read_chunk
from hansa.formats.flavour import Flavour
from hansa.formats.layout import BUFFERS_KEY
from hansa.formats.safetensors import read_layout


class SafetensorsFile:
    """An open file. Close it, or use it as a context manager."""

    flavour = Flavour.SAFETENSORS
    ties: tuple[tuple[str, ...], ...] = ()
    overlap: tuple[str, str] | None = None
    structure = None
    param_order: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self.layout = read_layout(file, path.stat().st_size)
        self.source = FileSource(path)

    @property
    def kinds_known(self) -> bool:
        """Whether the file's metadata says which arrays are buffers."""
        return BUFFERS_KEY in self.layout.metadata

    @cached_property
    def arrays(self) -> tuple[ArraySpec, ...]:
        """The arrays, sorted by name."""
        return self.spec().arrays

    def spec(self, buffers: frozenset[str] | None = None) -> ParamSpec:
        """The arrays as those of a model; buffers are named here, or else by the file's metadata."""
        return self.layout.spec(buffers)

    def read_chunk(self, chunk: Chunk, buffer: memoryview | bytearray) -> list[Array]:
        """Read one chunk of the model's spec into the beginning of `buffer`."""
        return read_chunk(self.source, self.layout, chunk, buffer)

    def close(self) -> None:
        """Give the file back."""
        self.source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

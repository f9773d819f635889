"""Model files of every flavour behind one interface.

    with open_model(path) as file:
        spec = file.spec()
        for chunk in chunks(spec):
            arrays = file.read_chunk(chunk, buffer)

What comes from outside is opened here, and nowhere is a byte of it executed: safetensors by its header, torch's
archives by `archives`.
"""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Protocol, Self

from hansa.core.params import Array, ArraySpec, ParamSpec
from hansa.formats.archives.layers import LayerInfo, Totals, totals
from hansa.formats.archives.rendering import check_renderable as check_archive
from hansa.formats.archives.rendering import render_archive
from hansa.formats.archives.tensorfile import TensorFile, opened, read_tensor, write_tensor
from hansa.formats.archives.torchfile import TorchFile
from hansa.formats.archives.zipdirectory import SIGNATURE
from hansa.formats.beginnings import beginning
from hansa.formats.chunks import Chunk, FileSource
from hansa.formats.errors import BadModelFileError
from hansa.formats.flavour import Flavour
from hansa.formats.layout import check_fits
from hansa.formats.nativefile import SafetensorsFile
from hansa.formats.safetensors import read_layout

__all__ = [
    "BadModelFileError",
    "Flavour",
    "LayerInfo",
    "ModelFile",
    "TensorFile",
    "Totals",
    "check_fits",
    "check_renderable",
    "open_model",
    "read_tensor",
    "render",
    "totals",
    "write_tensor",
]

_WANTED = "wanted is safetensors, or what torch.save or torch.jit.save of torch 1.6 or later writes"
_LEGACY: Final = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_OTHERS: Final = {
    _LEGACY: "a torch file of the time before torch 1.6, which holds its numbers within a pickle. Load it with torch "
    "1.6 or later and save it again, without _use_new_zipfile_serialization=False",
    b"\x80": "a bare pickle, which is never read. Save the model with torch.save or torch.jit.save",
    b"\x89HDF": "an HDF5 file. Convert the model to safetensors",
    b"\x93NUMPY": "one NumPy array. Save the model's arrays as safetensors",
    b"\x1f\x8b": "a gzip file. Send what is in it",
    b"<": "a web page or XML: an error page, perhaps, that was saved under a model's name. Send the model",
}
_BLOCK = 2**20


class ModelFile(Protocol):
    """An open model file of any flavour. Not for several threads at once."""

    @property
    def flavour(self) -> Flavour:
        """How the file holds its arrays."""

    @property
    def kinds_known(self) -> bool:
        """Whether the file itself says which arrays are buffers."""

    @property
    def arrays(self) -> Sequence[ArraySpec]:
        """The arrays, sorted by name, buffers as the file says."""

    @property
    def param_order(self) -> tuple[str, ...]:
        """The params as `parameters()` of the module gives them, but tied ones under each name; empty if not known."""

    @property
    def ties(self) -> tuple[tuple[str, ...], ...]:
        """Groups of names that are one array in memory."""

    @property
    def overlap(self) -> tuple[str, str] | None:
        """Two arrays that share bytes without being one, if there are: such a file cannot be rendered."""

    @property
    def structure(self) -> tuple[LayerInfo, ...] | None:
        """The modules, depth first; None where the file holds arrays only."""

    def spec(self, buffers: frozenset[str] | None = None) -> ParamSpec:
        """The arrays as those of a model; `buffers` is the caller's word where the file does not say."""

    def read_chunk(self, chunk: Chunk, buffer: memoryview | bytearray) -> list[Array]:
        """Read a chunk of the spec into the beginning of `buffer`: one 1-D little-endian view of it per segment."""

    def close(self) -> None:
        """Give the file back."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...


def open_model(path: Path) -> ModelFile:
    """Open a model file, whatever its flavour, reading what describes it. Raises BadModelFileError with what it is."""
    with path.open("rb") as file:
        start = file.read(16)
    if start.startswith(SIGNATURE):
        return opened(path)
    for magic, what in _OTHERS.items():
        if start.startswith(magic) and not start[8:].startswith(b"{"):
            raise BadModelFileError(f"the file is {what}; {_WANTED}.")
    if start[8:] and not start[8:].lstrip().startswith(b"{"):
        raise BadModelFileError(f"the file begins with {beginning(start)}, as no model file does; {_WANTED}.")
    return SafetensorsFile(path)


def check_renderable(file: ModelFile) -> None:
    """Raise BadModelFileError for a file that cannot be a template of `render`."""
    if isinstance(file, TorchFile):
        check_archive(file)


def render(template: Path, version: Path, out: BinaryIO) -> None:
    """Write the template with the numbers of a canonical version in it; a safetensors template is the version itself.

    Raises SpecMismatchError if the version is not of that model, BadModelFileError if the template is not renderable.
    """
    with open_model(template) as file, FileSource(version) as source, version.open("rb") as plain:
        layout = read_layout(plain, version.stat().st_size)
        if isinstance(file, TorchFile):
            render_archive(file, source, layout, out)
            return
        check_fits(layout, file.spec())
        plain.seek(0)
        while block := plain.read(_BLOCK):
            out.write(block)

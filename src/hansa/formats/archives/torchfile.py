"""A torch archive as a model file: TorchScript, a pickled module, a state dict, or a single tensor."""

from functools import cached_property
from types import TracebackType
from typing import Final, Literal, Self

import numpy as np

from hansa.core.params import Array, ArraySpec, Kind, ParamSpec, name_fault
from hansa.formats.archives.entries import MAX_CODE, MAX_PICKLE, read_entry
from hansa.formats.archives.layers import LayerInfo, layers
from hansa.formats.archives.machine import read_pickle
from hansa.formats.archives.modules import is_module, read_module
from hansa.formats.archives.placeholders import called, pairs_of
from hansa.formats.archives.scripts import read_script
from hansa.formats.archives.storages import overlap, stored, ties
from hansa.formats.archives.strided import gather
from hansa.formats.archives.sums import Checksums
from hansa.formats.archives.tensors import Tensor, is_tensor, tensor
from hansa.formats.archives.tree import Module, walk
from hansa.formats.archives.zipdirectory import Directory, read_directory
from hansa.formats.chunks import Chunk, FileSource, Segment, flat
from hansa.formats.errors import BadModelFileError
from hansa.formats.flavour import Flavour
from hansa.formats.header import MAX_ARRAYS
from hansa.formats.layout import as_spec

PICKLE, CONSTANTS, BYTEORDER = "data.pkl", "constants.pkl", "byteorder"
MAX_EXPANSION: Final = 64
"""The arrays may take so many times the bytes of the file: tied and expanded arrays share theirs."""
_FREE_EXPANSION = 2**20
"""Bytes that the arrays may take however small the file is."""

_ADVICE = "Save the model with torch.jit.save, torch.save(model) or torch.save(model.state_dict())."


class TorchFile:
    """An open archive. Its numbers are read on demand; close it, or use it as a context manager."""

    def __init__(self, source: FileSource, size: int) -> None:
        self.source = source
        self.directory: Directory = read_directory(source, size)
        self.byteorder = self._byteorder()
        self._code_left = MAX_CODE
        value = read_pickle(self._content(PICKLE, MAX_PICKLE), f"{PICKLE!r} in the archive")
        self.flavour, self.tree, named = self._meaning(value)
        self.stored = {name: stored(held, self.directory, self.byteorder, name) for name, (held, _) in named.items()}
        self._kinds = {name: kind for name, (_, kind) in named.items()}
        self._checksums = Checksums(source) if self.directory.has_checksums else None
        self._check_size()

    @property
    def kinds_known(self) -> bool:
        """Whether the file says which arrays are buffers: a state dict does not."""
        return self.tree is not None

    @cached_property
    def arrays(self) -> tuple[ArraySpec, ...]:
        """The arrays of the state, sorted by name. Empty for a single tensor."""
        if self.flavour is Flavour.TENSOR:
            return ()
        return tuple(
            ArraySpec(name, array.tensor.dtype, array.tensor.shape, self._kinds[name])
            for name, array in sorted(self.stored.items())
        )

    def spec(self, buffers: frozenset[str] | None = None) -> ParamSpec:
        """The arrays as those of a model. `buffers` are named by the caller; where the file says it, the file is right.

        Raises BadModelFileError for a buffer that the file does not hold, and for a single tensor.
        """
        if self.flavour is Flavour.TENSOR:
            raise BadModelFileError(f"the file holds a single tensor; wanted is a model. {_ADVICE}")
        named = as_spec(self.arrays, buffers or frozenset())
        return ParamSpec(self.arrays) if self.kinds_known else named

    @property
    def param_order(self) -> tuple[str, ...]:
        """The params as `parameters()` of the module gives them, but tied ones under each name; empty if not known."""
        return tuple(name for name, kind in self._kinds.items() if kind is Kind.PARAM) if self.tree is not None else ()

    @cached_property
    def ties(self) -> tuple[tuple[str, ...], ...]:
        """Groups of names that are one array."""
        return ties(self.stored.items())

    @cached_property
    def overlap(self) -> tuple[str, str] | None:
        """Two arrays that share bytes without being one, if there are: such a file cannot be rendered."""
        return overlap(self.stored.items())

    @cached_property
    def structure(self) -> tuple[LayerInfo, ...] | None:
        """The modules, depth first; None for a state dict or a tensor."""
        return layers(self.tree) if self.tree is not None else None

    def read_chunk(self, chunk: Chunk, buffer: memoryview | bytearray) -> list[Array]:
        """Read one chunk of the model's spec into the beginning of `buffer`, as `chunks.read_chunk` does.

        Raises BadModelFileError for a storage whose checksum is wrong, when the last of it was read.
        """
        elements, arrays, start = flat(chunk, buffer), [], 0
        for segment in chunk:
            arrays.append(elements[start : start + segment.size])
            self.read_segment(segment, arrays[-1])
            start += segment.size
        return arrays

    def read_segment(self, segment: Segment, out: Array) -> None:
        """Read a stretch of one array into `out`: 1-D, little-endian."""
        array = self.stored[segment.name]
        as_it_lies = array.lies.is_contiguous and array.lies.nbytes == array.entry.size and self.byteorder == "<"
        if not as_it_lies:
            self.check(segment.name)
        gather(self.source, array.lies, segment.start, segment.stop, out)
        if as_it_lies and self._checksums:
            start = segment.start * array.lies.dtype.itemsize
            self._checksums.passed(array.entry, start, out.view(np.uint8).data)

    def check(self, name: str) -> None:
        """Raise BadModelFileError if the checksum of the array's storage is wrong. All of it is read, but only once."""
        if self._checksums:
            self._checksums.check(self.stored[name].entry)

    def close(self) -> None:
        """Give the file back."""
        self.source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _content(self, name: str, limit: int) -> bytes:
        entry = self.directory.entries.get(name)
        if entry is None:
            raise BadModelFileError(f"the zip archive has no {name!r}, so torch did not write it as a model. {_ADVICE}")
        return read_entry(self.source, self.directory, entry, limit)

    def _code(self, name: str) -> str:
        content = self._content(name, self._code_left)
        self._code_left -= len(content)
        return content.decode("utf-8", "replace")

    def _byteorder(self) -> Literal["<", ">"]:
        """Archives without a word of it are little-endian."""
        if BYTEORDER not in self.directory.entries:
            return "<"
        order = self._content(BYTEORDER, 16)
        if order not in (b"little", b"big"):
            raise BadModelFileError(f"the archive's byte order is {order!r}; wanted is little or big. {_ADVICE}")
        return "<" if order == b"little" else ">"

    def _meaning(self, value: object) -> tuple[Flavour, Module | None, dict[str, tuple[Tensor, Kind]]]:
        if CONSTANTS in self.directory.entries:
            script = read_script(value, self._code)
            return Flavour.SCRIPT, script, _state(script, Flavour.SCRIPT)
        if is_tensor(value):
            return Flavour.TENSOR, None, {"": (tensor(value, "the tensor"), Kind.PARAM)}
        if is_module(value):
            module = read_module(value)
            return Flavour.MODULE, module, _state(module, Flavour.MODULE)
        if pairs_of(value) is not None:
            return Flavour.STATE_DICT, None, _state_dict(value)
        raise BadModelFileError(f"the archive holds {called(value)}; wanted is a model. {_ADVICE}")

    def _check_size(self) -> None:
        nbytes = sum(array.tensor.nbytes for array in self.stored.values())
        if nbytes > max(_FREE_EXPANSION, MAX_EXPANSION * self.directory.size):
            raise BadModelFileError(
                f"the arrays take {nbytes:,} bytes, the file has {self.directory.size:,}: too many names or "
                "elements share the same numbers. Save the arrays as they are, not expanded."
            )


def _state(root: Module, flavour: Flavour) -> dict[str, tuple[Tensor, Kind]]:
    """The state dict's names; in a tree of modules none comes twice, unless it holds a dot."""
    state: dict[str, tuple[Tensor, Kind]] = {}
    for visit in walk(root):
        for kind, group in ((Kind.PARAM, visit.module.params), (Kind.BUFFER, visit.module.buffers)):
            for name, held in group:
                _add(state, visit.named(name), held, kind)
    if not state:
        advice = "Save one that has some"
        if flavour is Flavour.SCRIPT:
            advice = "If torch.jit.freeze has made constants of them, save the model before it is frozen"
        raise BadModelFileError(f"the model has no params and no buffers, so there is nothing to learn. {advice}.")
    return state


def _state_dict(value: object) -> dict[str, tuple[Tensor, Kind]]:
    state: dict[str, tuple[Tensor, Kind]] = {}
    for name, held in pairs_of(value) or []:
        if not isinstance(name, str) or not is_tensor(held):
            where = f"{called(held)} under {name[:80]!r}" if isinstance(name, str) else f"{called(name)} as a key"
            raise BadModelFileError(
                f"the archive holds a dictionary with {where}; in a state dict every name has a tensor. Save "
                "model.state_dict() alone, without an optimizer's state or counters around it."
            )
        _check_name(name)
        _add(state, name, tensor(held, name), Kind.PARAM)
    if not state:
        raise BadModelFileError(f"the archive holds an empty dictionary; wanted is a state dict. {_ADVICE}")
    return state


def _check_name(name: str) -> None:
    if fault := name_fault(name):
        raise BadModelFileError(f"an array is named {name[:80]!r}: {fault}. Rename it in the model.")


def _add(state: dict[str, tuple[Tensor, Kind]], name: str, held: Tensor, kind: Kind) -> None:
    _check_name(name)
    if name in state:
        raise BadModelFileError(f"two arrays are named {name!r}; names are unique. Rename one in the model.")
    if len(state) >= MAX_ARRAYS:
        raise BadModelFileError(f"the file holds more than {MAX_ARRAYS} arrays. Merge small arrays into larger ones.")
    state[name] = held, kind

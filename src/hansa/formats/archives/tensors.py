"""From inert values to tensors: which storage, which dtype, where in it, and through which strides."""

from dataclasses import dataclass
from itertools import islice
from math import prod
from typing import Final

import numpy as np

from hansa.formats.archives.placeholders import (
    Global,
    Made,
    Persistent,
    arguments,
    called,
    get,
    items_of,
    made_by,
)
from hansa.formats.archives.strided import extent
from hansa.formats.errors import BadModelFileError
from hansa.formats.header import MAX_RANK

STORAGES: Final = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
}
"""Torch's name of a typed storage → numpy's of its elements. Newer dtypes have untyped storages only."""

UNTYPED = "UntypedStorage"
_DTYPES: Final = {name: name for name in (*STORAGES.values(), "uint16", "uint32", "uint64")}

_REASONS: Final = {
    "bool": "truth values have no mean: keep them as uint8, or outside of the state",
    "bfloat16": "numpy has no such dtype: convert the model with model.float()",
    "complex": "complex numbers are not aggregated: keep real and imaginary parts as two arrays",
    "float8": "numpy has no such dtype: convert the model with model.float()",
    "q": "quantised numbers have no mean: train, and save, the model that is not quantised",
}

_REBUILT: Final = {
    "torch._utils._rebuild_sparse_tensor": "sparse: save tensor.to_dense()",
    "torch._utils._rebuild_sparse_csr_tensor": "sparse: save tensor.to_dense()",
    "torch._utils._rebuild_nested_tensor": "nested: save it padded, as one tensor",
    "torch._utils._rebuild_qtensor": _REASONS["q"],
    "torch._utils._rebuild_meta_tensor_no_storage": "on the meta device, without numbers: give the model its numbers",
    "torch._utils._rebuild_wrapper_subclass": "of a class of its own: save a plain tensor",
    "torch._utils._rebuild_device_tensor_from_numpy": "of a foreign device: save tensor.cpu()",
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": "of a foreign device: save tensor.cpu()",
    "torch.nn.parameter.UninitializedParameter": "not initialised yet: run the model once on a batch, then save it",
    "torch.nn.parameter.UninitializedBuffer": "not initialised yet: run the model once on a batch, then save it",
}

_PARAMETER: Final = frozenset({"torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"})
_TENSOR: Final = frozenset({f"torch._utils._rebuild_tensor{version}" for version in ("", "_v2", "_v3")})
_TYPED = "torch._tensor._rebuild_from_type_v2"
_PLAIN_TYPES: Final = frozenset({"torch.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"})
_MAX_WRAPS = 4
_MAX_ARGUMENTS = 16
"""Twice as many as any version of torch gives: they are looked at for each tensor, but may be shared by all."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as it was described; that it lies within its storage is checked."""

    storage: str
    """The storage's key: its bytes are the entry `data/<key>`."""
    storage_bytes: int
    dtype: str
    """numpy's name."""
    offset: int
    """In elements, from the beginning of the storage; strides too."""
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    requires_grad: bool = False

    @property
    def place(self) -> tuple[object, ...]:
        """Equal for tensors that are one array in memory."""
        return self.storage, self.dtype, self.offset, self.shape, self.strides

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * np.dtype(self.dtype).itemsize


def is_tensor(value: object) -> bool:
    """Whether the value is a tensor of any sort, also one that cannot be read."""
    name = made_by(value)
    return name in _PARAMETER or name in _TENSOR or name == _TYPED or name in _REBUILT


def tensor(value: object, name: str) -> Tensor:
    """The tensor a value describes; `name` is for messages. Raises BadModelFileError with the reason."""
    requires_grad = None
    for _ in range(_MAX_WRAPS):
        maker, args = made_by(value), arguments(value)
        if maker in _PARAMETER and len(args) >= 3:
            value, requires_grad = args[0], args[1]
        elif maker == _TYPED and len(args) == 4:
            value = _untyped(args, name)
        else:
            break
    maker, args = made_by(value), arguments(value)
    if reason := _REBUILT.get(maker):
        raise BadModelFileError(f"{name!r} is {reason}.")
    if maker not in _TENSOR or not 4 <= len(args) <= _MAX_ARGUMENTS:
        raise BadModelFileError(f"{name!r} is {called(value)}, not a tensor that can be read. Save a plain one.")
    if _marked(args):
        raise BadModelFileError(
            f"{name!r} is a view that negates or conjugates what is stored: save tensor.resolve_neg().resolve_conj()."
        )
    own = args[4] if len(args) > 4 else False
    return _described(args, name, bool(own if requires_grad is None else requires_grad) is True)


def _untyped(args: tuple[object, ...], name: str) -> Made:
    """The tensor below one with attributes, if it is no subclass that would mean something else by its numbers."""
    function, kind, inner, _ = args
    if not isinstance(kind, Global) or kind.dotted not in _PLAIN_TYPES:
        raise BadModelFileError(f"{name!r} is a tensor of {called(kind)}, whose meaning is unknown. Save a plain one.")
    return Made(function, inner)


def _marked(args: tuple[object, ...]) -> bool:
    """Whether the numbers are to be read as their negative or conjugate."""
    return any(get(argument, mark) is True for argument in args[6:] for mark in ("neg", "conj"))


def _described(args: tuple[object, ...], name: str, requires_grad: bool) -> Tensor:
    key, stored, count = _storage(args[0], name)
    given = next((argument.name for argument in args[6:7] if isinstance(argument, Global)), None)
    dtype = _dtype(given or stored, name)
    itemsize = np.dtype(dtype).itemsize
    size = count if stored == UNTYPED else count * np.dtype(_dtype(stored, name)).itemsize
    offset, shape, strides = args[1], _lengths(args[2], name), _lengths(args[3], name)
    if type(offset) is not int or offset < 0 or len(shape) != len(strides) or len(shape) > MAX_RANK:
        raise BadModelFileError(
            f"{name!r} has {len(shape)} dimensions, {len(strides)} strides and begins at element {_shown(offset)}; "
            f"wanted are as many strides as dimensions, at most {MAX_RANK}, and an offset from 0 on. Save it again."
        )
    if 0 not in shape and offset * itemsize + extent(shape, tuple(s * itemsize for s in strides), itemsize) > size:
        raise BadModelFileError(
            f"{name!r} of shape {list(shape)} and strides {list(strides)} leaves its storage of {size} bytes, from "
            f"element {offset} on. Save the model again."
        )
    return Tensor(key, size, dtype, offset, shape, strides, requires_grad)


def _storage(value: object, name: str) -> tuple[str, str, int]:
    """Key, class and number of elements of a storage."""
    parts = value.key if isinstance(value, Persistent) else None
    if isinstance(parts, tuple) and len(parts) >= 5 and parts[0] == "storage":
        _, kind, key, _, count = parts[:5]
        view = parts[5] if len(parts) > 5 else None
        if isinstance(kind, Global) and type(key) is str and type(count) is int and count >= 0 and view is None:
            return key, kind.name, count
    raise BadModelFileError(f"{name!r} is a tensor over {called(value)} not described as torch does. Save it again.")


def _dtype(name: str, of: str) -> str:
    """The dtype of numpy for a storage class or dtype of torch."""
    if dtype := STORAGES.get(name) or _DTYPES.get(name):
        return dtype
    plain = name.removesuffix("Storage").lower()
    reason = next((reason for start, reason in _REASONS.items() if plain.startswith(start)), "save it as float32")
    raise BadModelFileError(f"{of!r} has dtype {name[:60]!r}, which a model cannot hold ({reason}).")


def _lengths(value: object, name: str) -> tuple[int, ...]:
    """Integers from 0 on, below 2^63."""
    if made_by(value) == "torch.Size":
        value = next(iter(arguments(value)), ())
    lengths = tuple(islice(items_of(value), MAX_RANK + 1))
    if not isinstance(value, tuple | list) or not all(type(item) is int and 0 <= item < 2**63 for item in lengths):
        raise BadModelFileError(f"the shape or strides of {name!r} are not integers from 0 on. Save the model again.")
    return tuple(int(item) for item in lengths if isinstance(item, int))


def _shown(value: object) -> str:
    return str(value) if type(value) is int and abs(value) < 2**72 else called(value)

"""Where the arrays of a model file lie, and whether they are those of a model."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import msgspec

from hansa.core.params import ArraySpec, Kind, ParamSpec
from hansa.formats.errors import BadModelFileError, SpecMismatchError

BUFFERS_KEY = "hansa.buffers"
"""Metadata key: a JSON list of the names that are buffers. Files without it hold params only."""

MAX_BUFFERS_TEXT = 4 * 2**20


class Described(Protocol):
    """What any file says of an array."""

    @property
    def name(self) -> str:
        """As in the state dict."""

    @property
    def dtype(self) -> str:
        """The name numpy has for it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """One length per axis."""


class HoldsArrays(Protocol):
    """A file, or what is known of it."""

    @property
    def arrays(self) -> Sequence[Described]:
        """In any order."""


@dataclass(frozen=True, slots=True)
class Placed:
    """One array of a file. `start` and `stop` are byte offsets from the beginning of the file."""

    name: str
    dtype: str
    """numpy's name, little-endian in the file."""
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The arrays of a file, sorted by name, and the file's size in bytes."""

    arrays: tuple[Placed, ...]
    size: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    _places: dict[str, Placed] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "arrays", tuple(sorted(self.arrays, key=lambda array: array.name)))
        object.__setattr__(self, "_places", {array.name: array for array in self.arrays})

    def placed(self, name: str) -> Placed:
        """The array of that name. Raises KeyError if there is none."""
        return self._places[name]

    def find(self, name: str) -> Placed | None:
        """The array of that name, if there is one."""
        return self._places.get(name)

    def without(self, names: Collection[str]) -> "Layout":
        """As if the file had none of these arrays."""
        if not names:
            return self
        return replace(self, arrays=tuple(array for array in self.arrays if array.name not in names))

    def spec(self, buffers: frozenset[str] | None = None) -> ParamSpec:
        """The file's arrays as those of a model. The buffers are named here, or else by the file's metadata.

        Raises BadModelFileError for a buffer that the file does not hold, or metadata that cannot be read.
        """
        return as_spec(self.arrays, self._own_buffers() if buffers is None else buffers)

    def _own_buffers(self) -> frozenset[str]:
        text = self.metadata.get(BUFFERS_KEY, "[]")
        if len(text) > MAX_BUFFERS_TEXT:
            raise BadModelFileError(
                f"metadata {BUFFERS_KEY!r} has {len(text)} characters; the limit is {MAX_BUFFERS_TEXT}. "
                "Name fewer buffers."
            )
        try:
            return frozenset(msgspec.json.decode(text, type=list[str]))
        except msgspec.DecodeError as error:
            raise BadModelFileError(
                f"metadata {BUFFERS_KEY!r} is {text[:80]!r}, which cannot be read ({error}); "
                'it is a JSON list of array names, such as ["norm.running_mean"]. Write it so, or leave it out.'
            ) from error


def as_spec(arrays: Sequence[Described], buffers: frozenset[str]) -> ParamSpec:
    """Arrays of a file as those of a model. Raises BadModelFileError for a buffer that the file does not hold."""
    names = {array.name for array in arrays}
    if unknown := sorted(buffers - names):
        raise BadModelFileError(
            f"{shown(unknown)} should be {'a buffer' if len(unknown) == 1 else 'buffers'}, but the file holds no "
            f"array of that name; it holds {shown(sorted(names))}. Name buffers as the file does."
        )
    return ParamSpec(
        tuple(
            ArraySpec(array.name, array.dtype, array.shape, Kind.BUFFER if array.name in buffers else Kind.PARAM)
            for array in arrays
        )
    )


def check_fits(file: HoldsArrays, spec: ParamSpec) -> None:
    """Raise SpecMismatchError unless the file holds exactly the arrays of the model, in shape and dtype."""
    faults = []
    wanted = {array.name: array for array in spec}
    seen = {array.name for array in file.arrays}
    if missing := [name for name in wanted if name not in seen]:
        faults.append(f"update lacks {shown(missing)}, which the model has")
    if unexpected := [array.name for array in file.arrays if array.name not in wanted]:
        faults.append(f"update holds {shown(unexpected)}, which the model does not have")
    for array in file.arrays:
        model = wanted.get(array.name)
        if model is not None and array.shape != model.shape:
            faults.append(f"update has shape {array.shape} for {array.name!r}; the model has {model.shape}")
        elif model is not None and array.dtype != model.dtype:
            faults.append(f"update has dtype {array.dtype} for {array.name!r}; the model has {model.dtype}")
    if faults:
        more = f"; and {len(faults) - 3} more differences" if len(faults) > 3 else ""
        raise SpecMismatchError(
            f"{'; '.join(faults[:3])}{more}. Train from the model version that the task names, and return its arrays "
            "unchanged in name, shape and dtype."
        )


def shown(names: Collection[str]) -> str:
    """The first names, quoted, and how many there are beyond."""
    first = ", ".join(repr(name if len(name) <= 80 else name[:79] + "…") for name in list(names)[:5])
    return first + (f" and {len(names) - 5} more" if len(names) > 5 else "")

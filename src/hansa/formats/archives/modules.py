"""Pickled `torch.nn.Module` objects: their state dict's names, as `Module.state_dict` makes them."""

from dataclasses import dataclass
from itertools import islice

from hansa.formats.archives.budget import Budget, members
from hansa.formats.archives.placeholders import Made, called, get, items_of, made_by, pairs_of
from hansa.formats.archives.tensors import Tensor, tensor
from hansa.formats.archives.tree import MAX_DEPTH, Module, joined, too_deep
from hansa.formats.errors import BadModelFileError

_MAX_AXES = 8
"""Of a kernel."""


def is_module(value: object) -> bool:
    """Whether the value is an object that has what a module has."""
    return (
        isinstance(value, Made)
        and pairs_of(get(value.state, "_parameters")) is not None
        and pairs_of(get(value.state, "_modules")) is not None
    )


def read_module(value: object) -> Module:
    """The tree of a pickled module. Raises BadModelFileError for what state_dict() could not name."""
    return _module(value, "", 0, _Reading({}, members()))


@dataclass(frozen=True, slots=True)
class _Reading:
    known: dict[int, Module]
    """The modules that were read already, by identity: one that is used twice is one object."""
    budget: Budget


def _module(value: object, path: str, depth: int, reading: _Reading) -> Module:
    if depth > MAX_DEPTH:
        raise too_deep(path)
    if (module := reading.known.get(id(value))) is not None:
        return module
    if not isinstance(value, Made) or not is_module(value):
        raise BadModelFileError(
            f"the submodule {path[:80]!r} is {called(value)}, which was not saved as a torch.nn.Module is. Save the "
            "model with torch.jit.save, or its state_dict()."
        )
    temporary = _texts(get(value.state, "_non_persistent_buffers_set"), reading.budget)
    module = Module(
        class_name=made_by(value).rpartition(".")[2] or _class_name(value),
        params=_tensors(value, "_parameters", path, frozenset(), reading.budget),
        buffers=_tensors(value, "_buffers", path, temporary, reading.budget),
        children=tuple(
            (name, _module(child, joined(path, name), depth + 1, reading))
            for name, child in _members(value, "_modules", path, reading.budget)
            if child is not None
        ),
        kernel_size=_kernel_size(get(value.state, "kernel_size")),
    )
    reading.known[id(value)] = module
    return module


def _tensors(
    value: Made, group: str, path: str, without: frozenset[str], budget: Budget
) -> tuple[tuple[str, Tensor], ...]:
    return tuple(
        (name, tensor(held, joined(path, name)))
        for name, held in _members(value, group, path, budget)
        if held is not None and name not in without
    )


def _members(value: Made, group: str, path: str, budget: Budget) -> list[tuple[str, object]]:
    """Of `_parameters`, `_buffers` or `_modules`: names are texts, and none comes twice."""
    pairs = pairs_of(get(value.state, group)) or []
    budget.take(len(pairs))
    texts = [(name, held) for name, held in pairs if isinstance(name, str)]
    if len({name for name, _ in texts}) != len(pairs):
        raise BadModelFileError(
            f"{group} of the module {path[:80]!r} has a name twice, or one that is not text. Save the model again."
        )
    return texts


def _texts(value: object, budget: Budget) -> frozenset[str]:
    texts = set()
    for item in items_of(value):
        budget.take(1)
        if isinstance(item, str):
            texts.add(item)
    return frozenset(texts)


def _class_name(value: Made) -> str:
    """Of an object made through a helper, such as copyreg's: the class is not known."""
    return called(value)


def _kernel_size(value: object) -> tuple[int, ...] | None:
    """None for what no convolution could have; whatever it is must fit into JSON."""
    lengths = (value,) if type(value) is int else tuple(islice(items_of(value), _MAX_AXES + 1))
    sizes = tuple(length for length in lengths if type(length) is int and 0 <= length < 2**31)
    return sizes if sizes and len(sizes) == len(lengths) <= _MAX_AXES else None

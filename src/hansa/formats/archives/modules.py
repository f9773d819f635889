"""Pickled `torch.nn.Module` objects: their state dict's names, as `Module.state_dict` makes them."""

from hansa.formats.archives.placeholders import Made, called, get, items_of, made_by, pairs_of
from hansa.formats.archives.tensors import Tensor, tensor
from hansa.formats.archives.tree import MAX_DEPTH, Module, too_deep
from hansa.formats.errors import BadModelFileError


def is_module(value: object) -> bool:
    """Whether the value is an object that has what a module has."""
    return (
        isinstance(value, Made)
        and pairs_of(get(value.state, "_parameters")) is not None
        and pairs_of(get(value.state, "_modules")) is not None
    )


def read_module(value: object) -> Module:
    """The tree of a pickled module. Raises BadModelFileError for what state_dict() could not name."""
    return _module(value, "", 0, {})


def _module(value: object, path: str, depth: int, known: dict[int, Module]) -> Module:
    """`known` are the modules that were read already, by identity: one that is used twice is one object."""
    if depth > MAX_DEPTH:
        raise too_deep(path)
    if (module := known.get(id(value))) is not None:
        return module
    if not isinstance(value, Made) or not is_module(value):
        raise BadModelFileError(
            f"the submodule {path[:80]!r} is {called(value)}, which was not saved as a torch.nn.Module is. Save the "
            "model with torch.jit.save, or its state_dict()."
        )
    temporary = {name for name in items_of(get(value.state, "_non_persistent_buffers_set")) if isinstance(name, str)}
    module = Module(
        class_name=made_by(value).rpartition(".")[2] or _class_name(value),
        params=_tensors(value, "_parameters", path, frozenset()),
        buffers=_tensors(value, "_buffers", path, frozenset(temporary)),
        children=tuple(
            (name, _module(child, f"{path}.{name}" if path else name, depth + 1, known))
            for name, child in _members(value, "_modules", path)
            if child is not None
        ),
        kernel_size=_kernel_size(get(value.state, "kernel_size")),
    )
    known[id(value)] = module
    return module


def _tensors(value: Made, group: str, path: str, without: frozenset[str]) -> tuple[tuple[str, Tensor], ...]:
    return tuple(
        (name, tensor(held, f"{path}.{name}" if path else name))
        for name, held in _members(value, group, path)
        if held is not None and name not in without
    )


def _members(value: Made, group: str, path: str) -> list[tuple[str, object]]:
    """Of `_parameters`, `_buffers` or `_modules`: names are texts, and none comes twice."""
    pairs = pairs_of(get(value.state, group)) or []
    members = [(name, held) for name, held in pairs if isinstance(name, str)]
    if len({name for name, _ in members}) != len(pairs):
        raise BadModelFileError(
            f"{group} of the module {path[:80]!r} has a name twice, or one that is not text. Save the model again."
        )
    return members


def _class_name(value: Made) -> str:
    """Of an object made through a helper, such as copyreg's: the class is not known."""
    return called(value)


def _kernel_size(value: object) -> tuple[int, ...] | None:
    lengths = (value,) if type(value) is int else tuple(items_of(value))
    sizes = tuple(length for length in lengths if type(length) is int)
    return sizes if sizes and len(sizes) == len(lengths) <= 8 else None

"""All that a module holds, at one moment, so that a call that changed any of it is found out."""

from collections.abc import Iterator, Sequence

import torch
from torch import nn

_ATOMS = (bool, int, float, complex, str, bytes)

Snapshot = tuple[tuple[object, int], ...]
"""Every value with the counter by which torch notes changes in place; -1: a value that has none."""


def snapshot(modules: Sequence[nn.Module]) -> Snapshot:
    """Of all tensors, numbers and containers within reach, buffers that are not saved included.

    Of a script only params and buffers can be seen; what else it keeps `scripts.keeps` tells from its code.
    """
    return tuple(_seen(list(modules), set()))


def is_same(one: Snapshot, other: Snapshot) -> bool:
    """Whether nothing has been written to, exchanged, added or removed."""
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) and all(a[1] == b[1] and _equal(a[0], b[0]) for a, b in pairs)


def _equal(one: object, other: object) -> bool:
    return one is other or (type(one) is type(other) and isinstance(one, _ATOMS) and one == other)


def _seen(value: object, known: set[int]) -> Iterator[tuple[object, int]]:
    if isinstance(value, torch.Tensor):
        yield value, value._version
        return
    if isinstance(value, (type, *_ATOMS)):
        yield value, -1
        return
    if id(value) in known:
        return
    known.add(id(value))
    parts = _parts(value)
    yield (value if isinstance(value, nn.Module) else len(parts)), -1
    for part in parts:
        yield from _seen(part, known)


def _parts(value: object) -> list[object]:
    if isinstance(value, torch.jit.ScriptModule):
        return [*value.parameters(), *value.buffers()]
    if isinstance(value, nn.Module):
        return [type(value), *vars(value).items()]
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value)
    return []

"""What a summary shows of a model's modules, in the words of torchinfo. Shapes and costs need a run, so are absent.

Counted as torchinfo counts a module: its own params and those of all modules within it, an array once however many
names it has. (torchinfo tells arrays apart by the Parameter object, here it is the place in the file: equal, but for
two Parameters made over one memory.) The totals are those of the root, so an array that two modules share counts once
there too, as in `sum(p.numel() for p in model.parameters())`; torchinfo itself adds up layers and counts it twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hansa.formats.archives.tensors import Tensor
from hansa.formats.archives.tree import Module, Visit, walk

_Places = Mapping[tuple[object, ...], Tensor]


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """One use of one module."""

    path: str
    """"" for the root, else as "conv.0"."""
    class_name: str
    depth: int
    depth_index: int
    """Which one of its depth, from 1 on."""
    var_name: str
    """The attribute it is in; for the root its class."""
    is_leaf_layer: bool
    num_params: int
    trainable_params: int
    param_bytes: int
    kernel_size: tuple[int, ...] | None
    """None where the file does not say: traced modules have lost it."""
    contains_lazy_param: bool = False
    """Never true: a model whose params have no numbers yet is refused."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Of a whole model."""

    total_params: int
    trainable_params: int
    total_param_bytes: int


def layers(root: Module) -> tuple[LayerInfo, ...]:
    """Every use of every module, depth first."""
    counted: dict[int, tuple[int, int, int]] = {}
    seen: dict[int, int] = {}
    result = []
    for visit in walk(root):
        seen[visit.depth] = seen.get(visit.depth, 0) + 1
        if id(visit.module) not in counted:
            counted[id(visit.module)] = _counts(visit.module)
        result.append(_layer(visit, seen[visit.depth], counted[id(visit.module)]))
    return tuple(result)


def totals(structure: Sequence[LayerInfo]) -> Totals:
    """The root's figures: every array once."""
    root = structure[0]
    return Totals(root.num_params, root.trainable_params, root.param_bytes)


def _layer(visit: Visit, index: int, counts: tuple[int, int, int]) -> LayerInfo:
    module = visit.module
    return LayerInfo(
        visit.path,
        module.class_name,
        visit.depth,
        index,
        visit.name,
        not module.children,
        *counts,
        module.kernel_size,
    )


def _counts(module: Module) -> tuple[int, int, int]:
    """Elements, elements that are trained, and bytes, of all params below."""
    params: dict[tuple[object, ...], Tensor] = {}
    todo, known = [module], {id(module)}
    while todo:
        current = todo.pop()
        params |= {(tensor.place if tensor.size else (id(tensor),)): tensor for _, tensor in current.params}
        for _, child in current.children:
            if id(child) not in known:
                known.add(id(child))
                todo.append(child)
    return (
        sum(tensor.size for tensor in params.values()),
        sum(tensor.size for tensor in params.values() if tensor.requires_grad),
        sum(tensor.nbytes for tensor in params.values()),
    )

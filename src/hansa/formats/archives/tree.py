"""A model as a tree of modules, whoever wrote it down: what holds params and buffers under which names."""

from collections.abc import Iterator
from dataclasses import dataclass

from hansa.core.params import name_fault
from hansa.formats.archives.tensors import Tensor
from hansa.formats.errors import BadModelFileError

MAX_LAYERS = 10_000
MAX_LAYER_NAMES = 2**20
"""Bytes of all paths, names and classes together: a server keeps them, and sends them with the model's statistics."""
MAX_DEPTH = 100


@dataclass(frozen=True, slots=True, eq=False)
class Module:
    """One module. The same object at two places is a module that is used twice."""

    class_name: str
    params: tuple[tuple[str, Tensor], ...]
    buffers: tuple[tuple[str, Tensor], ...]
    """Those that belong to the state."""
    children: tuple[tuple[str, "Module"], ...]
    kernel_size: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Visit:
    """A module where it is used: `path` is "" for the root, else as "features.0"."""

    path: str
    name: str
    depth: int
    module: Module

    def named(self, name: str) -> str:
        """The name of one of its arrays in the whole model."""
        return f"{self.path}.{name}" if self.path else name


def walk(root: Module) -> Iterator[Visit]:
    """Every use of every module, depth first, children in their order.

    Raises BadModelFileError when there are too many: modules used twice within modules used twice soon are. Or when
    their names are too long, each or together.
    """
    todo = [Visit("", root.class_name, 0, root)]
    visited = taken = 0
    while todo:
        visit = todo.pop()
        visited += 1
        taken += sum(len(text.encode()) for text in (visit.path, visit.name, visit.module.class_name))
        if visited + len(todo) + len(visit.module.children) > MAX_LAYERS:
            raise BadModelFileError(
                f"the model has more than {MAX_LAYERS:,} modules. Merge small ones into larger ones."
            )
        if taken > MAX_LAYER_NAMES:
            raise BadModelFileError(
                f"the names and classes of the model's modules take more than {MAX_LAYER_NAMES:,} bytes. Use shorter "
                "names, or fewer modules."
            )
        yield visit
        todo += [
            Visit(joined(visit.path, name), name, visit.depth + 1, child)
            for name, child in reversed(visit.module.children)
        ]


def joined(path: str, name: str) -> str:
    """The path of what a module has under a name. Raises BadModelFileError for what could not be shown or stored."""
    whole = f"{path}.{name}" if path else name
    if fault := name_fault(name) or name_fault(whole):
        raise BadModelFileError(
            f"the module {path[:80]!r} has a member {name[:80]!r}: {fault}. Rename it in the model."
        )
    return whole


def too_deep(path: str) -> BadModelFileError:
    """A module within a module within a module…, or within itself."""
    return BadModelFileError(
        f"the module {path[:80]!r} lies in more than {MAX_DEPTH} modules, or in itself. Save a model whose modules "
        "form a tree."
    )

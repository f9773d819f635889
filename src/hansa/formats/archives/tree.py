"""A model as a tree of modules, whoever wrote it down: what holds params and buffers under which names."""

from collections.abc import Iterator
from dataclasses import dataclass

from hansa.formats.archives.tensors import Tensor
from hansa.formats.errors import BadModelFileError

MAX_LAYERS = 50_000
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

    Raises BadModelFileError when there are too many: modules used twice within modules used twice soon are.
    """
    todo = [Visit("", root.class_name, 0, root)]
    for _ in range(MAX_LAYERS):
        if not todo:
            return
        visit = todo.pop()
        yield visit
        todo += [
            Visit(visit.named(name), name, visit.depth + 1, child) for name, child in reversed(visit.module.children)
        ]
    if todo:
        raise BadModelFileError(f"the model has more than {MAX_LAYERS:,} modules. Merge small ones into larger ones.")


def too_deep(path: str) -> BadModelFileError:
    """A module within a module within a module…, or within itself."""
    return BadModelFileError(
        f"the module {path[:80]!r} lies in more than {MAX_DEPTH} modules, or in itself. Save a model whose modules "
        "form a tree."
    )

"""TorchScript objects: `data.pkl` holds their attributes, the code says which are params, buffers and modules."""

from collections.abc import Callable

from hansa.formats.archives.budget import Budget, members
from hansa.formats.archives.placeholders import Global, Made, called, made_by, pairs_of
from hansa.formats.archives.scriptcode import MAX_DECLARED, Declared, declared
from hansa.formats.archives.tensors import Tensor, is_tensor, tensor
from hansa.formats.archives.tree import MAX_DEPTH, Module, joined, too_deep
from hansa.formats.errors import BadModelFileError

NAMESPACE = "__torch__"

Code = Callable[[str], str]
"""The text of a file of code, by its name in the archive. Raises BadModelFileError if there is none."""


def is_script(value: object) -> bool:
    """Whether the value is an object of a class that TorchScript compiled."""
    return made_by(value).partition(".")[0] == NAMESPACE


def read_script(value: object, code: Code) -> Module:
    """The tree of a TorchScript module. Raises BadModelFileError for an object that is none."""
    return _Reader(code).module(value, "", 0)


class _Reader:
    def __init__(self, code: Code) -> None:
        self._code = code
        self._files: dict[str, dict[str, Declared]] = {}
        self._known: dict[int, Module] = {}
        self._members = members()
        self._declarations = Budget(MAX_DECLARED, "classes and names in its code")

    def module(self, value: object, path: str, depth: int) -> Module:
        if depth > MAX_DEPTH:
            raise too_deep(path)
        if (module := self._known.get(id(value))) is not None:
            return module
        kind = self._declared(value)
        pairs = pairs_of(value.state) if isinstance(value, Made) else None
        if kind is None or not kind.is_module or pairs is None:
            raise BadModelFileError(
                f"the archive's object {path[:80] or 'at the root'!r} is {called(value)}, which is not a TorchScript "
                "module with its attributes. Save a scripted torch.nn.Module with torch.jit.save."
            )
        self._members.take(len(pairs))
        attributes = [(name, held) for name, held in pairs if isinstance(name, str)]
        if len({name for name, _ in attributes}) != len(pairs):
            raise BadModelFileError(f"the module {path[:80]!r} has an attribute twice. Save the model again.")
        module = Module(
            class_name=made_by(value).rpartition(".")[2],
            params=_tensors(attributes, kind.params, path),
            buffers=_tensors(attributes, kind.buffers - kind.params, path),
            children=tuple(
                (name, self.module(held, joined(path, name), depth + 1))
                for name, held in attributes
                if (inner := self._declared(held)) is not None and inner.is_module
            ),
            kernel_size=kind.kernel_size,
        )
        self._known[id(value)] = module
        return module

    def _declared(self, value: object) -> Declared | None:
        """What the code says of the value's class; None for a value that is no TorchScript object."""
        if not is_script(value) or not isinstance(value, Made) or not isinstance(value.callee, Global):
            return None
        file = f"code/{value.callee.module.replace('.', '/')}.py"
        if file not in self._files:
            self._files[file] = declared(self._code(file), self._declarations)
        return self._files[file].get(value.callee.name)


def _tensors(attributes: list[tuple[str, object]], names: frozenset[str], path: str) -> tuple[tuple[str, Tensor], ...]:
    """Params and buffers may be None; whatever else is no tensor is no state."""
    held = ((name, value) for name, value in attributes if name in names and is_tensor(value))
    return tuple((name, tensor(value, joined(path, name))) for name, value in held)

"""What the source says of itself, found without running it: crash points, transactions, and who writes rows."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import hansa

ROOT = Path(hansa.__file__).parent
SERVER = ROOT / "server"

BULK_WRITERS = frozenset({"bulk_create", "bulk_update"})
WRITERS = frozenset({"create", "get_or_create", "update_or_create", "update", "delete", "save"})
"""Methods of managers, query sets and rows. They take their values by name, and so are told from others' namesakes."""
CHANGING_SETS = frozenset({"add", "remove", "set", "clear"})
"""Methods that change many-to-many rows, where they are called of something that ends in `_set`."""


@dataclass(frozen=True)
class Function:
    """A function of a module. `name` is that of the class and the method, with a dot, for methods."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"


@dataclass(frozen=True)
class Use:
    """One place where a function writes a row, or names another function."""

    of: Function
    protected: bool
    """Whether the place is within a named change."""


@cache
def modules(folder: Path = ROOT) -> tuple[tuple[str, ast.Module], ...]:
    """Every module below a folder by its name, migrations excepted: they run before anything is served."""
    return tuple(
        (
            ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"),
            ast.parse(path.read_text()),
        )
        for path in sorted(folder.rglob("*.py"))
        if "migrations" not in path.parts
    )


def literals(function: str) -> list[str]:
    """What any call in the source gives this function first, as a literal; of an f-string a star for what varies."""
    return [
        "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in _parts(node.args[0]))
        for _, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _named(node.func) == function and node.args
    ]


def _parts(text: ast.expr) -> list[ast.expr]:
    return text.values if isinstance(text, ast.JoinedStr) else [text]


def unprotected_writers(folder: Path = SERVER) -> set[str]:
    """The functions that write rows outside every change, and can be called by somebody who is not within one."""
    writes, uses = _survey(folder)
    named = set(uses) | {use.of for places in uses.values() for use in places} | set(writes)
    # Called from outside: who is named nowhere (a view's method), and who is named by such a one outside a change.
    outside = {function for function in named if all(use.of == function for use in uses[function])}
    found = outside
    while found:
        found = {
            function
            for function in named - outside
            if any(use.of in outside and not use.protected for use in uses[function])
        }
        outside |= found
    loose = {function for function, places in writes.items() if not all(place.protected for place in places)}
    return {str(function) for function in loose & outside}


def _survey(folder: Path) -> tuple[dict[Function, list[Use]], dict[Function, list[Use]]]:
    """Of every function the places where it writes, and the places where it is named."""
    writes: dict[Function, list[Use]] = defaultdict(list)
    uses: dict[Function, list[Use]] = defaultdict(list)
    for module, tree in modules(folder):
        names = _names(module, tree)
        for function, body in _functions(module, tree):
            for node, protected in _placed(body):
                if _writes(node):
                    writes[function].append(Use(function, protected))
                if (named := _resolved(node, names)) is not None:
                    uses[named].append(Use(function, protected))
    return writes, uses


def _functions(module: str, tree: ast.Module) -> Iterator[tuple[Function, ast.AST]]:
    """The functions and methods of a module, and last the module itself without them, under the name "<module>"."""
    rest: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Function(module, node.name), node
        elif isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield Function(module, f"{node.name}.{method.name}"), method
        else:
            rest.append(node)
    yield Function(module, "<module>"), ast.Module(rest, [])


def _names(module: str, tree: ast.Module) -> dict[str, str]:
    """What the names of a module stand for: its own functions, and what it imports."""
    names = {function.name: str(function) for function, _ in _functions(module, tree) if "." not in function.name}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("hansa."):
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}:{alias.name}"
    return names


def _resolved(node: ast.AST, names: dict[str, str]) -> Function | None:
    """The function that a name, or an attribute of an imported module, stands for."""
    match node:
        case ast.Name(id=name, ctx=ast.Load()) if name in names:
            return Function(*names[name].split(":"))
        case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in names:
            return Function(names[name].replace(":", "."), attribute)
    return None


def _placed(node: ast.AST, *, protected: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Every node below, and whether it is within `with change(…)`, or a transaction that names its points itself."""
    for child in ast.iter_child_nodes(node):
        yield child, protected
        if isinstance(child, ast.With) and _is_change(child):
            yield from ((inner, True) for inner, _ in _placed(child, protected=True))
        else:
            yield from _placed(child, protected=protected)


def _is_change(block: ast.With) -> bool:
    """`with change(…)`, or a transaction that passes a crash point itself."""
    openings = [item.context_expr for item in block.items]
    opened = {_named(each.body if isinstance(each, ast.IfExp) else each) for each in openings}
    inside = {_named(node) for node in ast.walk(block) if isinstance(node, ast.Call)}
    return "change" in opened or ("atomic" in opened and "crash_point" in inside)


def _writes(node: ast.AST) -> bool:
    """Whether a call writes rows."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    name, of = node.func.attr, _named(node.func.value)
    if name in WRITERS:
        return not node.args and (name != "update" or bool(node.keywords))
    return name in BULK_WRITERS or (name in CHANGING_SETS and of.endswith("_set"))


def _named(node: ast.expr) -> str:
    """The last part of a name: `b` of `a.b`, and of `a.b(…)`."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(attr=name):
            return name
        case ast.Call(func=function):
            return _named(function)
    return ""

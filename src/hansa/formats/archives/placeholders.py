"""What a pickle says, as values that do nothing.

None of them compares, hashes or prints what it holds: a hostile pickle nests as deep as it likes, or in a circle, and
whoever looks at it goes only as deep as he asks.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

Pair = tuple[object, object]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Global:
    """The name of a class or a function. Nothing is looked up."""

    module: str
    name: str

    @property
    def dotted(self) -> str:
        """Module and name in one."""
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False, repr=False)
class Made:
    """What a call would have made: `callee(*args)`, then filled and given its state."""

    callee: object
    args: object
    state: object = None
    pairs: list[Pair] | None = None
    """Set one by one, as a dictionary's items."""
    index: dict[str, object] | None = None
    """See `get`."""


@dataclass(slots=True, eq=False, repr=False)
class Pairs:
    """A dictionary, as it was written: keys may be anything, and come twice."""

    pairs: list[Pair] = field(default_factory=list)
    index: dict[str, object] | None = None
    """See `get`."""


@dataclass(slots=True, eq=False, repr=False)
class Group:
    """A set."""

    items: list[object] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Persistent:
    """A reference to something outside the pickle: in torch's files, a storage."""

    key: object


DICTIONARIES: Final = frozenset({"collections.OrderedDict", "collections.defaultdict", "builtins.dict"})
SETS: Final = frozenset({"__builtin__.set", "builtins.set", "__builtin__.frozenset", "builtins.frozenset"})


def made_by(value: object) -> str:
    """The dotted name of what would have made the value, or "" if it is not such a value."""
    return value.callee.dotted if isinstance(value, Made) and isinstance(value.callee, Global) else ""


def arguments(value: object) -> tuple[object, ...]:
    """What it would have been called with."""
    return value.args if isinstance(value, Made) and isinstance(value.args, tuple) else ()


def pairs_of(value: object) -> list[Pair] | None:
    """The items of a dictionary, ordered or not; None for anything else."""
    if isinstance(value, Pairs):
        return value.pairs
    if made_by(value) in DICTIONARIES and isinstance(value, Made) and not arguments(value):
        return value.pairs or []
    return None


def get(value: object, key: str) -> object:
    """What a dictionary has under a text; the last one, as a reader of pickles would; None if there is none.

    The first question makes an index of the dictionary, which may be shared by many who ask. It is filled by then.
    """
    pairs = pairs_of(value)
    if not pairs or not isinstance(value, Pairs | Made):
        return None
    if value.index is None:
        value.index = {name: held for name, held in pairs if isinstance(name, str)}
    return value.index.get(key)


def items_of(value: object) -> Iterator[object]:
    """The items of a list, a tuple or a set; none for anything else."""
    if made_by(value) in SETS:
        value = next(iter(arguments(value)), ())
    if isinstance(value, Group):
        yield from value.items
    elif isinstance(value, list | tuple):
        yield from value


def called(value: object) -> str:
    """What a person calls such a value, for a message."""
    if isinstance(value, Made):
        return made_by(value) or "an object of unknown class"
    if isinstance(value, Global):
        return f"the name {value.dotted}"
    return _CALLED.get(type(value), "something else")


_CALLED: Final = {
    Pairs: "a dictionary",
    Group: "a set",
    Persistent: "a storage",
    list: "a list",
    tuple: "a tuple",
    str: "text",
    bytes: "bytes",
    bool: "a truth value",
    int: "a number",
    float: "a number",
    type(None): "nothing",
}

"""Records every message of the wire, as one version of the code writes and reads it.

Done once for each version:

    git archive <commit> src/hansa/protocol src/hansa/__init__.py | tar x -C <folder>
    PYTHONPATH=<folder>/src python tests/golden/record.py tests/golden/protocol/v<version>

v1 is of commit 2840c7f, the last that spoke version 1 of the protocol; v2 of commit 0d18164, v3 of commit 93532f4; v4
of the first that had all of it. What is recorded stays as it is: that later code still reads it is the point.
`test_recorded_messages.py` compares a digest of each folder.

A file per message has its JSON Schema, and examples: first with nothing but what is required, then with everything, in
as many variants as it takes for each value of an enumeration, each member of a union, a list empty and filled, and an
explicit null to have occurred. `sent` is what is on the wire, `read` what the code made of it, defaults filled in.
"""

import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
from msgspec import inspect as types

from hansa.protocol import accounts, base, calibration, encodings, errors, models, tasks, trainings

MODULES = (accounts, calibration, encodings, errors, models, tasks, trainings)
HEX = "0123456789abcdef" * 4
MAX_DEPTH = 4
"""Messages hold one another; a record of a record of a record is deep enough."""

Json = Any  # Any: a JSON value
Message = type[msgspec.Struct]


def messages(modules: tuple[ModuleType, ...] = MODULES) -> dict[str, Message]:
    """Every message by its name with its module's: tasks.TaskReport."""
    return {
        f"{module.__name__.rpartition('.')[2]}.{name}": message
        for module in modules
        for name, message in vars(module).items()
        if inspect.isclass(message)
        and issubclass(message, base.Request | base.Answer)
        and message.__module__ == module.__name__
    }


def sent_by(message: Message) -> str:
    """Which end sends it."""
    return "client" if issubclass(message, base.Request) else "server"


def schema(message: Message) -> Json:
    """Its JSON Schema, without what is written for people."""
    return _bare(msgspec.json.schema(message))


def _bare(node: Json) -> Json:
    if isinstance(node, list):
        return [_bare(each) for each in node]
    if not isinstance(node, dict):
        return node
    of_people = {key for key in ("title", "description") if isinstance(node.get(key), str)}
    return {key: _bare(value) for key, value in node.items() if key not in of_people}


def examples(message: Message) -> list[dict[str, Json]]:
    """The message with what is required, and then in full, in as many variants as its parts have."""
    required = {field.encode_name: _first(field.type) for field in _fields(message) if field.required}
    whole = [
        {field.encode_name: values[turn % len(values)] for field, values in _values(message)}
        for turn in range(max((len(values) for _, values in _values(message)), default=1))
    ]
    return [required, *(each for each in whole if each != required)]


def _fields(message: Message) -> tuple[types.Field, ...]:
    found = types.type_info(message)
    assert isinstance(found, types.StructType)
    return found.fields


def _values(message: Message) -> list[tuple[types.Field, list[Json]]]:
    return [(field, list(_some(field.type, MAX_DEPTH))) for field in _fields(message)]


def _first(kind: types.Type) -> Json:
    return next(_some(kind, MAX_DEPTH))


def _some(kind: types.Type, depth: int) -> Iterator[Json]:  # noqa: PLR0912  # a table
    """Some valid JSON values of a type, the plainest first."""
    match kind:
        case types.Metadata(type=inner):
            yield from _some(inner, depth)
        case types.StructType(fields=fields):
            parts = [(field.encode_name, list(_some(field.type, depth - 1))) for field in fields]
            for turn in range(max((len(values) for _, values in parts), default=1) if depth == MAX_DEPTH else 1):
                yield {name: values[turn % len(values)] for name, values in parts}
        case types.StrType(pattern=pattern):
            lengths = [length for length in (64, 40) if pattern and f"{{{length}}}" in pattern]
            yield HEX[: lengths[0]] if lengths else "alice"
        case types.IntType():
            yield 3
        case types.FloatType():
            yield 0.25
            yield 1
        case types.BoolType():
            yield True
            yield False
        case types.NoneType():
            yield None
        case types.ListType(item_type=item, min_length=least):
            yield [_once(item, depth - 1)]
            if not least:
                yield []
        case types.DictType(value_type=value):
            yield {"loss": _once(value, depth - 1)}
            yield {}
        case types.EnumType(cls=enum):
            yield from (member.value for member in enum)
        case types.LiteralType(values=values):
            yield from values
        case types.UnionType(types=members):
            for member in members:
                yield _once(member, depth)
        case types.AnyType():
            yield {"anything": [1, None, "text"]}
        case _:
            raise AssertionError(f"messages held no {kind} so far; say here what one looks like")


def _once(kind: types.Type, depth: int) -> Json:
    return next(_some(kind, depth))


def record(folder: Path) -> None:
    """A file for every message. Nothing that was recorded is ever replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        sys.exit(f"{folder} holds a record already; it is never made again")
    for name, message in messages().items():
        recorded = {
            "message": name,
            "sent_by": sent_by(message),
            "schema": schema(message),
            "examples": [
                {"sent": sent, "read": msgspec.to_builtins(msgspec.json.decode(json.dumps(sent), type=message))}
                for sent in examples(message)
            ],
        }
        text = json.dumps(recorded, indent=1, ensure_ascii=False, sort_keys=False)
        (folder / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    record(Path(sys.argv[1]))

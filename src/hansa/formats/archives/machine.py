"""A pickle machine that builds only placeholders. It has no instruction that could import or call.

It knows the opcodes of protocols 2 to 5 that torch's writers use, in Python and in C++; others are refused by their
name. Memory is bounded by three counts, whatever the pickle claims: lengths are compared with what is left of the
pickle before anything is taken, memo indices are keys and not sizes, and nothing here recurses. Names and texts are
such as can be printed or at least encoded, so that whoever quotes or stores one later can.
"""

import pickletools
import struct
from collections.abc import Callable
from typing import Final

from hansa.core.params import name_fault
from hansa.formats.archives.placeholders import Global, Group, Made, Pairs, Persistent
from hansa.formats.errors import BadModelFileError

MAX_OPCODES = 2_000_000
MAX_OBJECTS = 1_000_000
"""Strings, numbers, containers and objects, what containers hold, and what is kept for later: about 25 for each tensor
of a state dict."""
MAX_TEXT = 2**20
"""Bytes of one string."""
MAX_INTEGER = 9
"""Bytes of one long integer: sizes have eight, and a sign."""

_ADVICE = "Save the model again with torch.save or torch.jit.save of torch 1.6 or later."


def read_pickle(content: bytes, what: str) -> object:
    """The value a pickle describes. `what` names it in messages. Raises BadModelFileError for any other bytes."""
    machine = _Machine(content, what)
    for _ in range(MAX_OPCODES):
        code = machine.take(1)[0]
        if code == _STOP:
            return machine.result()
        step = _STEPS.get(code)
        if step is None:
            raise machine.unknown(code)
        step(machine)
    raise machine.fault(f"has more than {MAX_OPCODES:,} instructions, the most that are read", "Use fewer arrays.")


class _Machine:
    def __init__(self, content: bytes, what: str) -> None:
        self.content = content
        self.what = what
        self.at = 0
        self.stack: list[object] = []
        self.marks: list[int] = []
        self.memo: dict[int, object] = {}
        self.objects = 0

    def fault(self, seen: str, advice: str = _ADVICE) -> BadModelFileError:
        return BadModelFileError(f"{self.what} {seen}. {advice}")

    def unknown(self, code: int) -> BadModelFileError:
        known = _NAMES.get(chr(code))
        named = f"the instruction {known}" if known else f"the byte {code:#04x} where an instruction stands"
        return self.fault(f"has {named} at byte {self.at - 1}, which torch does not write")

    def take(self, count: int) -> bytes:
        start, self.at = self.at, self.at + count
        if self.at > len(self.content):
            raise self.fault(f"ends in the middle of an instruction, at byte {len(self.content)}")
        return self.content[start : self.at]

    def line(self) -> str:
        stop = self.content.find(b"\n", self.at, self.at + MAX_TEXT)
        if stop < 0:
            raise self.fault(f"has a name without end at byte {self.at}")
        return self.text(stop + 1 - self.at)[:-1]

    def text(self, count: int, encoding: str = "utf-8") -> str:
        try:
            return self.raw(count).decode(encoding)
        except UnicodeDecodeError as error:
            raise self.fault(f"has text that is not {encoding} before byte {self.at}") from error

    def raw(self, count: int) -> bytes:
        if count > MAX_TEXT:
            raise self.fault(f"has a string of {count:,} bytes at byte {self.at}; the limit is {MAX_TEXT:,}")
        return self.take(count)

    def unsigned(self, count: int) -> int:
        return int.from_bytes(self.take(count), "little")

    def new(self, value: object) -> None:
        self.count(1)
        self.stack.append(value)

    def count(self, objects: int) -> None:
        self.objects += objects
        if self.objects > MAX_OBJECTS:
            raise self.fault(f"describes more than {MAX_OBJECTS:,} objects, the limit", "Use fewer arrays.")

    def named(self, module: str, name: str) -> None:
        for part in (module, name):
            if fault := name_fault(part):
                raise self.fault(f"names a class by {part[:80]!r}, before byte {self.at}: {fault}")
        self.new(Global(module, name))

    def keep(self, index: int) -> None:
        if index not in self.memo:
            self.count(1)
        self.memo[index] = self.top()

    def pop(self) -> object:
        if not self.stack:
            raise self.fault(f"takes from an empty stack at byte {self.at - 1}")
        return self.stack.pop()

    def top(self) -> object:
        if not self.stack:
            raise self.fault(f"looks at an empty stack at byte {self.at - 1}")
        return self.stack[-1]

    def since_mark(self) -> list[object]:
        if not self.marks or self.marks[-1] > len(self.stack):
            raise self.fault(f"goes back to a mark that it never set, at byte {self.at - 1}")
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def last(self, count: int) -> tuple[object, ...]:
        values = [self.pop() for _ in range(count)]
        return tuple(reversed(values))

    def result(self) -> object:
        if self.at != len(self.content):
            raise self.fault(f"ends at byte {self.at}, but has {len(self.content)}")
        if len(self.stack) != 1:
            raise self.fault(f"describes {len(self.stack)} values; it is one")
        return self.stack[0]


def _protocol(machine: _Machine) -> None:
    if not 2 <= (protocol := machine.unsigned(1)) <= 5:
        raise machine.fault(f"is written in pickle protocol {protocol}; 2 to 5 are read")


def _frame(machine: _Machine) -> None:
    machine.unsigned(8)  # how much to read ahead: all of it is here


def _long(machine: _Machine) -> None:
    if (count := machine.unsigned(1)) > MAX_INTEGER:
        raise machine.fault(f"has an integer of {count} bytes at byte {machine.at - 2}; the limit is {MAX_INTEGER}")
    machine.new(int.from_bytes(machine.take(count), "little", signed=True))


def _float(machine: _Machine) -> None:
    machine.new(struct.unpack(">d", machine.take(8))[0])


def _text(width: int) -> "Callable[[_Machine], None]":
    return lambda machine: machine.new(machine.text(machine.unsigned(width)))


def _old_text(width: int) -> "Callable[[_Machine], None]":
    """A string of Python 2."""
    return lambda machine: machine.new(machine.text(machine.unsigned(width), "latin-1"))


def _bytes(width: int) -> "Callable[[_Machine], None]":
    return lambda machine: machine.new(machine.raw(machine.unsigned(width)))


def _constant(value: object) -> "Callable[[_Machine], None]":
    return lambda machine: machine.stack.append(value)


def _name(machine: _Machine) -> None:
    machine.named(machine.line(), machine.line())


def _name_from_stack(machine: _Machine) -> None:
    module, name = machine.last(2)
    if not isinstance(module, str) or not isinstance(name, str):
        raise machine.fault(f"names a class by something that is not text, at byte {machine.at - 1}")
    machine.named(module, name)


def _make(machine: _Machine) -> None:
    callee, args = machine.last(2)
    machine.new(Made(callee, args))


def _make_with_keywords(machine: _Machine) -> None:
    callee, args, _ = machine.last(3)
    machine.new(Made(callee, args))


def _give_state(machine: _Machine) -> None:
    state, made = machine.pop(), machine.top()
    if not isinstance(made, Made) or made.state is not None:
        raise machine.fault(f"gives a state to what has none, or has one already, at byte {machine.at - 1}")
    made.state = state


def _append(machine: _Machine) -> None:
    _extend(machine, [machine.pop()])


def _appends(machine: _Machine) -> None:
    _extend(machine, machine.since_mark())


def _extend(machine: _Machine, values: list[object]) -> None:
    """Items of list subclasses are dropped: nothing that is read holds any."""
    target = machine.top()
    machine.count(len(values))
    if isinstance(target, list):
        target.extend(values)
    elif not isinstance(target, Made):
        raise machine.fault(f"appends to what is no list, at byte {machine.at - 1}")


def _set_item(machine: _Machine) -> None:
    _set(machine, list(machine.last(2)))


def _set_items(machine: _Machine) -> None:
    _set(machine, machine.since_mark())


def _set(machine: _Machine, values: list[object]) -> None:
    target = machine.top()
    if not isinstance(target, Pairs | Made) or len(values) % 2:
        raise machine.fault(f"sets items of what is no dictionary, or half an item, at byte {machine.at - 1}")
    machine.count(len(values) // 2)
    if target.pairs is None:
        target.pairs = []
    target.pairs.extend(zip(values[::2], values[1::2], strict=True))


def _add_items(machine: _Machine) -> None:
    values, target = machine.since_mark(), machine.top()
    if not isinstance(target, Group):
        raise machine.fault(f"adds items to what is no set, at byte {machine.at - 1}")
    machine.count(len(values))
    target.items.extend(values)


def _put(width: int) -> "Callable[[_Machine], None]":
    def step(machine: _Machine) -> None:
        machine.keep(machine.unsigned(width))

    return step


def _get(width: int) -> "Callable[[_Machine], None]":
    def step(machine: _Machine) -> None:
        index = machine.unsigned(width)
        if index not in machine.memo:
            raise machine.fault(f"refers to value {index}, which it never kept, at byte {machine.at - width - 1}")
        machine.stack.append(machine.memo[index])

    return step


def _memoize(machine: _Machine) -> None:
    machine.keep(len(machine.memo))


_NAMES: Final = {opcode.code: opcode.name for opcode in pickletools.opcodes}
"""Of all opcodes there are, for messages."""
_STOP: Final = ord(".")
_STEPS: Final[dict[int, Callable[[_Machine], None]]] = {
    ord(code): step
    for code, step in {
        "\x80": _protocol,
        "\x95": _frame,
        "N": _constant(None),
        "\x88": _constant(True),
        "\x89": _constant(False),
        "K": lambda machine: machine.stack.append(machine.take(1)[0]),
        "M": lambda machine: machine.new(machine.unsigned(2)),
        "J": lambda machine: machine.new(int.from_bytes(machine.take(4), "little", signed=True)),
        "\x8a": _long,
        "G": _float,
        "X": _text(4),
        "\x8c": _text(1),
        "\x8d": _text(8),
        "U": _old_text(1),
        "T": _old_text(4),
        "B": _bytes(4),
        "C": _bytes(1),
        "\x8e": _bytes(8),
        "\x96": _bytes(8),
        "(": lambda machine: machine.marks.append(len(machine.stack)),
        "0": lambda machine: machine.pop() and None,
        "1": lambda machine: machine.since_mark() and None,
        ")": _constant(()),
        "t": lambda machine: machine.new(tuple(machine.since_mark())),
        "\x85": lambda machine: machine.new(machine.last(1)),
        "\x86": lambda machine: machine.new(machine.last(2)),
        "\x87": lambda machine: machine.new(machine.last(3)),
        "]": lambda machine: machine.new([]),
        "}": lambda machine: machine.new(Pairs()),
        "\x8f": lambda machine: machine.new(Group()),
        "\x91": lambda machine: machine.new(Group(machine.since_mark())),
        "e": _appends,
        "a": _append,
        "u": _set_items,
        "s": _set_item,
        "\x90": _add_items,
        "c": _name,
        "\x93": _name_from_stack,
        "R": _make,
        "\x81": _make,
        "\x92": _make_with_keywords,
        "b": _give_state,
        "Q": lambda machine: machine.new(Persistent(machine.pop())),
        "q": _put(1),
        "r": _put(4),
        "\x94": _memoize,
        "h": _get(1),
        "j": _get(4),
    }.items()
}

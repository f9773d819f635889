"""What a command prints: on stdout its answer, on stderr everything else.

Answers are tables for people, or with --json one JSON document for programs. Texts of other people enter a table as
plain, cleaned text, so that no name can colour, move or forge what stands around it.
"""

import json
import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TextIO

import msgspec
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from hansa.client.plaintext import clean


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table. `give`: what becomes of its texts when the terminal is narrow, before any other's."""

    title: str
    align: Literal["left", "right"] = "left"
    give: Literal["", "cut", "wrap"] = ""
    style: str = ""


def right(title: str, *, style: str = "") -> Column:
    """A column of numbers."""
    return Column(title, align="right", style=style)


def console(file: TextIO | None = None) -> Console:
    """A console that takes every text literally."""
    return Console(file=file, markup=False, emoji=False, highlight=False)


def table(columns: Sequence[Column], rows: Iterable[Sequence[str | Text]]) -> Table:
    """A table without frames; cells are cleaned."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for column in columns:
        made.add_column(_cell(column.title, column), justify=column.align, style=column.style, no_wrap=not column.give)
    for row in rows:
        made.add_row(*(_cell(cell, column) for cell, column in zip(row, columns, strict=True)))
    return made


def _cell(content: str | Text, column: Column) -> Text:
    cell = content if isinstance(content, Text) else Text(clean(content))
    if column.give == "cut":
        cell.no_wrap, cell.overflow = True, "ellipsis"
    elif column.give == "wrap":
        cell.overflow = "fold"  # a digest or a path that is too long goes on in the next line: it is to be copied
    return cell


def facts(pairs: Iterable[tuple[str, str | Text]]) -> Table:
    """Names and values, one pair a line; pairs without a value are left out."""
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        if value:
            made.add_row(name, value if isinstance(value, Text) else Text(clean(value)))
    return made


def print_json(value: Any) -> None:  # Any: Structs and what they are made of
    """One JSON document on stdout. Other than ASCII is escaped: it may end up in somebody's terminal."""
    json.dump(msgspec.to_builtins(value), sys.stdout, indent=2)
    sys.stdout.write("\n")


def say(*lines: str) -> None:
    """Lines for people on stdout, to be copied if they like: not wrapped."""
    for line in lines:
        sys.stdout.write(clean(line) + "\n")


def note(line: str) -> None:
    """A remark on stderr: about the answer, not part of it."""
    sys.stderr.write(clean(line) + "\n")


def complain(message: str, choices: RenderableType | None = None) -> None:
    """An error on stderr, and what to choose from."""
    _err().print(Text.assemble(("error: ", "bold red"), clean(message)), soft_wrap=True)
    if choices is not None:
        _err().print(choices)


def warnings_as_lines() -> None:
    """Python warnings (credentials travelling unencrypted) as one line for people, without the place in the code."""

    def show(message: Warning | str, category: type[Warning], *_rest: object, **_more: object) -> None:
        warn(str(message))

    warnings.showwarning = show


def warn(message: str) -> None:
    """What is done as it was asked for, and will hardly be what was meant, on stderr."""
    _err().print(Text.assemble(("warning: ", "bold yellow"), clean(message)), soft_wrap=True)


def _err() -> Console:
    return console(sys.stderr)

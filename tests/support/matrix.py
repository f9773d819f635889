"""A table of who may do what, written as text, and the paths that the server really has.

A row is `METHOD path [note]` and twelve cells: what seven roles get of an object of their own federation, and what the
five that belong to one, or to none, get of another federation's. `<name>` in a path stands for an object. `-`: there is
no object in it. OPTIONS and OTHER say what holds for those methods that have no row; with the path `*` for all paths
that have no such row of their own.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from django.urls import URLPattern, URLResolver

ROLES = ("anonymous", "stranger", "participant", "actor", "owner", "staff", "root")
FOREIGN_ROLES = ROLES[2:]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
NONE = "-"

CONVERTERS = {
    **dict.fromkeys(("model", "idle", "swag", "mean", "local", "swag-local", "peers", "dealt"), "<uuid:model_id>"),
    **dict.fromkeys(("training", "draft", "paused", "chain"), "<uuid:training_id>"),
    **dict.fromkeys(("task", "peers-task"), "<uuid:task_id>"),
    **dict.fromkeys(("me", "user"), "<uuid:user_id>"),
    **dict.fromkeys(("my-token", "token"), "<uuid:token_id>"),
    "invitation": "<uuid:invitation_id>",
    "group": "<int:group_id>",
    "digest": "<str:digest>",
    "version": "<int:number>",
    "round": "<int:number>",
}
"""What the server's own patterns have in the place of each object."""

_NAME = re.compile("<([a-z-]+)>")


@dataclass(frozen=True)
class Row:
    """What all roles get for one request."""

    method: str
    path: str
    note: str
    """Which of several requests with this method and path it is."""
    own: Mapping[str, str]
    foreign: Mapping[str, str]
    """Empty where the path and the body name no object."""

    @property
    def label(self) -> str:
        """How the row begins."""
        return " ".join(part for part in (self.method, self.path, self.note) if part)

    @property
    def pattern(self) -> str:
        """As it stands in the server's list of paths."""
        return _NAME.sub(lambda match: CONVERTERS[match[1]], self.path)

    def url(self, named: Mapping[str, str]) -> str:
        """With these objects."""
        return "/api/" + _NAME.sub(lambda match: named[match[1]], self.path)

    def cells(self, role: str) -> Iterator[tuple[str, str]]:
        """Whose object, "own" or "foreign", and what is wanted of it."""
        yield "own", self.own[role]
        if role in self.foreign:
            yield "foreign", self.foreign[role]


class Table:
    """The rows of a text, and the rows that follow from them."""

    def __init__(self, text: str) -> None:
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
        self._written = [_row(line) for line in lines]
        labels = [row.label for row in self._written]
        assert len(set(labels)) == len(labels), f"twice: {[label for label in labels if labels.count(label) > 1]}"

    @cached_property
    def rows(self) -> list[Row]:
        """Those of requests, as they are written."""
        return [row for row in self._written if row.method in METHODS and row.method != "OPTIONS"]

    @property
    def patterns(self) -> set[str]:
        """The paths that have a row of their own."""
        return {row.pattern for row in self.rows}

    @cached_property
    def implied(self) -> list[Row]:
        """Of every path, for its first object, those methods that have no row: HEAD is as GET, the rest is ruled."""
        return [row for pattern in sorted(self.patterns) for row in self._implied(pattern)]

    def _implied(self, pattern: str) -> Iterator[Row]:
        of_path = [row for row in self.rows if row.pattern == pattern]
        has = {row.method for row in of_path}
        for method in METHODS:
            if method in has:
                continue
            if method == "HEAD" and "GET" in has:
                yield from (_head(row) for row in of_path if row.method == "GET")
            else:
                rule = self._rule("OPTIONS" if method == "OPTIONS" else "OTHER", pattern)
                yield Row(method, of_path[0].path, "", rule.own, {})

    def _rule(self, method: str, pattern: str) -> Row:
        rules = {row.path: row for row in self._written if row.method == method}
        return rules.get(pattern, rules["*"])


def _head(row: Row) -> Row:
    """As GET; where that says what is in the answer, with status 200."""
    own, foreign = (
        {role: cell if cell.isdecimal() else "200" for role, cell in cells.items()} for cells in (row.own, row.foreign)
    )
    return Row("HEAD", row.path, "", own, foreign)


def _row(line: str) -> Row:
    words = line.replace("|", " ").split()
    label, cells = words[: -len(ROLES + FOREIGN_ROLES)], words[-len(ROLES + FOREIGN_ROLES) :]
    assert len(label) in (2, 3), f"not a method, a path, perhaps a note, and twelve cells: {line}"
    own, foreign = cells[: len(ROLES)], cells[len(ROLES) :]
    assert NONE not in own, line
    assert set(foreign) == {NONE} or NONE not in foreign, line
    return Row(
        method=label[0],
        path=label[1],
        note="".join(label[2:]),
        own=dict(zip(ROLES, own, strict=True)),
        foreign={} if NONE in foreign else dict(zip(FOREIGN_ROLES, foreign, strict=True)),
    )


def patterns(urls: list[URLPattern | URLResolver], prefix: str = "") -> Iterator[str]:
    """All paths that are served."""
    for each in urls:
        if isinstance(each, URLResolver):
            yield from patterns(each.url_patterns, prefix + str(each.pattern))
        else:
            yield prefix + str(each.pattern)

"""What the doctor has found: of what, how bad, what was seen, what is wanted, and what to do next."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and something should be done."""
    ERROR = "error"
    """It does not work, or is not what it was."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the examination. What is well says only what was seen."""

    check: str
    level: Level
    seen: str
    wanted: str = ""
    do: str = ""


def well(check: str, seen: str) -> Finding:
    """As it should be."""
    return Finding(check, Level.OK, seen)


def warning(check: str, seen: str, wanted: str, do: str) -> Finding:
    """Something should be done."""
    return Finding(check, Level.WARNING, seen, wanted, do)


def error(check: str, seen: str, wanted: str, do: str) -> Finding:
    """Something has to be done."""
    return Finding(check, Level.ERROR, seen, wanted, do)


def counted(number: int, one: str, many: str = "") -> str:
    """A number with its noun.

    >>> counted(1, "blob"), counted(2, "blob"), counted(0, "copy", "copies")
    ('1 blob', '2 blobs', '0 copies')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def listed(items: list[str], most: int = 5) -> str:
    """The first few, and how many more there are."""
    more = len(items) - most
    return ", ".join(items[:most]) + (f" and {more:,} more" if more > 0 else "")

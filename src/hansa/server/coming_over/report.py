"""What is told about a coming over: of everything that was found what becomes of it, and why."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What is told apart. The order is that of the table, and of the writing."""

    GROUP = "groups"
    USER = "users"
    TOKEN = "tokens"  # noqa: S105  # a word, no secret
    MODEL = "models"
    TRAINING = "trainings"
    METRIC = "metrics"


class Fate(StrEnum):
    """What becomes of a row."""

    TAKEN = "taken"
    """Or would be, if this is a dry run."""
    HERE = "here"
    """It is here already, under the same id; it is left as it is."""
    REFUSED = "refused"
    """It cannot be taken; the reason says what to do."""
    LEFT = "left"
    """It is left behind on purpose."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What becomes of one row, or of `count` alike."""

    kind: Kind
    id: str
    name: str
    fate: Fate
    reason: str = ""
    """Of what is refused or left; empty otherwise."""
    remarks: tuple[str, ...] = ()
    """What of it is not as it was there."""
    count: int = 1


@dataclass(frozen=True, slots=True)
class Report:
    """All of it. `applied`: it was done, not only looked at."""

    source: str
    applied: bool
    entries: tuple[Entry, ...]

    def count(self, kind: Kind, fate: Fate) -> int:
        """How many rows of a kind have that fate."""
        return sum(entry.count for entry in self.entries if entry.kind is kind and entry.fate is fate)

    @property
    def complete(self) -> bool:
        """Whether nothing is refused."""
        return all(entry.fate is not Fate.REFUSED for entry in self.entries)


def gathered(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """One entry for those that are alike in all but their count."""
    counts: Counter[Entry] = Counter()
    for entry in entries:
        counts[_once(entry)] += entry.count
    return tuple(
        Entry(each.kind, each.id, each.name, each.fate, each.reason, each.remarks, count)
        for each, count in counts.items()
    )


def _once(entry: Entry) -> Entry:
    return Entry(entry.kind, entry.id, entry.name, entry.fate, entry.reason, entry.remarks)

"""What may be wrong with a record, and how it is told."""

from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """What may not be."""

    LOST = "lost"
    """A report that was acknowledged counts nowhere, or in a version that nothing goes on from; something that was
    made, or the bytes of something that is referred to, are gone."""
    DUPLICATED = "duplicated"
    """An update counts more often than it was reported, or a round was carried through more than once."""
    DIFFERING = "differing_versions"
    """Computed again, a version has other bits; or it cannot be computed again, or came about against the plan."""
    STUCK = "stuck"
    """A training did not complete, or not all of it; or something in a completed one is still waited for."""
    ORPHAN = "orphans"
    """A row without the row that it belongs to."""
    UNREFERENCED = "unreferenced"
    """After collection, a blob that no row refers to, or a file that no row knows."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    fault: Fault
    text: str

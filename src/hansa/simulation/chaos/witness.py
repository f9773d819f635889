"""What the actor was told while the storm went on, to be held against the record."""

from dataclasses import dataclass, field


@dataclass
class Witness:
    """Ids are hexadecimal, without dashes, as in a record."""

    models: set[str] = field(default_factory=set)
    """Of which the server said that it has made them."""
    trainings: set[str] = field(default_factory=set)
    denied: set[str] = field(default_factory=set)
    """Trainings of which it said later that there is no such."""
    pauses: int = 0
    """How often a training was seen to pause, each time it did. Nobody has asked for one: the server decides so."""


def bare(uuid: str) -> str:
    """An id as rows have it.

    >>> bare("ca761232-ed42-11ce-bacd-00aa0057b223")
    'ca761232ed4211cebacd00aa0057b223'
    """
    return uuid.replace("-", "")

"""Names of models that are made from others."""

import re

from hansa.server.registry.models import Model

LONGEST = 256
_NUMBERED = re.compile(r"(?P<name>.+) \((?P<number>\d{1,9})\)", re.DOTALL)


def name_of_copy(name: str) -> str:
    """Of "digits" it is "digits (2)", or the next number that no model has; also for a copy of a copy."""
    numbered = _NUMBERED.fullmatch(name)
    original = numbered["name"] if numbered else name
    number = int(numbered["number"]) + 1 if numbered else 2
    taken = set(Model.objects.filter(name__startswith=original[: LONGEST - 12]).values_list("name", flat=True))
    while (copied := _numbered(original, number)) in taken:
        number += 1
    return copied


def _numbered(name: str, number: int) -> str:
    ending = f" ({number})"
    return f"{name[: LONGEST - len(ending)]}{ending}"

"""JSON that somebody typed or pasted into a form. Pure."""

import json
from collections.abc import Iterator
from typing import Any, Final

import msgspec

LONGEST: Final = 100_000
"""Characters."""
DEEPEST: Final = 32
"""Lists and objects within each other; a plan has five."""


def read(text: str) -> Any:  # Any: any JSON
    """What it says. Raises ValueError with a sentence of what is wrong.

    >>> read('{"rounds": 20}')
    {'rounds': 20}
    >>> read("[" * 40 + "]" * 40)
    Traceback (most recent call last):
    ValueError: This is nested deeper than 32 lists and objects.
    """
    if len(text) > LONGEST:
        raise ValueError(f"This has {len(text):,} characters. {LONGEST:,} are read at most.")
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise ValueError(f"This is no JSON: {_located(text) or error}.") from error
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    if any(depth > DEEPEST for depth in _depths(found)):
        raise ValueError(_TOO_DEEP)
    return found


def _depths(value: Any) -> Iterator[int]:  # Any: any JSON
    """Of every list and object in it, without recursion."""
    left = [(value, 1)]
    while left:
        each, depth = left.pop()
        if isinstance(each, dict | list):
            yield depth
            left += [(child, depth + 1) for child in (each.values() if isinstance(each, dict) else each)]


def _located(text: str) -> str:
    """What is wrong by line and column, which msgspec does not tell; empty for what Python takes, or cannot read."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return str(error)
    except (RecursionError, ValueError):
        return ""
    return ""


_TOO_DEEP: Final = f"This is nested deeper than {DEEPEST} lists and objects."

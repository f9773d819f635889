"""Texts of other people (names, reasons, what a server says), made safe to print."""

import unicodedata

_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean(text: str) -> str:
    r"""Without anything that acts on a terminal or reverses text: control, format, private and unassigned characters.

    >>> clean("a\x1b[31mb\u202ec\nd")
    'a [31mb c d'
    """
    return "".join(" " if unicodedata.category(char) in _UNPRINTABLE else char for char in text)

"""Tables as CSV. Pure."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

Cell = str | int | float | bool | None
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula. Names of clients and metrics are other people's."""


def as_csv(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """A table for a spreadsheet, in which no text is a formula.

    >>> as_csv(["client", "norm"], [["=1+1", -0.5], ["anna", None]])
    "client,norm\\r\\n'=1+1,-0.5\\r\\nanna,\\r\\n"
    """
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(columns)
    table.writerows(
        [f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell for cell in row] for row in rows
    )
    return text.getvalue()

"""Every row of the lifecycle's specification has a test: a test carries the row's id, as in `test_p3_…`."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROWS = {"p": 11, "v": 14, "l": 10, "e": 11, "r": 10, "x": 7, "b": 12}
"""How many rows there are: of policies, of `as_view`, of the order of a request, of errors, of responses, of ViewSets,
and of what goes beyond DRF."""


@cache
def _tested_rows() -> set[str]:
    """The ids in the names of all tests beside this file."""
    return {
        row
        for file in Path(__file__).parent.rglob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.lower().startswith("test_")
        for row in re.findall(r"(?<=_)[a-z]\d+(?=_)", node.name.lower())
    }


@pytest.mark.parametrize("row", [f"{kind}{number}" for kind, last in ROWS.items() for number in range(1, last + 1)])
def test_the_row_has_a_test(row: str) -> None:
    assert row in _tested_rows()

"""Every defect of the older platform has its decision, and every decision a test that there is."""

import ast
import re

import pytest

from docs.blocks import ROOT

PAGE = ROOT / "docs" / "explanation" / "older-platform.md"
DEFECTS = range(1, 42)


def rows():
    """The cells of the table of defects, by number, in their order."""
    lines = [line for line in PAGE.read_text().splitlines() if re.match(r"\| \d+ \|", line)]
    return [[cell.strip() for cell in line.strip().strip("|").split(" | ")] for line in lines]


def named_in(cells):
    """The file and the function of each test that a row names."""
    return re.findall(r"`([\w/]+\.py)::(test_\w+)`", cells[3])


def functions_in(file):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, kinds)}


def test_every_defect_stands_in_the_table_once_and_in_order():
    assert [int(cells[0]) for cells in rows()] == [*DEFECTS]
    assert all(len(cells) == 4 and all(cells) for cells in rows())


def test_every_decision_has_a_test():
    for cells in rows():
        named = [f"`{file}::{test}`" for file, test in named_in(cells)]
        assert 1 <= len(named) <= 2, cells
        assert cells[3] == ", ".join(named), "a row names tests and nothing else"


@pytest.mark.parametrize("cells", rows(), ids=lambda cells: cells[0])
def test_the_tests_that_are_named_there_are(cells):
    for file, test in named_in(cells):
        assert test in functions_in(file), f"{file} has no {test}: did it get another name?"

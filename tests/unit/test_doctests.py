"""The examples in the docstrings of the pure parts are true."""

import doctest
import importlib
import pkgutil

import pytest

PURE = ("hansa.core", "hansa.formats", "hansa.protocol", "hansa.rounds", "hansa.uncertainty")
MODULES = [
    module.name
    for package in PURE
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}.")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_true(name: str) -> None:
    module = importlib.import_module(name)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    assert doctest.testmod(module, optionflags=flags).failed == 0

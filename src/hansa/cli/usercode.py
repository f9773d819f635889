"""Things out of the user's own modules, named as `module:attribute` and imported from the current folder."""

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

from hansa.cli.exits import CommandError, ExitCode
from hansa.cli.words import listed
from hansa.client.plaintext import clean


def load(reference: str, *, having: str) -> Any:  # Any: the user's own object, known by one attribute
    """What `reference` names, or makes: a thing with an attribute `having`, or a class or function that gives one.

    CommandError if there is no such thing. What the user's code itself raises passes through: its traceback is
    what helps to mend it.
    """
    module_name, colon, attribute = reference.partition(":")
    if not (module_name and colon and attribute.isidentifier()):
        raise CommandError(
            f"{clean(reference)!r} does not name a thing in a module; wanted is module:attribute, such as "
            "trainer:trainer for `trainer` in trainer.py.",
            ExitCode.USAGE,
        )
    module = _module(module_name)
    if not hasattr(module, attribute):
        there = listed(name for name in vars(module) if name.isidentifier() and not name.startswith("_"))
        raise CommandError(f"{module_name} has no {attribute!r}; it has {there or 'nothing'}.")
    value = getattr(module, attribute)
    if inspect.isclass(value) or not hasattr(value, having):
        value = _made(value, reference)
    if not hasattr(value, having):
        raise CommandError(
            f"{reference} is a {type(value).__name__} without `{having}`; wanted is an object that has it, or a "
            "class or function that makes one."
        )
    return value


def _module(name: str) -> Any:  # Any: a module
    if name.endswith(".py") or "/" in name:
        dotted = name.removesuffix(".py").strip("./").replace("/", ".")
        raise CommandError(f"{clean(name)!r} is a file; wanted is its module: {clean(dotted)}:…", ExitCode.USAGE)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise CommandError(
                f"there is no module {error.name!r} in {here}, nor is one installed. Go to the folder it is in."
            ) from error
        raise CommandError(
            f"{name} needs the module {error.name!r}, which is not installed in {sys.prefix}."
        ) from error


def _made(value: Any, reference: str) -> Any:  # Any: the user's class or function, and what it gives
    if not callable(value):
        return value
    try:
        inspect.signature(value).bind()
    except TypeError as error:
        raise CommandError(
            f"{reference} cannot be called without arguments ({error}); wanted is one that can."
        ) from error
    return value()

"""What the code of a TorchScript archive declares of its classes. The text is looked through, never run.

    class BatchNorm2d(Module):
      __parameters__ = ["weight", "bias", ]
      __buffers__ = ["running_mean", "running_var", "num_batches_tracked", ]
      kernel_size : Final[Tuple[int, int]] = (3, 3)

Declarations stand before the methods, two spaces in, one on a line.
"""

import re
from dataclasses import dataclass
from typing import Final

from hansa.formats.archives.budget import Budget

MAX_DECLARED = 200_000
"""Classes in all code of an archive, and the params and buffers they name, together."""

_LINE: Final = re.compile(
    r"^class (?P<name>\w+)(?P<base>\(\w*\))?:"
    r"|^  (?P<key>__parameters__|__buffers__) = \[(?P<names>[^\n]*)\]$"
    r"|^  kernel_size : Final\[[\w\[\], ]{1,200}\] = \(?(?P<kernel>\d{1,9}(?:, ?\d{1,9}){0,7}),?\)?$",
    re.MULTILINE,
)
_NAME: Final = re.compile(r'"([^"\n]*)"')


@dataclass(slots=True)
class Declared:
    """One class."""

    is_module: bool
    params: frozenset[str] = frozenset()
    buffers: frozenset[str] = frozenset()
    kernel_size: tuple[int, ...] | None = None


def declared(code: str, budget: Budget) -> dict[str, Declared]:
    """The classes of one file of code, by name. Raises BadModelFileError when they leave the budget."""
    classes: dict[str, Declared] = {}
    current = Declared(is_module=False)
    for match in _LINE.finditer(code):
        if name := match["name"]:
            budget.take(1)
            current = classes.setdefault(name, Declared(match["base"] == "(Module)"))
        elif match["key"]:
            budget.take(match["names"].count('"') // 2)
            names = frozenset(_NAME.findall(match["names"]))
            if match["key"] == "__parameters__":
                current.params = names
            else:
                current.buffers = names
        else:
            current.kernel_size = tuple(int(length) for length in match["kernel"].split(","))
    return classes

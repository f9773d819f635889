"""The steps of a script's code."""

from collections.abc import Iterator

import torch


def steps(block: torch._C.Block | torch._C.Graph) -> Iterator[torch._C.Node]:
    """All steps, those of branches and loops after the step that they belong to."""
    for step in block.nodes():
        yield step
        for each in step.blocks():
            yield from steps(each)

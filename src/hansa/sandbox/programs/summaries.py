"""What one pass tells of a program's modules: the shapes that go in and come out, and the multiplications."""

from functools import partial
from math import prod

import torch
from torch import nn

from hansa.sandbox.messages import Summary, Traced


def summary(module: nn.Module, batch: torch.Tensor) -> Summary:
    """By the paths of modules; the program itself is "". A script's modules run unseen: it tells of itself alone."""
    seen: dict[str, Traced] = {}
    named = [("", module)] if isinstance(module, torch.jit.ScriptModule) else list(module.named_modules())
    hooks = [each.register_forward_hook(partial(_note, seen, name)) for name, each in named if name]
    try:
        _note(seen, "", module, (batch,), module(batch))
    finally:
        for hook in hooks:
            hook.remove()
    return Summary(seen)


def _note(seen: dict[str, Traced], path: str, module: nn.Module, given: object, found: object) -> None:
    output = _shape(found)
    leaf = next(module.children(), None) is None and not isinstance(module, torch.jit.ScriptModule)
    seen[path] = Traced(_shape(given), output, _macs(module, output) if leaf and output else None)


def _shape(value: object) -> tuple[int, ...] | None:
    """Of a tensor, or of the first of several."""
    while isinstance(value, (tuple, list)) and value:
        value = value[0]
    return tuple(value.shape) if isinstance(value, torch.Tensor) else None


def _macs(module: nn.Module, output: tuple[int, ...]) -> int:
    """As torchinfo counts: every parameter once for each place of the output that it takes part in."""
    total = 0
    for name, parameter in module.named_parameters(recurse=False):
        if name not in ("weight", "bias"):  # of recurrent layers, which use their own in every step
            places = prod(output[:2]) if "weight" in name else 0
        elif "Conv" in type(module).__name__:
            places = prod(output[:1] + output[2:])
        else:
            places = output[0]
        total += places * parameter.numel()
    return total

"""What one pass tells of a program's modules: the shapes that go in and come out, and the multiplications."""

from functools import partial
from math import prod

import torch
from torch import nn

from hansa.sandbox.messages import Summary, Traced
from hansa.sandbox.programs.chains import is_chain, links, modules_in


def summary(module: nn.Module, batch: torch.Tensor) -> Summary:
    """By the paths of modules; the program itself is "".

    A script's modules run unseen. Of a chain of modules each is run here; any other script tells of itself alone.
    """
    seen: dict[str, Traced] = {}
    if isinstance(module, torch.jit.ScriptModule) and is_chain(module):
        _run(seen, "", module, batch)
        return Summary(seen)
    named = [("", module)] if isinstance(module, torch.jit.ScriptModule) else list(module.named_modules())
    hooks = [each.register_forward_hook(partial(_note, seen, name)) for name, each in named if name]
    try:
        _note(seen, "", module, (batch,), module(batch))
    finally:
        for hook in hooks:
            hook.remove()
    return Summary(seen)


def _run(seen: dict[str, Traced], path: str, script: torch.jit.ScriptModule, given: object) -> object:
    """What it gives back; it and all modules in it are noted."""
    children = modules_in(script)
    if not children:
        found = script(given)
    else:
        found = given
        for name in links(script) or ():
            found = _run(seen, f"{path}.{name}" if path else name, children[name], found)
    _note(seen, path, script, given, found)
    return found


def _note(seen: dict[str, Traced], path: str, module: nn.Module, given: object, found: object) -> None:
    output = _shape(found)
    leaf = next(module.children(), None) is None
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
        elif "Conv" in str(getattr(module, "original_name", type(module).__name__)):  # a script knows its class's name
            places = prod(output[:1] + output[2:])
        else:
            places = output[0]
        total += places * parameter.numel()
    return total

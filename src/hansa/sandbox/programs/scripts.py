"""Whether a TorchScript program may leave anything behind a call, told from its code."""

from collections.abc import Iterator

import torch

from hansa.sandbox.programs.operators import STATELESS

_CALLS = frozenset({"prim::CallFunction", "prim::CallMethod"})
_FRESH = frozenset({"prim::ListConstruct", "prim::DictConstruct"})


def keeps(module: torch.jit.ScriptModule) -> bool:
    """Whether it has a step that is not known to leave nothing, or writes to what one call did not make itself.

    What is done in training alone does not count: a script is in eval mode, and whoever sets a mode writes.
    """
    if not hasattr(module, "inlined_graph"):
        return True  # it has no one forward; calling it says so
    graph = _inlined(module)
    given = {value.unique() for value in graph.inputs()}
    own = next(graph.inputs()).unique()
    return any(_writes(step, given - {own}) for step in _steps(graph))


def _inlined(module: torch.jit.ScriptModule) -> torch._C.Graph:
    """Its forward, with every function that it calls written out.

    Where the executor does not optimise, as in a cell, torch writes out one level of calls at a time. What stays a call
    (a method of an interface) is no step that is known.
    """
    graph = module.inlined_graph
    calls = _calls(graph)
    while calls:
        torch._C._jit_pass_inline(graph)
        before, calls = calls, _calls(graph)
        if calls == before:
            break
    return graph


def _calls(graph: torch._C.Graph) -> list[str]:
    return [str(step) for step in _steps(graph) if step.kind() in _CALLS]


def _steps(block: torch._C.Block | torch._C.Graph) -> Iterator[torch._C.Node]:
    for step in block.nodes():
        yield step
        inner = list(step.blocks())
        if step.kind() == "prim::If" and _is_false(next(step.inputs())):
            inner = inner[1:]
        for each in inner:
            yield from _steps(each)


def _is_false(value: torch._C.Value) -> bool:
    """Whether a condition never holds in eval mode."""
    step = value.node()
    if step.kind() == "prim::GetAttr":
        return str(step.s("name")) == "training"
    if step.kind() == "prim::Constant":
        constant: object = value.toIValue()
        return constant is False
    if step.kind() == "prim::If" and _is_false(next(step.inputs())):
        return _is_false(list(list(step.blocks())[1].outputs())[value.offset()])
    return False


def _writes(step: torch._C.Node, given: set[int]) -> bool:
    declared = step.schema()
    if step.kind() not in STATELESS:
        return True
    if "!" not in declared:
        return False
    arguments = torch._C.parse_schema(declared).arguments
    written = (
        value
        for value, argument in zip(step.inputs(), arguments, strict=False)
        if argument.alias_info is not None and argument.alias_info.is_write
    )
    return not all(_is_new(value, given) for value in written)


def _is_new(value: torch._C.Value, given: set[int]) -> bool:
    """Whether the call has made it: an input, which is a copy, or what an operator has computed."""
    if value.unique() in given:
        return True
    step = value.node()
    if step.kind() == "prim::If":
        return all(_is_new(list(block.outputs())[value.offset()], given) for block in step.blocks())
    declared = step.schema()
    if declared == "(no schema)":
        return step.kind() in _FRESH
    schema = torch._C.parse_schema(declared)
    if all(each.alias_info is None for each in schema.returns):
        return True
    return next(iter(step.inputs()), None) is not None and _is_new(next(step.inputs()), given)

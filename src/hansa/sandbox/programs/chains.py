"""Scripts that do nothing but call their modules one after the other, as a scripted Sequential does."""

import torch

Script = torch.jit.ScriptModule


def links(script: Script) -> list[str] | None:
    """The names of the modules that its `forward` calls, each with what the one before it gave back.

    None of a script that does anything else: what its modules are called with is known to the interpreter alone.
    """
    graph = script.graph
    own, *given = graph.inputs()
    if len(given) != 1:
        return None
    value, modules, names = given[0].debugName(), dict[str, str](), list[str]()
    for node in graph.nodes():
        inputs = [each.debugName() for each in node.inputs()]
        if node.kind() == "prim::GetAttr" and inputs == [own.debugName()]:
            modules[node.output().debugName()] = node.s("name")
        elif node.kind() == "prim::CallMethod" and node.s("name") == "forward" and inputs[1:] == [value]:
            if inputs[0] not in modules:
                return None
            names.append(modules[inputs[0]])
            value = node.output().debugName()
        else:
            return None
    return names if [each.debugName() for each in graph.outputs()] == [value] else None


def modules_in(script: Script) -> dict[str, Script]:
    """By their names."""
    return {name: each for name, each in script.named_children() if isinstance(each, Script)}


def is_chain(script: Script) -> bool:
    """Whether it is one, and all modules with others in them are."""
    children = modules_in(script)
    if not children:
        return True
    names = links(script)
    return names is not None and all(is_chain(children[name]) for name in names)

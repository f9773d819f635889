"""A cell: a confined process that holds the programs of one call, and answers calls until its server goes."""

import os
import re
import socket
from collections.abc import Mapping

import msgspec
import torch
from torch import nn

from hansa.sandbox.confinement.limits import Limits
from hansa.sandbox.confinement.protections import Protections, confine
from hansa.sandbox.confinement.seccomp import LIMITS
from hansa.sandbox.framing import receive, send
from hansa.sandbox.messages import (
    MAX_ANSWER,
    MAX_CALL,
    Call,
    Failed,
    Limit,
    Outcome,
    Program,
    Refused,
    Tensor,
    Unsupported,
    cleaned,
)
from hansa.sandbox.programs.loading import ProgramError, UnsupportedError, loaded
from hansa.sandbox.programs.passes import batch_of, outputs

_MEMORY = re.compile(r"can't allocate memory|not enough memory|bad_alloc|Cannot allocate memory")
_LIMIT_TEXTS: Mapping[str, Limit] = {os.strerror(code): limit for code, limit in LIMITS.items()}  # type: ignore[misc]  # LIMITS has Limit's words


class _Holds(msgspec.Struct):
    """What is loaded, by what it was asked as. Loaded anew whenever a call may have changed it."""

    key: tuple[object, ...]
    programs: list[nn.Module]
    preprocessing: nn.Module | None
    versions: tuple[int, ...]


def live(sock: socket.socket, within: Limits, having: Protections, threads: int) -> None:
    """Answer calls until the server closes its end. Confined before the first byte is read."""
    torch.set_num_threads(threads)
    confine(within, having)
    holds: _Holds | None = None
    while True:
        try:
            message, descriptors = receive(sock, MAX_CALL)
        except EOFError:
            return
        call = msgspec.msgpack.decode(message, type=Call)
        files = dict(zip(sorted(call.digests), descriptors, strict=True))
        try:
            outcome, holds = _answer(call, files, holds)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        encoded = msgspec.msgpack.encode(outcome)
        if len(encoded) > MAX_ANSWER:
            detail = f"the answer has {len(encoded)} bytes; the limit is {MAX_ANSWER}"
            encoded = msgspec.msgpack.encode(Refused("output", detail))
        send(sock, encoded)


def _answer(call: Call, files: Mapping[str, int], holds: _Holds | None) -> tuple[Outcome, _Holds | None]:
    key = (call.programs, call.preprocessing)
    try:
        with torch.no_grad():
            if holds is None or holds.key != key:
                holds = None  # let go before the next is loaded
                holds = _load(call, files, key)
            batch = batch_of(call.inputs, holds.preprocessing)
            answer = Tensor.of(outputs(call, holds.programs, batch, files))
    except (ProgramError, ValueError) as error:
        return Failed(cleaned(str(error))), None
    except UnsupportedError as error:
        return Unsupported(cleaned(str(error))), None
    except MemoryError:
        return Refused("memory", "the program needs more memory than a program may have"), None
    except Exception as error:  # noqa: BLE001 - a stranger's program raises whatever it likes; all of it is an answer
        return _told(error), None
    return answer, holds if _unchanged(call, holds) else None


def _load(call: Call, files: Mapping[str, int], key: tuple[object, ...]) -> _Holds:
    pipeline = None if call.preprocessing is None else loaded(Program(call.preprocessing), files)
    programs = [loaded(program, files) for program in call.programs]
    return _Holds(key, programs, pipeline, _versions(programs, pipeline))


def _versions(programs: list[nn.Module], pipeline: nn.Module | None) -> tuple[int, ...]:
    """The counters by which torch notes changes in place, of all numbers."""
    modules = programs if pipeline is None else [*programs, pipeline]
    return tuple(tensor._version for module in modules for tensor in module.state_dict().values())


def _unchanged(call: Call, holds: _Holds) -> bool:
    """Whether the programs are as they were loaded. A script keeps attributes that cannot be looked at: never."""
    modules = holds.programs if holds.preprocessing is None else [*holds.programs, holds.preprocessing]
    if call.passes != "one" or holds.versions != _versions(holds.programs, holds.preprocessing):
        return False
    return not any(isinstance(module, torch.jit.ScriptModule) and _is_stateful(module) for module in modules)


def _is_stateful(module: torch.jit.ScriptModule) -> bool:
    graph = str(module.inlined_graph)
    return "prim::SetAttr" in graph or "aten::append" in graph or "aten::_set_item" in graph or "Dict(" in graph


def _told(error: Exception) -> Outcome:
    text = cleaned(f"{type(error).__name__}: {error}")
    code = error.errno if isinstance(error, OSError) else None
    for words, limit in _LIMIT_TEXTS.items():
        if words in text or (code is not None and os.strerror(code) == words):
            return Refused(limit, text)
    return Refused("memory", text) if _MEMORY.search(text) else Failed(text)

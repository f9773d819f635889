"""A cell: a confined process that loads the programs of its first call, and answers calls to them until it may not."""

import os
import random
import re
import socket
from collections.abc import Mapping

import msgspec
import numpy as np
import torch
from torch import nn

from hansa.sandbox.confinement.limits import Limits
from hansa.sandbox.confinement.protections import Protections, confine
from hansa.sandbox.confinement.seccomp import LIMITS
from hansa.sandbox.fates import NO_MEMORY, UNCONFINED
from hansa.sandbox.framing import receive, send
from hansa.sandbox.messages import (
    MAX_ANSWER,
    MAX_CALL,
    Answer,
    BadInput,
    Call,
    Failed,
    Limit,
    Outcome,
    Program,
    Refused,
    Summary,
    Tensor,
    Unsupported,
    cleaned,
)
from hansa.sandbox.programs.inputs import InputsError, batch_of
from hansa.sandbox.programs.loading import ProgramError, UnsupportedError, loaded
from hansa.sandbox.programs.passes import outputs
from hansa.sandbox.programs.scripts import keeps
from hansa.sandbox.programs.snapshots import Snapshot, is_same, snapshot
from hansa.sandbox.programs.summaries import summary

_MEMORY = re.compile(r"can't allocate memory|not enough memory|bad_alloc|Cannot allocate memory")
_LIMIT_TEXTS: Mapping[str, Limit] = {os.strerror(code): limit for code, limit in LIMITS.items()}  # type: ignore[misc]  # LIMITS has Limit's words


class _Holds(msgspec.Struct):
    """What is loaded, by what it was asked as."""

    key: tuple[object, ...]
    programs: list[nn.Module]
    preprocessing: nn.Module | None
    kept: Snapshot | None
    """What they held when they were loaded; None: a script may keep what cannot be seen."""

    @property
    def modules(self) -> list[nn.Module]:
        """The programs, and what prepares their inputs."""
        return self.programs if self.preprocessing is None else [*self.programs, self.preprocessing]


def live(sock: socket.socket, within: Limits, having: Protections, threads: int) -> None:
    """Answer calls until the server closes its end, or one may have left anything behind. Confined before all that."""
    torch.set_num_threads(threads)
    torch._C._set_graph_executor_optimize(False)  # else a script's code, and last digits, depend on earlier inputs
    # memory that is not written to yet is filled: what the call before has let go would be in it
    torch.use_deterministic_algorithms(True, warn_only=True)
    _confine(within, having)
    holds: _Holds | None = None
    again = True
    while again:
        try:
            message, descriptors = receive(sock, MAX_CALL)
        except EOFError:
            return
        call = msgspec.msgpack.decode(message, type=Call)
        files = dict(zip(sorted(call.digests), descriptors, strict=True))
        try:
            outcome, holds, again = _answer(call, files, holds)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        send(sock, _encoded(outcome, again=again))
    # What a program has forked may still run on its code: freed under it, that would be a crash, and the answer lost.
    os._exit(0)


def _encoded(outcome: Outcome, *, again: bool) -> bytes:
    encoded = msgspec.msgpack.encode(Answer(outcome, again))
    if len(encoded) <= MAX_ANSWER:
        return encoded
    detail = f"the answer has {len(encoded)} bytes; the limit is {MAX_ANSWER}"
    return msgspec.msgpack.encode(Answer(Refused("output", detail), again))


def _confine(within: Limits, having: Protections) -> None:
    """Or end at once. Afterwards nothing that a program prints reaches the server's log."""
    silence, stderr = os.open(os.devnull, os.O_WRONLY), os.dup(2)
    os.dup2(silence, 2)
    os.close(silence)
    try:
        confine(within, having)
    except OSError as error:
        os.write(stderr, f"hansa: a process for programs could not be confined: {error}\n".encode())
        os._exit(UNCONFINED)
    os.close(stderr)


def _answer(call: Call, files: Mapping[str, int], holds: _Holds | None) -> tuple[Outcome, _Holds | None, bool]:
    """The answer, what is loaded, and whether another call may be answered with it."""
    key = (call.programs, call.preprocessing)
    if holds is not None and holds.key != key:
        raise RuntimeError("a cell is asked for one model in its whole life")
    try:
        with torch.no_grad():
            if holds is None:
                holds = _load(call, files, key)
            _seed(call.seed)
            batch = batch_of(call.inputs, holds.preprocessing, call.shape)
            answer = _computed(call, holds.programs, batch, files)
    except InputsError as error:
        return BadInput(cleaned(str(error))), holds, False
    except (ProgramError, ValueError) as error:
        return Failed(cleaned(str(error))), holds, False
    except UnsupportedError as error:
        return Unsupported(cleaned(str(error))), holds, False
    except MemoryError:
        return Refused("memory", NO_MEMORY), holds, False
    except Exception as error:  # noqa: BLE001 - a stranger's program raises whatever it likes; all of it is an answer
        return _told(error), holds, False
    return answer, holds, _unchanged(call, holds)


def _computed(call: Call, programs: list[nn.Module], batch: torch.Tensor, files: Mapping[str, int]) -> Tensor | Summary:
    if call.passes == "summary":
        return summary(programs[0], batch)
    return Tensor.of(outputs(call, programs, batch, files))


def _seed(seed: int) -> None:
    """Every generator that a program may draw from begins anew, for the preprocessing as well.

    The processor's alone: torch.manual_seed notes the seed and the stack for every kind of device, which there are none
    of here, in more time than a small model takes.
    """
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # the global one, for whoever draws from it


def _load(call: Call, files: Mapping[str, int], key: tuple[object, ...]) -> _Holds:
    pipeline = None if call.preprocessing is None else loaded(Program(call.preprocessing), files)
    programs = [loaded(program, files) for program in call.programs]
    holds = _Holds(key, programs, pipeline, None)
    if not any(isinstance(each, torch.jit.ScriptModule) and keeps(each) for each in holds.modules):
        holds.kept = snapshot(holds.modules)
    return holds


def _unchanged(call: Call, holds: _Holds) -> bool:
    """Whether the programs are as they were loaded, and nothing of them runs on."""
    scripts = [each for each in holds.modules if isinstance(each, torch.jit.ScriptModule)]
    if holds.kept is None or (scripts and call.passes != "one"):
        return False
    return is_same(holds.kept, snapshot(holds.modules))


def _told(error: Exception) -> Outcome:
    text = cleaned(f"{type(error).__name__}: {error}")
    code = error.errno if isinstance(error, OSError) else None
    for words, limit in _LIMIT_TEXTS.items():
        if words in text or (code is not None and os.strerror(code) == words):
            return Refused(limit, text)
    return Refused("memory", text) if _MEMORY.search(text) else Failed(text)

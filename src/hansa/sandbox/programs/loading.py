"""Programs from open descriptors."""

import os
import pickle
import re
import zipfile
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np
import torch
from torch import nn

from hansa.core.params import Array
from hansa.formats.layout import shown
from hansa.formats.safetensors import read_layout
from hansa.sandbox.messages import Program
from hansa.sandbox.programs.allowed import ALLOWED

_OPERATOR = re.compile(r"Unknown builtin op: ([\w:.]{1,200})")
_GLOBAL = re.compile(r"GLOBAL ([\w.]{1,200})")


class UnsupportedError(Exception):
    """The file is no program that is run here."""


class ProgramError(Exception):
    """The program cannot be used as it is asked to."""


def loaded(program: Program, files: Mapping[str, int]) -> nn.Module:
    """A program with its params, in eval mode. Raises UnsupportedError, ProgramError, or whatever torch raises."""
    module = _module(files[program.archive])
    if program.params is not None:
        put(module, arrays(files[program.params]))
    return module.eval()


def _module(descriptor: int) -> nn.Module:
    with _opened(descriptor) as file:
        if _is_script(file):
            return _script(file)
        try:
            with torch.serialization.safe_globals([*ALLOWED]):
                found: object = torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise UnsupportedError(_named(str(error))) from error
    if not isinstance(found, nn.Module):
        raise UnsupportedError(f"the file holds {type(found).__name__}; wanted is a module, or TorchScript")
    return found


def _script(file: BinaryIO) -> nn.Module:
    try:
        module: nn.Module = torch.jit.load(file, map_location="cpu")  # type: ignore[no-untyped-call]  # torch declares no types
    except RuntimeError as error:
        if found := _OPERATOR.search(str(error)):
            raise UnsupportedError(f"the script uses the operator {found[1]}, which is not known here") from error
        raise
    return module


def _named(error: str) -> str:
    """Of torch's advice for loading the file nevertheless, what it does not load."""
    if found := _GLOBAL.search(error):
        return f"the file holds {found[1]}, which is none of torch.nn's and torchvision.transforms.v2's own classes"
    return error


def _is_script(file: BinaryIO) -> bool:
    with zipfile.ZipFile(file) as archive:
        script = any(name.endswith("/constants.pkl") for name in archive.namelist())
    file.seek(0)
    return script


def tensor(found: object) -> torch.Tensor:
    """What a program returned, which must be one tensor. Raises ProgramError."""
    if not isinstance(found, torch.Tensor):
        raise ProgramError(f"the program returns {type(found).__name__}; wanted is one tensor")
    return found


def arrays(descriptor: int) -> dict[str, Array]:
    """The arrays of a safetensors file, in memory of their own."""
    with _opened(descriptor) as file:
        layout = read_layout(file, _size(descriptor))
        found = {}
        for placed in layout.arrays:
            file.seek(placed.start)
            content = bytearray(file.read(placed.stop - placed.start))
            found[placed.name] = np.frombuffer(content, placed.dtype).reshape(placed.shape)
    return found


def put(module: nn.Module, params: Mapping[str, Array]) -> None:
    """Put numbers into a module, by name. Raises ProgramError for names or shapes that are not its own."""
    own: dict[str, torch.Tensor] = module.state_dict()
    if missing := sorted(own.keys() - params.keys()):
        raise ProgramError(f"the version lacks {shown(missing)}, which the program has")
    if unexpected := sorted(params.keys() - own.keys()):
        raise ProgramError(f"the version holds {shown(unexpected)}, which the program does not have")
    with torch.no_grad():
        for name, target in own.items():
            if tuple(target.shape) != params[name].shape:
                raise ProgramError(
                    f"the version has shape {params[name].shape} for {name!r}; the program has {tuple(target.shape)}"
                )
            target.copy_(torch.from_numpy(params[name]))


def _size(descriptor: int) -> int:
    # not by fstat: in some C libraries it is a call that takes paths as well, and that a cell cannot have
    size = os.lseek(descriptor, 0, os.SEEK_END)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return size


def _opened(descriptor: int) -> BinaryIO:
    os.lseek(descriptor, 0, os.SEEK_SET)
    return open(descriptor, "rb", closefd=False)

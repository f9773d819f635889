"""Model files that write a file when the wrong loader opens them, and the loader that shows they would.

Each kind comes with the state of the small model, or with a vector of moments, where such a file can hold numbers.
"""

import io
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from support.older import Small, pickled
from support.torchmodels import quiet, saved_script
from support.work import update

VECTOR = 9
"""How many params the small model has."""


class Harm:
    """Unpickling it makes the file `target`."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return exec, (f"open({str(self.target)!r}, 'w').close()",)


@dataclass(frozen=True)
class Kind:
    """How the file is made for its target, and what would make the target appear."""

    made: Callable[[Path], bytes]
    opened_unsafely: Callable[[bytes], object]


def _torch_load(content: bytes) -> object:
    return torch.load(io.BytesIO(content), weights_only=False)


def _jit_load(content: bytes) -> object:
    with quiet():
        return torch.jit.load(io.BytesIO(content))


def _module(target: Path) -> bytes:
    module = Small(1.0)
    module.harm = Harm(target)  # type: ignore[assignment]  # no tensor and no module, on purpose
    return pickled(module)


def _vector(target: Path) -> bytes:
    vector = torch.ones(VECTOR)
    vector.harm = Harm(target)  # type: ignore[attr-defined]  # what hangs on a tensor is pickled with it
    return pickled(vector)


def _legacy(target: Path) -> bytes:
    stream = io.BytesIO()
    torch.save({**Small(1.0).state_dict(), "harm": Harm(target)}, stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


class _Trap(torch.nn.Module):
    """What TorchScript runs while it loads the archive: by an interpreter of its own, and not by Python."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.target, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.target = state[0]
        self.training = state[1]
        torch.save(self.training, self.target)


def _script(target: Path) -> bytes:
    module = Small(1.0)
    module.trap = _Trap(str(target))
    with quiet():
        return saved_script(torch.jit.script(module))


def _zipped(*names: str) -> Callable[[Path], bytes]:
    def made(target: Path) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for name in names:
                archive.writestr(name, pickle.dumps(Harm(target), protocol=2))
        return stream.getvalue()

    return made


def _unpickle_first_entry(content: bytes) -> object:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return pickle.loads(archive.read(archive.namelist()[0]))  # noqa: S301  # that it acts is what is shown


def _bare(protocol: int) -> Callable[[Path], bytes]:
    return lambda target: pickle.dumps(Harm(target), protocol)


def _behind_safetensors(content: bytes) -> object:
    return pickle.loads(content[len(update().content) :])  # noqa: S301  # that it acts is what is shown


KINDS = {
    "pickle": Kind(_bare(4), pickle.loads),
    "pickle in text": Kind(_bare(0), pickle.loads),
    "module": Kind(_module, _torch_load),
    "state dict": Kind(lambda target: pickled({**Small(1.0).state_dict(), "harm": Harm(target)}), _torch_load),
    "tensor": Kind(_vector, _torch_load),
    "harm alone": Kind(lambda target: pickled(Harm(target)), _torch_load),
    "legacy": Kind(_legacy, _torch_load),
    "script": Kind(_script, _jit_load),
    "behind safetensors": Kind(lambda target: update().content + pickle.dumps(Harm(target)), _behind_safetensors),
    "zip of another name": Kind(_zipped("model/weights.pickle", "model/version"), _unpickle_first_entry),
    "zip without a folder": Kind(_zipped("data.pkl"), _unpickle_first_entry),
}

"""What older clients send: files that torch has saved, and one that would do harm if it were loaded."""

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from hansa.core.params import Array
from support.work import File

Net = torch.nn.Module


def small_net(value: float = 0.0) -> Net:
    """A convolution, a norm with its buffers and a linear layer; every float is `value`."""
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3, bias=False),
        torch.nn.BatchNorm2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 3),
    )
    return filled(net, value)


def filled(net: Net, value: float) -> Net:
    """The same net, every float of its state set."""
    with torch.no_grad():
        for array in net.state_dict().values():
            if array.is_floating_point():
                array.fill_(value)
    return net


def scripted(net: Net) -> File:
    """As torch.jit.save writes it."""
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(net), stream)  # type: ignore[no-untyped-call]  # torch's own
    return File(stream.getvalue())


def pickled(thing: object) -> File:
    """As torch.save writes it."""
    stream = io.BytesIO()
    torch.save(thing, stream)
    return File(stream.getvalue())


FLAVOURS: dict[str, Callable[[Net], File]] = {
    "script": scripted,
    "module": pickled,
    "state dict": lambda net: pickled(net.state_dict()),
}


def state_of(content: bytes) -> dict[str, Array]:
    """What torch itself makes of a file. Only of files that were made here."""
    stream = io.BytesIO(content)
    if b"constants.pkl" in content:
        loaded = torch.jit.load(stream).state_dict()  # type: ignore[no-untyped-call]  # torch's own
    else:
        loaded = torch.load(stream, weights_only=False)
    state = loaded if isinstance(loaded, dict) else loaded.state_dict()
    return {name: np.asarray(array) for name, array in state.items()}


class _Harm:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return exec, (f"open({str(self.target)!r}, 'w').close()",)


def harmful(target: Path) -> File:
    """A module's archive whose pickle makes the file `target` as soon as somebody loads it."""
    stream = io.BytesIO()
    net = small_net()
    net.harm = _Harm(target)  # type: ignore[assignment]  # no module, on purpose
    torch.save(net, stream)
    return File(stream.getvalue())


def bare_harm(target: Path) -> File:
    """The same as a bare pickle, and nothing else."""
    return File(pickle.dumps(_Harm(target)))


def harm_in_zip(target: Path) -> File:
    """The same where torch keeps its pickle."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(_Harm(target), protocol=2))
        archive.writestr("archive/version", b"3\n")
    return File(stream.getvalue())

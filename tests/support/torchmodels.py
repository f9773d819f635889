"""Torch modules of every kind that a client may send, and what is compared of their files."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hansa.formats import modelfile
from hansa.formats.chunks import chunks


class ConvNet(nn.Module):
    """Convolution, batch norm, dropout; a buffer that is not saved, an attribute that is no state."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(4, 2)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.scale = 2.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).mean((2, 3))) * self.scale


class Tied(nn.Module):
    """One weight under two names, and one module under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(5, 5)
        self.decoder = nn.Linear(5, 5)
        self.decoder.weight = self.encoder.weight
        self.once = nn.Linear(5, 5)
        self.again = self.once

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.again(self.once(self.decoder(self.encoder(x))))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, num_layers=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lstm(x)[0]


class Containers(nn.Module):
    """Lists and dictionaries of modules and of params."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
        self.named = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Identity()})
        self.scales = nn.ParameterList([nn.Parameter(torch.rand(3)) for _ in range(2)])
        self.shifts = nn.ParameterDict({"left": nn.Parameter(torch.rand(3))})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for step in self.steps:
            x = step(x)
        return self.named["b"](self.named["a"](x))


class Peculiar(nn.Module):
    """Arrays that do not lie one after the other, or hardly at all; the last three are not state."""

    def __init__(self) -> None:
        super().__init__()
        self.transposed = nn.Parameter(torch.rand(4, 6).t())
        self.view = nn.Parameter(torch.arange(20.0)[3:7])
        self.stepped = nn.Parameter(torch.arange(20.0)[1::3])
        self.scalar = nn.Parameter(torch.tensor(2.5))
        self.empty = nn.Parameter(torch.zeros(0, 3))
        self.frozen = nn.Parameter(torch.rand(3), requires_grad=False)
        self.narrow = nn.Parameter(torch.rand(3).half())
        self.wide = nn.Parameter(torch.rand(3).double())
        self.register_buffer("octets", torch.arange(5, dtype=torch.uint8))
        self.register_buffer("small", torch.arange(5, dtype=torch.int8))
        self.register_buffer("none", None)
        self.register_buffer("temporary", torch.ones(3), persistent=False)
        self.attribute = torch.ones(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scalar + self.transposed.sum() + self.view.sum()


ZOO = {
    "conv net": (ConvNet, torch.rand(2, 1, 8, 8)),
    "tied": (Tied, torch.rand(2, 5)),
    "recurrent": (Recurrent, torch.rand(2, 1, 3)),
    "containers": (Containers, torch.rand(2, 3)),
    "peculiar": (Peculiar, torch.rand(3)),
    "one layer": (lambda: nn.Linear(3, 2, bias=False), torch.rand(2, 3)),
    "embedding": (lambda: nn.Sequential(nn.Embedding(7, 3), nn.LayerNorm(3)), torch.tensor([1, 2])),
    "attention": (lambda: nn.TransformerEncoderLayer(4, 2, 8), torch.rand(3, 1, 4)),
    "group norm": (lambda: nn.Sequential(nn.Conv1d(2, 4, 3), nn.GroupNorm(2, 4)), torch.rand(2, 2, 9)),
    "channels last": (lambda: ConvNet().to(memory_format=torch.channels_last), torch.rand(2, 1, 8, 8)),
}


def scripted(model: nn.Module) -> bytes:
    with quiet():
        return saved_script(torch.jit.script(model))


def traced(model: nn.Module, inputs: torch.Tensor) -> bytes:
    with quiet():
        return saved_script(torch.jit.trace(model, inputs, check_trace=False))


def saved_script(script: torch.jit.ScriptModule) -> bytes:
    file = io.BytesIO()
    with quiet():
        torch.jit.save(script, file)
    return file.getvalue()


def saved(value: object, **options: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def loaded_script(path: Path) -> torch.jit.ScriptModule:
    with quiet():
        return torch.jit.load(path)


def written(folder: Path, content: bytes, name: str = "model.pt") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def arrays_of(path: Path, max_bytes: int = 4096) -> dict[str, np.ndarray]:
    """All numbers of a model file, read chunk by chunk."""
    with modelfile.open_model(path) as file:
        spec = file.spec()
        flat: dict[str, list[np.ndarray]] = {array.name: [] for array in spec}
        buffer = bytearray(max_bytes)
        for chunk in chunks(spec, max_bytes):
            for segment, part in zip(chunk, file.read_chunk(chunk, buffer), strict=True):
                flat[segment.name].append(part.copy())
        return {
            array.name: np.concatenate([*flat[array.name], np.empty(0, array.dtype)]).reshape(array.shape)
            for array in spec
        }


def state_of(model: nn.Module) -> dict[str, np.ndarray]:
    return {name: held.detach().numpy() for name, held in model.state_dict().items()}


def assert_same(seen: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert sorted(seen) == sorted(wanted)
    for name, array in wanted.items():
        assert seen[name].dtype == array.dtype, name
        assert seen[name].shape == array.shape, name
        assert np.array_equal(seen[name], array), name


@contextmanager
def quiet() -> Iterator[None]:
    """TorchScript is deprecated, which is not what these tests are about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

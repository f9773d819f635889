"""Small programs whose answers can be reckoned by hand, and inputs for them."""

import struct
import zlib
from pathlib import Path

import httpx
import numpy as np
import torch
from torch import nn

from hansa.core.moments import FIRST, SECOND
from hansa.core.params import Array
from hansa.protocol.inference import InferenceAnswer
from hansa.protocol.models import ModelCreated
from hansa.server.blobs import services as blobs
from hansa.server.blobs import store
from hansa.server.lifecycle.bridge import call
from hansa.server.registry.models import ModelVersion
from support.answers import shown
from support.people import Person
from support.torchfiles import pickled
from support.work import File, file_of

URL = "/api/inference/"


class Weighted(nn.Module):
    """y = w·x, without anything else."""

    def __init__(self, *weights: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(weights))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * self.w).sum(dim=1, keepdim=True)


class Restless(nn.Module):
    """What is another thing in training: dropout, and batch norm, which also moves its statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
        with torch.no_grad():
            for number, param in enumerate(self.parameters()):
                param.copy_(torch.sin(torch.arange(param.numel()) + number).reshape(param.shape))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x).softmax(dim=1)


class Scaled(nn.Module):
    """A preprocessing: uint8 images to floats within [0, 1], whatever their size to their mean colour."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float().mean(dim=(2, 3)) / 255


def tensor_file(tensor: torch.Tensor) -> bytes:
    """As torch.save writes it."""
    return pickled(tensor).content


def png(*rows: bytes) -> bytes:
    """A grey image of these rows."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


async def created(owner: Person, file: File, preprocessing: File | None = None, **fields: object) -> str:
    """The id of a model made from the file."""
    files = {"model_file": ("net", file.content)}
    if preprocessing is not None:
        files["model_preprocessing_file"] = ("pre", preprocessing.content)
    answer = await owner.post("/api/models/", data={"name": "net", **fields}, files=files)
    return shown(answer, ModelCreated, 201).model_id


async def ask(person: Person, model_id: str, model_input: object, **more: object) -> httpx.Response:
    """A question in JSON."""
    return await person.post(URL, json={"model_id": model_id, "model_input": model_input, **more})


async def ask_in_form(person: Person, model_id: str, *parts: bytes, **fields: str) -> httpx.Response:
    """A question in a form, with files."""
    files = [("model_input", (f"part-{number}", part)) for number, part in enumerate(parts)]
    return await person.post(URL, data={"model_id": model_id, **fields}, files=files)


def answer(response: httpx.Response) -> InferenceAnswer:
    """The answer, which there must be."""
    return shown(response, InferenceAnswer)


async def give_moments(model_id: str, first: Array, second: Array) -> None:
    """Moments of the model's newest version, as a SWAG round would have left them."""
    content = file_of({FIRST: np.asarray(first, np.float64), SECOND: np.asarray(second, np.float64)}, frozenset())

    def write() -> None:
        path: Path = store.new_file()
        path.write_bytes(content.content)
        digests = store.digested(path)
        store.place(path, digests.sha256)
        version = ModelVersion.objects.filter(model=model_id).order_by("-number")[0]
        blob = blobs.record(digests=digests, media_type=blobs.SAFETENSORS, now=version.created_at)
        ModelVersion.objects.filter(id=version.id).update(moments=blob)

    await call(write)


def numbers_of(net: nn.Module) -> File:
    """The state of a net as an update that a client sends."""
    buffers = frozenset(name for name, _ in net.named_buffers())
    return file_of({name: array.numpy() for name, array in net.state_dict().items()}, buffers)

"""A scripted server with a small model, and clients that are stopped when their test is over."""

import io
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest
from running import AddOne, Running
from scripted_server import TOKEN, ScriptedServer

from hansa.client import Transport
from hansa.formats.safetensors import write


def model_file(elements: int = 4) -> bytes:
    file = io.BytesIO()
    write(file, {"w": np.arange(elements, dtype=np.float32), "seen": np.array(3)}, frozenset({"seen"}))
    return file.getvalue()


@pytest.fixture
def server():
    with ScriptedServer(model_file()) as server:
        yield server


@pytest.fixture
def large_server():
    """Its model is larger than the size from which on a client asks before it uploads."""
    with ScriptedServer(model_file(400_000)) as server:
        yield server


@pytest.fixture
def transport(server):
    with Transport(server.url, TOKEN) as transport:
        yield transport


@pytest.fixture
def start(server, tmp_path) -> Callable[..., Running]:
    """Start clients; they are stopped when the test is over."""
    running = []

    def start(trainer=None, *, at=None, **more) -> Running:
        more.setdefault("state", tmp_path / "state")
        running.append(Running(at or server, trainer=trainer or AddOne(), **more))
        return running[-1]

    start.running = running
    yield start
    for one in running:
        with suppress(AssertionError):
            one.stop()

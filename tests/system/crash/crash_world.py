"""A server that may be killed, an administrator who calls it, and three clients of it: what every flow plays in."""

import io
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from crash_supervision import Caller, SupervisedServer
from steady_trainer import Trainer

from hansa.formats import safetensors
from support import databases
from support.databases import copy_home
from support.working import working
from system.processes import PATIENCE, serving

CLIENTS = ("ada", "ben", "cleo")
logging.getLogger("httpx").setLevel(logging.WARNING)  # a line per request hides what a failure says

LONG_AGO = "2020-01-01 00:00:00"
WHOLE_PLAN = {"rounds": 2, "seed": 20261122, "keep_updates": 100, "closing": {"min_reports": 3}}


@dataclass(frozen=True)
class Prepared:
    """A data folder with an administrator and three clients in it: making one takes longer than most flows."""

    home: Path
    root: str
    """The administrator's token."""
    tokens: dict[str, str]
    """The clients', by name."""


def prepare(folder: Path) -> Prepared:
    """Make one, by the API."""
    with serving(folder) as server:
        api = server.admin()
        root = api.create_token("root", None).token
        tokens = {name: api.enroll(api.invite(name, 3600.0).code).token for name in CLIENTS}
        server.kill()
    return Prepared(server.home, root, tokens)


@dataclass
class World:
    """What a flow has at hand."""

    server: SupervisedServer
    root: Caller
    tokens: dict[str, str]
    folder: Path

    @property
    def home(self) -> Path:
        """The server's data."""
        return self.server.home

    def caller(self, name: str) -> Caller:
        """A client that speaks the protocol by hand."""
        return Caller(self.server, self.tokens[name])

    def model(self, name: str = "small") -> str:
        """Create a model of several chunks, whose updates are sent in several pieces."""
        answer = self.root(
            "POST",
            "models/",
            data={"name": name, "buffers": ["seen"]},
            files={"model_file": ("model.safetensors", encoded(first_params()))},
        )
        return str(answer.json()["model_id"])

    def training(self, clients: Sequence[str] = CLIENTS, *, model: str = "", **plan: object) -> str:
        """Create a training of these clients."""
        body = {"model_id": model or self.model(), "clients": list(clients), "plan": {**WHOLE_PLAN, **plan}}
        return str(self.root.post("trainings/", body)["training_id"])

    def start(self, training: str) -> None:
        """INITIAL → ONGOING; who is told that it has begun already did it."""
        self.root.post(f"trainings/{training}/start/", done=(409,))

    def ended(
        self, training: str, status: str = "completed", *, meanwhile: Callable[[], object] = lambda: None
    ) -> Any:  # Any: JSON
        """Wait for the end, which must be this one; `meanwhile` is called again and again."""
        began = time.monotonic()
        record = self.root.get(f"trainings/{training}/")
        while record["status"] not in ("completed", "cancelled", "error"):
            assert time.monotonic() < max(began, self.server.born) + PATIENCE, (
                f"not ended within {PATIENCE:g} s: {record}"
            )
            meanwhile()
            record = self.root.get(f"trainings/{training}/?wait=1&revision={record['revision']}")
        assert record["status"] == status, record["reason"]
        return record

    def change(self, statement: str, *parameters: object) -> None:
        """Change rows behind the server's back: how time passes here."""
        databases.change(self.home, statement, parameters)

    def nudge(self, training: str, client: str = CLIENTS[0]) -> None:
        """Have the server look at a training now, not at its next sweep; it may be over meanwhile."""
        self.root("PUT", f"trainings/{training}/clients/", json={"clients": [client]}, refused=409)

    @contextmanager
    def at_work(self, clients: Sequence[str] = CLIENTS, trainer: object = None) -> Iterator[None]:
        """These clients work, each on a thread of its own, until the end of the block."""
        with ExitStack() as stack:
            for name in clients:
                state = self.folder / f"state-{name}"
                stack.enter_context(working(self.server.url, self.tokens[name], state, trainer or Trainer()))
            yield


@contextmanager
def world(
    prepared: Prepared, folder: Path, deaths: Sequence[str] = (), settings: Mapping[str, str] | None = None
) -> Iterator[World]:
    """A copy of what was prepared, served in lives that end at these crash points."""
    home = folder / "home"
    copy_home(prepared.home, home)
    with SupervisedServer(home, deaths, settings) as server:
        yield World(server, Caller(server, prepared.root), prepared.tokens, folder)


def first_params() -> dict[str, np.ndarray]:
    """Three dtypes, so that a mean has several chunks; more than two MiB, so that an update is sent in pieces."""
    rng = np.random.default_rng(1)
    return {
        "dense.weight": rng.normal(size=(600, 1000)).astype(np.float32),
        "dense.bias": rng.normal(size=600).astype(np.float64),
        "seen": np.int64(0).reshape(()),
    }


def encoded(params: dict[str, np.ndarray], buffers: frozenset[str] = frozenset({"seen"})) -> bytes:
    """As a safetensors file."""
    stream = io.BytesIO()
    safetensors.write(stream, params, buffers & params.keys())
    return stream.getvalue()

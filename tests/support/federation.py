"""Clients that work by themselves, and the orchestrator that moves their trainings: all in the test's process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

from hansa.core.params import Array
from hansa.server.trainings import orchestrator as module
from hansa.server.trainings.hints import HINTS
from hansa.server.trainings.models import Training
from support.people import Person
from support.work import INSTANCE, File, file_of, report_of

Message = dict[str, Any]  # Any: JSON
Train = Callable[[dict[str, Array], Message], dict[str, Array]]

SOON = 0.02
"""Seconds after which the orchestrator looks again by itself, so that a test need not wait a second for it."""
PATIENCE = 30


def moved_by(step: float) -> Train:
    """Training that adds `step` to every float array."""

    def train(params: dict[str, Array], task: Message) -> dict[str, Array]:
        return {
            name: np.add(array, step, dtype=array.dtype) if array.dtype.kind == "f" else array
            for name, array in params.items()
        }

    return train


class Worker:
    """A client's program: asks for work and does it, until it is stopped."""

    def __init__(self, person: Person, train: Train, *, examples: int = 10, buffers: frozenset[str] = frozenset()):
        self.person = person
        self.done: list[Message] = []
        self._train = train
        self._examples = examples
        self._buffers = buffers

    async def run(self) -> None:
        """Work for ever."""
        while True:
            answer = await self.person.post("/api/tasks/next/?wait=30", json={"instance": "worker"})
            if answer.status_code == 200:
                await self.do(answer.json())

    async def do(self, task: Message) -> None:
        """One task, from its params to its receipt."""
        file = await self._trained(task) if task["kind"] == "train" else None
        if file is not None:
            sent = await self.person.put(f"/api/tasks/{task['id']}/update/{file.digest}/", content=file.content)
            assert sent.status_code in (200, 409), sent.text
        body = report_of(file, self._examples, {"loss": 1.0 / task["round"]})
        receipt = await self.person.post(f"/api/tasks/{task['id']}/report/", json=body)
        assert receipt.status_code in (200, 409), receipt.text
        if receipt.status_code == 200:
            self.done.append(task)

    async def _trained(self, task: Message) -> File:
        params = await self.person.get(f"/api/models/{task['model']}/versions/{task['version']}/params/")
        return file_of(self._train(load(params.content), task), self._buffers)


@asynccontextmanager
async def at_work(*workers: Worker) -> AsyncIterator[None]:
    """These clients are running."""
    running = [asyncio.create_task(worker.run()) for worker in workers]
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        ended = await asyncio.gather(*running, return_exceptions=True)
    for error in ended:
        if not isinstance(error, asyncio.CancelledError):
            raise AssertionError("a client stopped") from error


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The orchestrator does not let a test wait."""
    monkeypatch.setattr(module, "SWEEP_SECONDS", SOON)
    monkeypatch.setattr("hansa.server.trainings.api.SETTLE_SECONDS", 0.0, raising=False)


@asynccontextmanager
async def orchestrating() -> AsyncIterator[None]:
    """An orchestrator runs, as in the server's lifespan."""
    HINTS.bind(asyncio.get_running_loop())
    running = asyncio.create_task(module.Orchestrator().run())
    try:
        yield
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


@pytest.fixture
async def orchestrator(home: Path, transactional_db: None, soon: None) -> AsyncIterator[None]:
    """An orchestrator runs for the whole test."""
    async with orchestrating():
        yield


async def until(person: Person, training: Training, reached: Callable[[Message], bool]) -> Message:
    """Follow the record of a training, as a dashboard would, until it is as wanted."""
    url = f"/api/trainings/{training.id}/"
    record: Message = (await person.get(url)).json()
    try:
        async with asyncio.timeout(PATIENCE):
            while not reached(record):
                record = (await person.get(f"{url}?wait=5&revision={record['revision']}")).json()
    except TimeoutError:
        raise AssertionError(f"after {PATIENCE} s the training is still {record}") from None
    return record


async def ended(person: Person, training: Training) -> Message:
    """The record of a training that has come to its end."""
    return await until(person, training, lambda record: record["status"] in ("completed", "error", "cancelled"))


async def began(person: Person, training: Training) -> Message:
    """Start a training by the API; its record once the first round is open."""
    answer = await person.post(f"/api/trainings/{training.id}/start/")
    assert answer.status_code == 202, answer.text
    return await until(person, training, lambda record: record["round"] == 1)


async def take(client: Person) -> Message:
    """The client's next task, which must come."""
    answer = await client.post("/api/tasks/next/?wait=20", json={"instance": INSTANCE})
    assert answer.status_code == 200, "no task came"
    task: Message = answer.json()
    return task


async def give_up(client: Person, task: Message, reason: str = "CUDA out of memory") -> None:
    """The client's own code has failed."""
    answer = await client.post(f"/api/tasks/{task['id']}/release/", json={"reason": reason, "failed": True})
    assert answer.status_code == 204


async def params_of(person: Person, record: Message, number: int) -> dict[str, Array]:
    """The arrays of a version of the training's model."""
    return load((await person.get(f"/api/models/{record['model']}/versions/{number}/params/")).content)


async def rounds_of(person: Person, training: Training) -> list[Message]:
    """All attempts at all rounds."""
    rounds: list[Message] = (await person.get(f"/api/trainings/{training.id}/rounds/")).json()
    return rounds

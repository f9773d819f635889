"""A small model, a training of it by Bob and Carol, and what they send back."""

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from django.utils import timezone

from hansa.core.params import Array, Params
from hansa.formats import safetensors
from hansa.protocol.tasks import TaskKind
from hansa.rounds import plan as plans
from hansa.rounds.decisions import Aggregate, Combine, Decision, Wait
from hansa.server.blobs import store
from hansa.server.lifecycle.bridge import call
from hansa.server.registry import services as registry
from hansa.server.registry.creation import NewModel
from hansa.server.registry.ingest import ingest
from hansa.server.registry.models import Model
from hansa.server.trainings import stepping
from hansa.server.trainings.aggregation import Findings
from hansa.server.trainings.models import Task, Training
from hansa.server.trainings.services import aggregation, leasing, rounds, trainings
from support.people import Person

BUFFERS = frozenset({"norm.running_mean", "norm.num_batches_tracked"})
INSTANCE = "laptop"
"""The name of the clients' state folder."""


def small_params(add: float = 0.0) -> dict[str, Array]:
    """Two params and two buffers, one of them an integer; every float moved by `add`."""
    return {
        "fc.weight": np.arange(6, dtype=np.float32).reshape(3, 2) + np.float32(add),
        "fc.bias": np.zeros(3, np.float32) + np.float32(add),
        "norm.running_mean": np.ones(3, np.float32) + np.float32(add),
        "norm.num_batches_tracked": np.array(5, np.int64),
    }


@dataclass(frozen=True)
class File:
    """A model file and its digest."""

    content: bytes

    @property
    def digest(self) -> str:
        """SHA-256, hex."""
        return hashlib.sha256(self.content).hexdigest()

    def __len__(self) -> int:
        return len(self.content)


def file_of(params: Params, buffers: frozenset[str] = BUFFERS) -> File:
    """Arrays as a client writes them."""
    stream = io.BytesIO()
    safetensors.write(stream, params, buffers)
    return File(stream.getvalue())


def update(add: float = 1.0, **replaced: Array | None) -> File:
    """An update of the small model: moved by `add`, with some arrays replaced (None: left out)."""
    params = {**small_params(add), **{name.replace("__", "."): array for name, array in replaced.items()}}
    return file_of({name: array for name, array in params.items() if array is not None}, BUFFERS & params.keys())


def store_model(owner: Person, params: Params, buffers: frozenset[str], folder: Path) -> Model:
    """A model of `owner` by the services that the API calls."""
    path = folder / "uploaded.safetensors"
    path.write_bytes(file_of(params, buffers).content)
    ingested = ingest(path, buffers=None)
    path.unlink()
    store.place(ingested.file, ingested.digests.sha256)
    return registry.create_model(owner=owner.user, said=NewModel(name="small"), ingested=ingested, now=timezone.now())


@pytest.fixture
def model(alice: Person, tmp_path: Path) -> Model:
    """Alice's model."""
    return store_model(alice, small_params(), BUFFERS, tmp_path)


MakeTraining = Callable[..., Training]


@pytest.fixture
def make_training(alice: Person, model: Model) -> MakeTraining:
    """Create a training: `make_training(bob, carol, rounds=2, closing={"quorum": 1})`; evaluation is off by default."""

    def make(*clients: Person, model: Model = model, **plan: Any) -> Training:  # Any: parts of a plan for `parse`
        parsed = plans.parse({"rounds": 1, "seed": 7, "evaluation": {"every": 0}, **plan})
        users = [client.user for client in clients]
        return trainings.create(
            actor=alice.user, model=model, plan=parsed, clients=users, name="digits", now=timezone.now()
        )

    return make


@pytest.fixture
def training(make_training: MakeTraining, bob: Person, carol: Person) -> Training:
    """Alice's training of her model with Bob and Carol: two rounds, not started."""
    return make_training(bob, carol, rounds=2)


@pytest.fixture
def started(training: Training) -> Training:
    """The same, with the tasks of its first round on offer."""
    return start(training)


async def aggregated(training: Training, *clients: Person) -> Training:
    """Each of the clients has sent what moves the model by 2, and the round has its version."""
    for client in clients:
        await upload_and_report(client, await call(lease, client), update(2.0))
    await call(settle, training)
    await call(add_up, training)
    return training


@pytest.fixture
async def evaluating(make_training: MakeTraining, bob: Person, carol: Person) -> Training:
    """A training of one round whose version Bob and Carol are asked to evaluate."""
    training = await call(lambda: start(make_training(bob, carol, evaluation={"every": 1})))
    for client, add in ((bob, 1.0), (carol, 4.0)):
        await upload_and_report(client, await call(lease, client), update(add))
    await call(settle, training)
    await call(add_up, training)
    return training


@pytest.fixture
def bobs_task(started: Training, bob: Person) -> Task:
    """Bob's first task, leased."""
    return lease(bob)


def start(training: Training) -> Training:
    """Start a training and open its round."""
    trainings.start(training_id=training.id, now=timezone.now())
    settle(training)
    training.refresh_from_db()
    return training


def lease(client: Person, instance: str = INSTANCE) -> Task:
    """The client's next task, which there must be."""
    task = leasing.lease_next(user_id=client.user.id, instance=instance, now=timezone.now())
    assert task is not None, f"there is no task for {client.user.username}"
    return Task.objects.select_related("round__training", "participation").get(id=task.id)


def settle(training: Training) -> Decision:
    """Do what there is to do now, except for arithmetic, and return what it waits for."""
    while True:
        decision = rounds.advance(training_id=training.id, now=timezone.now())
        if isinstance(decision, Wait | Aggregate | Combine):
            return decision


def add_up(training: Training) -> Decision:
    """The arithmetic of a closed round, or of its moments, and what follows from it."""
    job = aggregation.claim(training_id=training.id, now=timezone.now())
    assert job is not None, "there is nothing to aggregate"
    findings = Findings(job.own) if job.kind is TaskKind.TRAIN else None
    with stepping.files_for(job) as files:
        made = stepping.compute(job, files, Event(), findings)
        for digest, path in files.by_digest(made).items():
            store.place(path, digest)
    told = () if findings is None else findings.told()
    done = aggregation.commit(job=job, digests=made.version, remembered=made.memory, now=timezone.now(), told=told)
    assert done
    return settle(training)


def report_of(file: File | None, examples: int = 10, metrics: Mapping[str, float] | None = None) -> dict[str, object]:
    """The JSON of a report."""
    digest = {} if file is None else {"digest": file.digest}
    return {"num_examples": examples, "metrics": metrics or {"loss": 0.5}, "seconds": 1.5, **digest}


async def upload(client: Person, task: Task | str, file: File) -> None:
    """Send an update in one piece."""
    task_id = task if isinstance(task, str) else task.id
    answer = await client.put(f"/api/tasks/{task_id}/update/{file.digest}/", content=file.content)
    assert answer.status_code == 200, answer.text


async def upload_and_report(client: Person, task: Task | str, file: File, examples: int = 10) -> None:
    """Send an update and commit it."""
    await upload(client, task, file)
    task_id = task if isinstance(task, str) else task.id
    answer = await client.post(f"/api/tasks/{task_id}/report/", json=report_of(file, examples))
    assert answer.status_code == 200, answer.text

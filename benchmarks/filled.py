"""A data folder as a server has it after a season: HANSA_HOME=… python filled.py.

A hundred trainings of 25 clients over four rounds each make 10,000 updates. Every tenth is in its fifth round: half of
its clients have reported, the others hold leases, so that a restart has something to forgive. Files are there for all
versions, and for the updates of rounds that still collect; those of the others were collected long ago.
"""

import hashlib
import io
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from hansa.core.params import spec_of
from hansa.formats import safetensors
from hansa.rounds import plan as plans
from hansa.server.process import sole_use

if TYPE_CHECKING:
    from hansa.server.accounts.models import User
    from hansa.server.blobs.models import Blob
    from hansa.server.registry.models import ModelVersion
    from hansa.server.trainings.models import Participation, Round, Task, Training, Update

TRAININGS, CLIENTS, ROUNDS = 100, 25, 4
UPDATES = TRAININGS * CLIENTS * ROUNDS
LIVE_EVERY = 10
PLAN = plans.to_data(plans.fedavg(rounds=ROUNDS))
LIVE_PLAN = plans.to_data(plans.fedavg(rounds=ROUNDS + 1))


def fill() -> None:
    """Write all rows, and the files that they need."""
    with sole_use():
        from django.db import transaction

        from hansa.server.accounts.models import User

        with transaction.atomic():
            actor = User.objects.create_user("season", password=None, actor=True)
            clients = User.objects.bulk_create([User(username=f"client-{n}", client=True) for n in range(CLIENTS)])
            for number in range(TRAININGS):
                _training(number, actor, clients)


def _training(number: int, actor: "User", clients: "list[User]") -> None:
    from django.utils import timezone

    from hansa.server.registry.models import Model, spec_as_json
    from hansa.server.trainings.models import Participation, Training

    now, live = timezone.now(), number % LIVE_EVERY == 0
    name = f"season-{number}"
    spec = spec_as_json(spec_of(_params(number, 0)))
    model = Model.objects.create(owner=actor, name=name, spec=spec, created_at=now)
    training = Training.objects.create(
        name=name,
        model=model,
        actor=actor,
        status="ongoing" if live else "completed",
        plan=LIVE_PLAN if live else PLAN,
        seed=number,
        rounds_done=ROUNDS,
        created_at=now,
        started_at=now,
    )
    places = Participation.objects.bulk_create(
        [Participation(training=training, client=client, ordinal=place) for place, client in enumerate(clients)]
    )
    base = _version(training, 0, None)
    for turn in range(1, ROUNDS + 1):
        base = _round_done(training, turn, base, places)
    if live:
        _round_live(training, base, places)


def _round_done(training: "Training", turn: int, base: "ModelVersion", places: "list[Participation]") -> "ModelVersion":
    from hansa.server.trainings.models import Round, Task, Update

    now = training.created_at
    digests = [hashlib.sha256(f"{training.id} {turn} {place.ordinal}".encode()).hexdigest() for place in places]
    version = _version(training, turn, base)
    done = Round.objects.create(
        training=training,
        number=turn,
        attempt=1,
        state="done",
        base=base,
        version=version,
        accepted=[[place.ordinal, digest, 100] for place, digest in zip(places, digests, strict=True)],
        opened_at=now,
        closed_at=now,
        done_at=now,
    )
    tasks = Task.objects.bulk_create([_task(done, place, "reported") for place in places])
    Update.objects.bulk_create([_update(task, digest, base, None) for task, digest in zip(tasks, digests, strict=True)])
    return version


def _round_live(training: "Training", base: "ModelVersion", places: "list[Participation]") -> None:
    from hansa.server.trainings.models import Round, Task, Update

    live = Round.objects.create(
        training=training, number=ROUNDS + 1, attempt=1, base=base, opened_at=training.created_at
    )
    half = len(places) // 2
    tasks = Task.objects.bulk_create([_task(live, place, "reported") for place in places[:half]])
    blobs = [_blob(1000 + training.seed, place.ordinal, training) for place in places[:half]]
    Update.objects.bulk_create(
        [_update(task, blob.sha256, base, blob) for task, blob in zip(tasks, blobs, strict=True)]
    )
    Task.objects.bulk_create([_task(live, place, "leased") for place in places[half:]])


def _task(of: "Round", place: "Participation", state: str) -> "Task":
    from hansa.server.trainings.models import Task

    leased = state == "leased"
    return Task(
        round=of,
        participation=place,
        kind="train",
        state=state,
        lease_until=of.opened_at + timedelta(seconds=60) if leased else None,
        leased_at=of.opened_at,
        reported_at=None if leased else of.opened_at,
        num_examples=None if leased else 100,
    )


def _update(task: "Task", digest: str, base: "ModelVersion", blob: "Blob | None") -> "Update":
    from hansa.server.trainings.models import Update

    size = 0 if blob is None else blob.size
    return Update(
        task=task,
        digest=digest,
        size=size,
        blob=blob,
        base=base,
        num_examples=100,
        norm=1.0,
        received_at=base.created_at,
    )


def _version(training: "Training", number: int, parent: "ModelVersion | None") -> "ModelVersion":
    from hansa.server.registry.models import ModelVersion

    blob = _blob(training.seed, number, training)
    return ModelVersion.objects.create(
        model=training.model, number=number, blob=blob, parent=parent, created_at=training.created_at
    )


def _blob(seed: int, number: int, training: "Training") -> "Blob":
    from hansa.server.blobs import services, store

    file = io.BytesIO()
    safetensors.write(file, _params(seed, number))
    with store.BlobFile() as blob:
        blob.write(file.getvalue())
        digests = blob.finish()
    store.place(blob.path, digests.sha256)
    return services.record(digests=digests, media_type=services.SAFETENSORS, now=training.created_at)


def _params(seed: int, number: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([seed, number])
    return {"dense.weight": rng.normal(size=(300, 50)).astype(np.float32), "dense.bias": rng.normal(size=50)}


if __name__ == "__main__":
    fill()

"""What the pages of a large federation cost the server: 500 clients, 1,000 rounds, and a log of all that happened.

    python benchmarks/dashboard.py [--clients 500] [--rounds 1000] [--repeats 15]

The pages are asked for in the process that has the data, through the whole lifecycle of a request: what is measured is
the server's time, without a socket. Each is asked for by the actor, and by a participant, who sees less.
"""

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import numpy as np
from harness import in_a_folder

from hansa.core.params import spec_of
from hansa.protocol.events import EventKind
from hansa.rounds import plan as plans
from hansa.server.process import sole_use

if TYPE_CHECKING:
    from hansa.server.accounts.models import User
    from hansa.server.trainings.models import Participation, Round, Task, Training

GOAL_MS = 200.0
DETAILED = 3
"""Of the newest rounds, those whose tasks, updates and events are there; the others have what a page of them needs."""
METRICS = ("accuracy", "loss")


class Cost(msgspec.Struct, frozen=True):
    """Of one page, asked for by one person."""

    page: str
    person: str
    p50_ms: float
    max_ms: float
    cpu_ms: float
    """Of the processor, of all threads: what is left of the time where nothing else runs on the machine."""
    queries: int
    kilobytes: float


def benchmark(clients: int, rounds: int, repeats: int) -> Sequence[Cost]:
    """Fill a database, and ask for each page so many times."""
    with sole_use():
        began = time.monotonic()
        training, actor, participant = _filled(clients, rounds)
        print(f"filled in {time.monotonic() - began:.0f} s", file=sys.stderr)
        one = f"/trainings/{training.id}"
        pages = [
            *("/", "/trainings/", f"{one}/", f"{one}/?highlight=client-7"),
            f"{one}/events/?what=trouble",
            *(
                f"{one}/parts/{part}/"
                for part in ("standing", "round", "updates", "curves", "versions", "clients", "log")
            ),
            *(f"{one}/data/curves/?points=640", f"{one}/data/curves/?format=csv", f"{one}/data/round/?format=csv"),
            *("/trainings/new/", "/trainings/data/", "/models/", f"/models/{training.model_id}/"),
            *(f"/models/{training.model_id}/ask/", "/clients/", "/people/", "/account/"),
        ]
        return asyncio.run(_measured(pages, {"actor": actor, "participant": participant}, repeats))


async def _measured(pages: Sequence[str], people: "dict[str, User]", repeats: int) -> Sequence[Cost]:
    from hansa.server.lifecycle.asgi import Handler
    from hansa.server.lifecycle.bridge import call

    handler, found = Handler(), []
    for name, user in people.items():
        cookies = {"sessionid": await call(_session_of, user)}
        transport = httpx.ASGITransport(app=handler)  # type: ignore[arg-type]  # ASGI, in other words for its dictionaries
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", cookies=cookies) as window:
            for page in pages:
                if name == "participant" and ("new" in page or "highlight" in page or page == "/clients/"):
                    continue
                found.append(await _cost(window, page, name, repeats))
    return found


async def _cost(window: httpx.AsyncClient, page: str, person: str, repeats: int) -> Cost:
    seconds, cpu = [], []
    for _ in range(repeats):
        began, used = time.perf_counter(), time.process_time()
        answer = await window.get(page)
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
    assert answer.status_code == 200, f"{page}: {answer.status_code} {answer.text[:500]}"
    queries = await _queries(window, page)
    shown = page if len(page) < 40 else "/trainings/…" + page[47:]
    return Cost(
        page=shown,
        person=person,
        p50_ms=statistics.median(seconds) * 1000,
        max_ms=max(seconds) * 1000,
        cpu_ms=statistics.median(cpu) * 1000,
        queries=queries,
        kilobytes=len(answer.content) / 1024,
    )


async def _queries(window: httpx.AsyncClient, page: str) -> int:
    """Of the page's own thread; who is asking was looked up before."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from hansa.server.dashboard.page import Page
    from hansa.server.dashboard.plots import Data

    counts: list[int] = []

    def counting(original: Any, *arguments: Any) -> Any:  # Any: methods of pages
        with CaptureQueriesContext(connection) as seen:
            answer = original(*arguments)
        counts.append(len(seen))
        return answer

    originals = (Page, "_page", Page._page), (Data, "_data", Data._data)
    for kind, method, original in originals:
        setattr(kind, method, lambda *arguments, _original=original: counting(_original, *arguments))
    try:
        await window.get(page)
    finally:
        for kind, method, original in originals:
            setattr(kind, method, original)
    return sum(counts)


def _session_of(user: "User") -> str:
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY

    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return str(session.session_key)


def _filled(clients: int, rounds: int) -> "tuple[Training, User, User]":
    from django.db import transaction
    from django.utils import timezone

    from hansa.server.accounts.models import User
    from hansa.server.registry.models import Model, spec_as_json
    from hansa.server.trainings.models import Participation, Training

    now = timezone.now()
    with transaction.atomic():
        actor = User.objects.create_user("actor", password=None, actor=True)
        users = User.objects.bulk_create(
            [User(username=f"client-{place}", client=True, last_seen=now) for place in range(clients)]
        )
        spec = spec_as_json(spec_of({"w": np.zeros(3, np.float32)}))
        model = Model.objects.create(owner=actor, name="large", spec=spec, created_at=now)
        training = Training.objects.create(
            name="large",
            model=model,
            actor=actor,
            status="ongoing",
            plan=plans.to_data(plans.fedavg(rounds=rounds + 100)),
            seed=1,
            rounds_done=rounds,
            created_at=now - timedelta(minutes=rounds),
            started_at=now - timedelta(minutes=rounds),
        )
        places = Participation.objects.bulk_create(
            [Participation(training=training, client=user, ordinal=place) for place, user in enumerate(users)]
        )
        _rounds(training, places, rounds)
    return training, actor, users[7]


def _rounds(training: "Training", places: "Sequence[Participation]", rounds: int) -> None:
    from hansa.server.blobs.models import Blob
    from hansa.server.registry.models import ModelVersion
    from hansa.server.trainings.models import Round

    rng = np.random.default_rng(1)
    blob = Blob.objects.create(sha256="0" * 64, size=1000, checksums=b"", seen_at=training.created_at)
    version = ModelVersion.objects.create(model=training.model, number=0, blob=blob, created_at=training.created_at)
    accepted = [[place.ordinal, f"{place.ordinal:064x}", 100] for place in places]
    for number in range(1, rounds + 1):
        at = training.created_at + timedelta(minutes=number)
        base, version = (
            version,
            ModelVersion.objects.create(model=training.model, number=number, blob=blob, parent=version, created_at=at),
        )
        spread = {key: [1 / number**0.5, 0.8 / number**0.5, 1.3 / number**0.5, len(places)] for key in METRICS}
        of_updates = {"norm": spread["loss"], "cosine": spread["loss"]}
        done = Round.objects.create(
            training=training,
            number=number,
            attempt=1,
            state="done",
            base=base,
            version=version,
            accepted=accepted,
            measured={"train": spread, "evaluate": spread, "update": of_updates},
            opened_at=at,
            closed_at=at + timedelta(seconds=40),
            aggregated_at=at + timedelta(seconds=41),
            done_at=at + timedelta(seconds=55),
        )
        _tasks(done, places if number > rounds - DETAILED else places[7:8], rng)
    _events(training, places, rounds)


def _tasks(of: "Round", places: "Sequence[Participation]", rng: np.random.Generator) -> None:
    from hansa.server.trainings.models import Task, Update

    def task(place: "Participation", kind: str, after: float) -> "Task":
        return Task(
            round=of,
            participation=place,
            kind=kind,
            state="reported",
            leased_at=of.opened_at + timedelta(seconds=after),
            uploaded_at=of.opened_at + timedelta(seconds=after + 8),
            reported_at=of.opened_at + timedelta(seconds=after + 9),
            num_examples=100,
            metrics=dict.fromkeys(METRICS, 0.5),
        )

    tasks = Task.objects.bulk_create(
        [task(place, kind, after) for kind, after in (("train", 5), ("evaluate", 42)) for place in places]
    )
    Update.objects.bulk_create(
        [
            Update(
                task=each,
                digest=f"{each.participation.ordinal:064x}",
                size=1000,
                base=of.base,
                num_examples=100,
                norm=float(rng.lognormal(0, 0.1)),
                cosine=float(rng.normal(0.8, 0.05)),
                received_at=of.opened_at,
            )
            for each in tasks
            if each.kind == "train"
        ]
    )


def _events(training: "Training", places: "Sequence[Participation]", rounds: int) -> None:
    """Three a client and round, as a server writes them; of the last hundred rounds."""
    from hansa.server.trainings.models import Event

    kinds = (EventKind.TASK_LEASED, EventKind.TASK_REPORTED, EventKind.TASK_REPORTED)
    for number in range(max(1, rounds - 100), rounds + 1):
        at = training.created_at + timedelta(minutes=number)
        Event.objects.bulk_create(
            [
                Event(training=training, participation=place, at=at, kind=kind.value, round=number, attempt=1,
                      data={"task": "train", "examples": 100, "bytes": 1000, "norm": 1.0})
                for place in places
                for kind in kinds
            ]
        )  # fmt: skip  # as the fields belong together


def main(arguments: Sequence[str]) -> int:
    """Print what was measured; 1 if a page took longer than the goal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    return in_a_folder(partial(_report, asked), prefix="hansa-dashboard-")


def _report(asked: argparse.Namespace, folder: Path) -> int:
    os.environ["HANSA_HOME"] = str(folder / "home")
    os.environ["HANSA_LOG_LEVEL"] = "WARNING"
    costs = benchmark(asked.clients, asked.rounds, asked.repeats)
    if asked.json:
        print(msgspec.json.encode(costs).decode())
    else:
        print(f"{'page':<44}{'who':<13}{'p50 ms':>8}{'max ms':>8}{'cpu ms':>8}{'queries':>9}{'KiB':>8}")
        for cost in costs:
            print(
                f"{cost.page:<44}{cost.person:<13}{cost.p50_ms:>8.0f}{cost.max_ms:>8.0f}{cost.cpu_ms:>8.0f}"
                f"{cost.queries:>9}{cost.kilobytes:>8.0f}"
            )
    return int(any(cost.p50_ms > GOAL_MS for cost in costs))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
